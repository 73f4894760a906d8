"""Tests of the file format of checkpoints, and of what reading one refuses."""

import hashlib
import io
import json
import math
import pickle
import random
import struct
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from ignite_threenet import CheckpointError, load_weights
from ignite_threenet.storage import checkpoint_file
from ignite_threenet.storage.checkpoint_file import copy_weights, decode, encode, read
from ignite_threenet.storage.torch_file import encode_for_torch

_ZEROS = "0" * 64


def sealed(header: bytes, body: bytes = b"", size: int | None = None) -> bytes:
    """Give a file the digest that encode() would, in place of the first 64 zeros."""
    data = (len(header) if size is None else size).to_bytes(8, "little") + header + body
    before, zeros, after = data.partition(_ZEROS.encode())
    digest = hashlib.sha256(before + after).hexdigest() if zeros else ""
    return before + digest.encode() + after


# Files, written by hand: what stands in the header is text, so that it may be anything.


def metadata(tree: str, rest: str = "") -> str:
    text = f'{{"sha256":"{_ZEROS}","content":{tree}}}'
    return f'"__metadata__":{{"ignite-threenet":{json.dumps(text)}{rest}}}'


def entry(
    dtype: str = "F32", shape: object = (2,), offsets: object = (0, 8), name: str = "t"
) -> str:
    values = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    return f"{json.dumps(name)}:{json.dumps(values)}"


def hostile(tree: str, *entries: str, body: bytes = b"", rest: str = "") -> bytes:
    header = "{" + ",".join([metadata(tree, rest), *entries]) + "}"
    return sealed(header.encode("utf-8", "surrogatepass"), body)


def under_w(value: str) -> str:
    return f'{{"dict":[["w",{value}]]}}'


def plain(value: str) -> bytes:
    """Write a file of one value and no tensor."""
    return hostile(under_w(value))


_REFERENCE = '{"tensor":{"name":"t"}}'


def one(
    dtype: str = "F32", shape: object = (2,), offsets: object = (0, 8), body: bytes = bytes(8)
) -> bytes:
    """Write a file of one tensor: two floats, if nothing else is said."""
    return hostile(under_w(_REFERENCE), entry(dtype, shape, offsets), body=body)


def one_with(**notes: object) -> bytes:
    """Write a file of two floats, with notes in the tree."""
    reference = json.dumps({"tensor": {"name": "t", **notes}})
    return hostile(under_w(reference), entry(), body=bytes(8))


def problem_of(data: bytes) -> str:
    with pytest.raises(CheckpointError) as caught:
        decode(data, "some.safetensors")
    assert caught.value.path == "some.safetensors"
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix("some.safetensors: ")


def bits(tensor: Tensor) -> Tensor:
    """Give the bytes of each number."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    same_size = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.resolve_neg().view(same_size[tensor.itemsize])


def assert_same(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    if isinstance(first, Tensor):
        assert first.dtype == second.dtype
        assert first.shape == second.shape
        assert torch.equal(bits(first), bits(second))
    elif isinstance(first, dict):
        assert list(first) == list(second)
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        for each, other in zip(first, second, strict=True):
            assert_same(each, other)
    elif isinstance(first, float):
        assert struct.pack(">d", first) == struct.pack(">d", second)
    else:
        assert first == second


# What goes in comes out


def test_plain_values_come_back_with_their_types() -> None:
    content = {
        "nothing": None,
        "flags": [True, False],
        "numbers": (0, 255, 65535, -1, 2**31, 1.5, 0.1 + 0.2, 5e-324, 1.7976931348623157e308),
        "signs": [-0.0, 0.0, -math.inf, math.inf, math.nan, -math.nan],
        "text": "naïve \n \x00 \x7f \u2028 😀",
        "nested": {"empty": [{}, [], ()], 7: {"eight": (1,)}, "7": 7, -(2**63): 2**63 - 1},
    }

    assert_same(decode(encode(content)), content)


@pytest.mark.parametrize("bits", [0x7FF8000000000001, 0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF])
def test_each_kind_of_not_a_number_comes_back(bits: int) -> None:
    content = {"nan": struct.unpack(">d", bits.to_bytes(8, "big"))[0]}

    assert_same(decode(encode(content)), content)


@pytest.mark.parametrize(
    "value",
    [2**63, -(2**63) - 1, 2**64, 10**5000, -(2**100_000)],
    ids=lambda value: str(value.bit_length()),
)
def test_integers_of_any_size_come_back(value: int) -> None:
    decoded = decode(encode({"long": value}))["long"]

    assert type(decoded) is int
    assert decoded == value


@pytest.mark.parametrize("text", ["\ud800", "\ud83d\ude00", "a\udfffb\x00", "\ud800" * 1000])
def test_text_with_lone_surrogates_comes_back(text: str) -> None:
    content = {"text": text, text: [text], "tensor": {text: torch.ones(2)}}

    assert_same(decode(encode(content)), content)


def test_many_values_come_back() -> None:
    content = {"many": list(range(30_000)), "named": {str(each): each for each in range(3000)}}

    assert_same(decode(encode(content)), content)


def test_as_many_integer_keys_as_are_taken_come_back() -> None:
    content = {"state": dict.fromkeys(range(2**16))}

    assert_same(decode(encode(content)), content)


def nested(levels: int) -> Any:
    """Nest lists, tuples and dicts in each other."""
    content: Any = 0
    for level in range(levels - 1):
        content = ([content], (content,), {"n": content})[level % 3]
    return {"n": content}


def test_values_come_back_from_a_hundred_levels() -> None:
    assert_same(decode(encode(nested(100))), nested(100))


def test_the_order_of_names_is_kept() -> None:
    content: dict[Any, Any] = {
        "b": torch.ones(1),
        2: torch.zeros(2),
        "a": 1,
        1: torch.ones(3, dtype=torch.int8),
    }

    assert_same(decode(encode(content)), content)


@pytest.mark.parametrize(
    "content",
    [
        {"a": {"b": torch.ones(1)}, "a: b": torch.zeros(1), "a: b'": torch.ones(2)},
        {"l": [torch.ones(1)], "l[0]": torch.zeros(1)},
        {"1": torch.ones(1), 1: torch.zeros(1)},
        {"": torch.ones(1), "__metadata__": torch.zeros(1), "\n": torch.ones(2)},
    ],
    ids=["path", "index", "number", "odd"],
)
def test_tensors_whose_names_are_alike_come_back(content: dict[Any, Any]) -> None:
    assert_same(decode(encode(content)), content)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.bfloat16,
        torch.bool,
        torch.complex64,
        torch.complex128,
        torch.float16,
        torch.float32,
        torch.float64,
        torch.float4_e2m1fn_x2,
        torch.float8_e4m3fn,
        torch.float8_e4m3fnuz,
        torch.float8_e5m2,
        torch.float8_e5m2fnuz,
        torch.float8_e8m0fnu,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.uint16,
        torch.uint32,
        torch.uint64,
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "view",
    [
        lambda t: t,
        lambda t: t.transpose(0, 2),
        lambda t: t[0, 0, 0],
        lambda t: t[:, :0],
        lambda t: t[1:, :, ::2],
    ],
    ids=["whole", "transposed", "one number", "empty", "steps"],
)
def test_tensors_come_back(dtype: torch.dtype, view: Callable[[Tensor], Tensor]) -> None:
    numbers = torch.arange(24 * dtype.itemsize) % (2 if dtype is torch.bool else 256)
    raw = numbers.to(torch.uint8)
    tensor = view(raw.view(dtype).reshape(2, 3, 4))
    decoded = decode(encode({"t": tensor}))

    assert_same(decoded, {"t": tensor})
    assert decoded["t"].stride() == kept_strides(tensor)


def kept_strides(tensor: Tensor) -> tuple[int, ...]:
    return torch.empty_like(tensor, device="meta").stride()


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(24.0).reshape(4, 6).T,
        torch.arange(120.0).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.arange(120.0).reshape(2, 3, 4, 5).permute(3, 0, 2, 1),
        torch.arange(6.0).reshape(6, 1, 1).permute(1, 0, 2),
        torch.arange(2.0).as_strided((2, 1), (1, 77)),
        torch.arange(2.0).as_strided((1, 2, 1), (0, 1, 0)),
        torch.empty(0).as_strided((3, 0, 2), (1, 7, 5)),
        torch.ones(2, 1, 3, 3).to(memory_format=torch.channels_last),
        torch.ones(1, 4, 1, 1).to(memory_format=torch.channels_last),
        (torch.arange(12) * 1j).reshape(3, 4).T,
    ],
    ids=lambda tensor: f"{tuple(tensor.shape)}-{tensor.stride()}",
)
def test_the_order_in_memory_is_kept(tensor: Tensor) -> None:
    decoded = decode(encode({"t": tensor}))["t"]

    assert_same(decoded, tensor)
    assert decoded.stride() == kept_strides(tensor)
    assert decoded.storage_offset() == 0


@pytest.mark.parametrize("size", [(), (0,), (3, 0), (1,), (1,) * 5])
def test_tensors_of_few_numbers_come_back(size: tuple[int, ...]) -> None:
    content = {"t": torch.ones(size)}

    assert_same(decode(encode(content)), content)


def test_not_a_number_comes_back_to_the_bit() -> None:
    bits = torch.tensor([0x7FC00001, -1], dtype=torch.int32)

    assert torch.equal(decode(encode({"t": bits.view(torch.float32)}))["t"].view(torch.int32), bits)


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t[1:3],
        lambda t: t.T,
        lambda t: t[:, ::2],
        lambda t: t[0, 0].expand(5),
        lambda t: t.flip(0),
    ],
    ids=["part", "transposed", "steps", "expanded", "flipped"],
)
def test_views_come_back(view: Callable[[Tensor], Tensor]) -> None:
    content = {"t": view(torch.arange(20.0).reshape(4, 5))}

    assert_same(decode(encode(content)), content)


def test_conjugated_and_negated_views_come_back_as_numbers() -> None:
    numbers = torch.tensor([1 + 2j, 3 - 4j])
    content = {"conjugated": numbers.conj(), "negated": torch._neg_view(torch.ones(2))}
    decoded = decode(encode(content))

    assert_same(decoded, content)
    assert not decoded["conjugated"].is_conj()
    assert not decoded["negated"].is_neg()


def test_a_view_is_stored_without_the_memory_around_it() -> None:
    view = torch.zeros(1_000_000)[:2]

    assert len(encode({"t": view})) == len(encode({"t": torch.zeros(2)}))


def test_a_parameter_comes_back_as_a_plain_tensor() -> None:
    decoded = decode(encode({"t": nn.Parameter(torch.ones(2))}))

    assert type(decoded["t"]) is Tensor
    assert not decoded["t"].requires_grad


class _Marked(Tensor):
    pass


def test_a_tensor_of_another_class_comes_back_as_a_plain_one() -> None:
    decoded = decode(encode({"t": torch.ones(2).as_subclass(_Marked)}))

    assert_same(decoded, {"t": torch.ones(2)})


def test_tensors_that_share_memory_come_back_each_with_its_own() -> None:
    weight = torch.randn(1000)
    content = {"a": weight, "b": weight, "c": nn.Parameter(weight), "d": weight[500:]}
    decoded = decode(encode(content))

    assert_same(decoded, {name: each.detach() for name, each in content.items()})
    decoded["a"].zero_()
    assert torch.equal(decoded["b"], weight)
    assert weight.any()


def test_what_comes_back_lies_in_memory_of_its_own() -> None:
    data = encode({"t": torch.ones(3)})
    decoded = decode(data)
    decoded["t"].zero_()

    assert torch.equal(decode(data)["t"], torch.ones(3))
    assert decoded["t"].untyped_storage().nbytes() == decoded["t"].nbytes
    assert not decoded["t"]._is_view()


def test_tensors_come_back_on_the_cpu_whatever_the_default_device() -> None:
    data = encode(
        {
            "t": torch.ones(2),
            "empty": torch.ones(0),
            "z": torch.ones(2, 2).T,
            "c": torch.ones(1) * 1j,
        }
    )
    with torch.device("meta"):
        decoded = decode(data)

    assert {tensor.device.type for tensor in decoded.values()} == {"cpu"}


def test_an_optimizers_state_comes_back() -> None:
    network = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()

    assert_same(decode(encode(optimizer.state_dict())), optimizer.state_dict())


def test_safetensors_alone_finds_the_tensors(tmp_path: Path) -> None:
    content = {"model": {"bias": torch.randn(3)}, "states": [torch.randn(2, 3).T], "n": 1}
    path = tmp_path / "some.safetensors"
    path.write_bytes(encode(content))

    found = safetensors.torch.load_file(path)
    assert_same(found["model: bias"], content["model"]["bias"])  # type: ignore[index]
    assert_same(found["states[0]"], content["states"][0].T.contiguous())  # type: ignore[index]


_CONTENT = (
    "{'t': torch.arange(9.0), 'u': {'z': torch.ones(2, 2).T, 'a': torch.ones(1).half()}, "
    "'n': [1, (2.5, None)], 'x': float('nan')}"
)


def test_one_content_gives_one_file_in_every_process() -> None:
    code = (
        "import hashlib, torch; from ignite_threenet.storage.checkpoint_file import encode; "
        f"print(hashlib.sha256(encode({_CONTENT})).hexdigest())"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    content = {
        "t": torch.arange(9.0),
        "u": {"z": torch.ones(2, 2).T, "a": torch.ones(1).half()},
        "n": [1, (2.5, None)],
        "x": math.nan,
    }

    assert encode(content) == encode(content)
    assert hashlib.sha256(encode(content)).hexdigest() == done.stdout.strip()


# What is refused on writing


class _Colour(IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({1, 2}, "is a set; expected a plain value or a tensor"),
        (b"raw", "is a bytes; expected a plain value or a tensor"),
        (object(), "is a object; expected a plain value or a tensor"),
        (np.zeros(2), "is a ndarray; expected a plain value or a tensor"),
        (np.float64(1.0), "is a float64; expected a plain value or a tensor"),
        (_Colour.RED, "is a _Colour; expected a plain value or a tensor"),
        (1j, "is a complex; expected a plain value or a tensor"),
        (print, "is a builtin_function_or_method; expected a plain value or a tensor"),
        (nn.ReLU(), "is a ReLU; expected a plain value or a tensor"),
        (torch.ones(2).to_sparse(), "is a tensor of torch.sparse_coo, torch.float32"),
        (
            torch.zeros(2, dtype=torch.uint8).view(torch.bits8),
            "is a tensor of torch.strided, torch.bits8",
        ),
        (torch.ones(2, device="meta"), "is a tensor without numbers, on meta"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_value_that_could_not_be_read_back_is_named_with_its_path(
    value: object, problem: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        encode({"plugins": [{"state": 1}, {"state": (0, value)}]}, where="epoch-3.pt")

    assert str(caught.value) == f"epoch-3.pt: plugins[1]: state[1]: {problem}"


@pytest.mark.parametrize("key", [1.5, None, (1, 2), b"raw", True])
def test_a_key_that_is_no_name_or_number_is_named_with_its_path(key: object) -> None:
    with pytest.raises(CheckpointError) as caught:
        encode({"state": {key: 1}}, where="best.pt")

    problem = f"has the key {key!r}; expected a str or an int"
    assert str(caught.value) == f"best.pt: state: {problem}"


def test_integer_keys_that_could_collide_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"^state: n: has an integer of more than 64 bits as"):
        encode({"n": {2**63: 1}}, where="state")
    with pytest.raises(CheckpointError, match=r"^state: n: has more than 65536 integers as keys$"):
        encode({"n": dict.fromkeys(range(2**16 + 1))}, where="state")


def test_a_message_has_one_line_whatever_the_keys_are() -> None:
    with pytest.raises(CheckpointError) as caught:
        encode({"a\nb": {"\ud800": object()}}, where="state")

    problem = "is a object; expected a plain value or a tensor"
    assert str(caught.value) == rf"state: 'a\nb': '\ud800': {problem}"


def test_more_plain_values_than_a_header_takes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_file, "_MOST_HEADER_BYTES", 1000)
    with pytest.raises(CheckpointError, match=r"^state: has plain values of 1[0-9]* bytes;"):
        encode({"n": "x" * 1000}, where="state")


def test_a_hundred_and_one_levels_are_refused() -> None:
    with pytest.raises(CheckpointError) as caught:
        encode(nested(101), where="best.pt")

    assert str(caught.value) == "best.pt: is nested too deeply, or holds itself"


def test_a_value_that_holds_itself_is_refused() -> None:
    content: dict[str, Any] = {}
    content["self"] = content
    with pytest.raises(CheckpointError) as caught:
        encode(content, where="best.pt")

    assert str(caught.value) == "best.pt: is nested too deeply, or holds itself"


# What is refused on reading: damage


def mutant(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    size = chance.randint(1, 64)
    match chance.randrange(6):
        case 0:
            flipped = data[at] ^ (1 << chance.randrange(8))
            return data[:at] + bytes([flipped]) + data[at + 1 :]
        case 1:
            return data[:at]
        case 2:
            return data[:at] + bytes(len(data[at : at + size])) + data[at + size :]
        case 3:
            return data[:at] + chance.randbytes(size) + data[at:]
        case 4:
            return data + chance.randbytes(size)
        case _:
            return data[:at] + data[at + size :]


def test_every_mutation_is_seen() -> None:
    data = encode({"t": torch.randn(100), "state": {"zeros": torch.zeros(50), "n": [1, "two"]}})
    chance = random.Random(0)
    mutants = [each for each in (mutant(data, chance) for _ in range(1100)) if each != data]

    assert len(mutants) >= 1000
    for each in mutants:
        with pytest.raises(CheckpointError):
            decode(each)


def test_every_flipped_bit_is_seen() -> None:
    data = encode({"t": torch.ones(2), "n": 1})
    for at in range(8 * len(data)):
        changed = bytearray(data)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(CheckpointError):
            decode(bytes(changed))


@pytest.mark.parametrize("size", [0, 1, 8, 9, 50, 100])
def test_a_file_cut_short_says_so(size: int) -> None:
    data = encode({"t": torch.ones(2)})

    assert problem_of(data[:size]) == "is cut short, or was not written by ignite-threenet"


def test_a_flipped_bit_says_so() -> None:
    data = bytearray(encode({"t": torch.ones(2)}))
    data[-3] ^= 1

    assert problem_of(bytes(data)) == "is damaged: its SHA-256 digest does not match"


def test_a_file_by_safetensors_or_torch_alone_is_not_taken() -> None:
    weights = {"t": torch.ones(2)}
    for data in (safetensors.torch.save(weights, {"format": "pt"}), saved(weights)):
        assert problem_of(data) == "is cut short, or was not written by ignite-threenet"


def test_the_digest_comes_before_all_else() -> None:
    data = hostile("[" * 10**5)
    changed = data[:-1] + b"x"

    assert problem_of(changed) == "is damaged: its SHA-256 digest does not match"


def test_a_changed_header_under_a_right_digest_raises_nothing_else() -> None:
    notes = {"name": "t", "shape": [1, 2], "stride": [9, 1]}
    tree = (
        f'{{"dict":[["w",{json.dumps({"tensor": notes})}],[3,[{{"int":"0x8000000000000000"}}]]]}}'
    )
    good = "{" + metadata(tree) + "," + entry(shape=[2, 1]) + "}"
    chance, read_anyhow = random.Random(0), 0
    alphabet = '0123456789-"{}[]:,\\ectdFIU.\x00'
    for _ in range(3000):
        at = chance.randrange(len(good))
        size = chance.choice((0, 1, 1, 1, 4))
        changed = good[:at] + chance.choice(alphabet) + good[at + size :]
        with suppress(CheckpointError):
            decode(sealed(changed.encode(), bytes(8)))
            read_anyhow += 1

    assert read_anyhow < 1000


# What is refused on reading, under a right digest. A process of its own reads these files, with
# little memory, and notes whatever an honest file does not do.


def deep(levels: int) -> str:
    """Nest lists in a tree."""
    return under_w("[" * levels + "]" * levels)


def pairs(*keys: str) -> str:
    return '{"dict":[' + ",".join(f"[{key},0]" for key in keys) + "]}"


def colliding(count: int) -> list[str]:
    """Spell integers that all have the hash of 0."""
    return [f'{{"int":"{hex((2**61 - 1) * number)}"}}' for number in range(8, count + 8)]


# Trees that are none.
_TREES: dict[str, tuple[Callable[[], bytes], str]] = {
    "no values by name": (lambda: hostile("[]"), "holds no values by name"),
    "one tensor": (
        lambda: hostile(_REFERENCE, entry(), body=bytes(8)),
        "holds no values by name",
    ),
    "deep lists": (lambda: hostile(deep(10**5)), "is nested too deeply"),
    "a level too many": (lambda: hostile(deep(100)), "is nested too deeply"),
    "deep objects": (
        lambda: plain('{"tuple":[' * 10**5 + "]}" * 10**5),
        "is nested too deeply",
    ),
    "deep dicts": (
        lambda: plain('{"dict":[["n",' * 300 + "0" + "]]}" * 300),
        "is nested too deeply",
    ),
    "deep and cut": (lambda: plain("[" * 10**5), "is nested too deeply"),
    "unknown kind": (
        lambda: plain('{"call":["os.system","echo > canary"]}'),
        "holds a value of an unknown kind: 'call'",
    ),
    "kind of the terminal": (
        lambda: plain('{"\\u001b[2J\\n":[]}'),
        r"holds a value of an unknown kind: '\x1b[2J\n'",
    ),
    "no kind": (lambda: plain("{}"), "holds a value of no kind, or of two"),
    "two kinds": (lambda: plain('{"int":"1","str":""}'), "holds a value of no kind, or of two"),
    "one kind twice": (lambda: plain('{"tuple":[],"tuple":[1]}'), "holds a name twice"),
    "tuple of text": (
        lambda: plain('{"tuple":"ab"}'),
        "holds a value of an unknown kind: 'tuple'",
    ),
    "dict as an object": (
        lambda: plain('{"dict":{"a":1}}'),
        "holds a value of an unknown kind: 'dict'",
    ),
    "dict of single values": (
        lambda: plain('{"dict":[["a"]]}'),
        "holds a dict of other than pairs",
    ),
    "dict of text": (lambda: plain('{"dict":["ab"]}'), "holds a dict of other than pairs"),
    "key twice": (
        lambda: hostile(pairs('"a"', '"b"', '"a"')),
        "holds a key twice in one dict",
    ),
    "integer twice": (lambda: hostile(pairs("1", "1")), "holds a key twice in one dict"),
    "key twice in two spellings": (
        lambda: hostile(pairs('"a"', '{"str":"61"}')),
        "holds a value that is written in another way",
    ),
    "true as a key": (
        lambda: hostile(pairs("1", "true")),
        "holds a key that is neither text nor a 64-bit integer",
    ),
    "float as a key": (
        lambda: hostile(pairs("1", "1.0")),
        "holds a key that is neither text nor a 64-bit integer",
    ),
    "nothing as a key": (
        lambda: hostile(pairs("null")),
        "holds a key that is neither text nor a 64-bit integer",
    ),
    "tuple as a key": (lambda: hostile(pairs('{"tuple":[]}')), "is nested too deeply"),
    "tensor as a key": (
        lambda: hostile(pairs(_REFERENCE), entry(), body=bytes(8)),
        "holds a key that is neither text nor a 64-bit integer",
    ),
    "colliding integer keys": (
        lambda: hostile(pairs(*colliding(10**5))),
        "holds a key that is neither text nor a 64-bit integer",
    ),
    "many integer keys": (
        lambda: hostile(pairs(*(str(number << 44) for number in range(10**5)))),
        "holds more than 65536 integers as keys",
    ),
    "not a number": (lambda: plain("NaN"), "holds the number NaN"),
    "infinity": (lambda: plain("-Infinity"), "holds the number -Infinity"),
    "overflowing float": (
        lambda: plain("1e999"),
        "holds a value that is written in another way",
    ),
    "long integer": (
        lambda: plain("1" * 10**6),
        "is damaged: ValueError: ",
    ),
    "integer past 64 bits": (
        lambda: plain("9223372036854775808"),
        "holds a value that is written in another way",
    ),
    "short integer in hex": (
        lambda: plain('{"int":"0x1"}'),
        "holds a value that is written in another way",
    ),
    "integer with zeros": (
        lambda: plain('{"int":"0x00008000000000000000"}'),
        "holds a value that is written in another way",
    ),
    "no integer": (
        lambda: plain('{"int":"canary"}'),
        "is damaged: ValueError: ",
    ),
    "finite float in hex": (
        lambda: plain('{"float":"3ff0000000000000"}'),
        "holds a value that is written in another way",
    ),
    "short float": (
        lambda: plain('{"float":"7ff0"}'),
        "is damaged: error: ",
    ),
    "text in another spelling": (
        lambda: plain('"\\ud800"'),
        "holds a value that is written in another way",
    ),
    "text that is none": (lambda: plain('{"str":"ff"}'), "is damaged: UnicodeDecodeError: "),
    "no JSON": (
        lambda: plain("print()"),
        "is damaged: JSONDecodeError: ",
    ),
}

_TWO = (entry(), entry(name="u", offsets=(8, 16)))


# Tensors that are none, or another's.
_TENSORS: dict[str, tuple[Callable[[], bytes], str]] = {
    "tensor twice": (
        lambda: hostile(under_w(f"[{_REFERENCE},{_REFERENCE}]"), entry(), body=bytes(8)),
        "holds a tensor twice, or not at all: 't'",
    ),
    "missing tensor": (
        lambda: hostile(under_w(_REFERENCE)),
        "holds a tensor twice, or not at all: 't'",
    ),
    "metadata as a tensor": (
        lambda: hostile(under_w('{"tensor":{"name":"__metadata__"}}')),
        "holds a tensor twice, or not at all: '__metadata__'",
    ),
    "tensor that belongs nowhere": (
        lambda: hostile(under_w(_REFERENCE), *_TWO, body=bytes(16)),
        "holds a tensor that belongs nowhere: 'u'",
    ),
    "tensor without a name": (
        lambda: hostile(under_w('{"tensor":{}}'), entry(), body=bytes(8)),
        "holds a tensor without a name",
    ),
    "tensor by number": (
        lambda: hostile(under_w('{"tensor":{"name":0}}'), entry(), body=bytes(8)),
        "holds a tensor without a name",
    ),
    "entry twice": (
        lambda: hostile(under_w(_REFERENCE), entry(), entry(), body=bytes(8)),
        "holds a name twice",
    ),
    "shape twice": (
        lambda: hostile(
            under_w(_REFERENCE), entry().replace('"shape"', '"shape":[1],"shape"'), body=bytes(8)
        ),
        "holds a name twice",
    ),
    "overlapping tensors": (
        lambda: hostile(
            under_w(_REFERENCE), entry(), entry(name="u", offsets=(4, 12)), body=bytes(12)
        ),
        "is damaged: SafetensorError: ",
    ),
    "one place for two": (
        lambda: hostile(under_w(_REFERENCE), entry(), entry(name="u"), body=bytes(8)),
        "is damaged: SafetensorError: ",
    ),
    "hole between tensors": (
        lambda: hostile(
            under_w(_REFERENCE), entry(), entry(name="u", offsets=(12, 20)), body=bytes(20)
        ),
        "is damaged: SafetensorError: ",
    ),
    "hole before the tensor": (
        lambda: one(offsets=(8, 16), body=bytes(16)),
        "is damaged: SafetensorError: ",
    ),
    "bytes after the tensor": (lambda: one(body=bytes(9)), "is damaged: SafetensorError: "),
    "tensor past the end": (lambda: one(body=bytes(7)), "is damaged: SafetensorError: "),
    "offsets the other way": (lambda: one(offsets=(8, 0)), "is damaged: SafetensorError: "),
    "negative offset": (lambda: one(offsets=(-8, 0)), "is damaged: SafetensorError: "),
    "offset past 64 bits": (lambda: one(offsets=(0, 2**64 + 8)), "is damaged: SafetensorError: "),
    "three offsets": (lambda: one(offsets=(0, 8, 8)), "is damaged: SafetensorError: "),
    "offsets as text": (lambda: one(offsets="08"), "is damaged: SafetensorError: "),
    "fractions as offsets": (lambda: one(offsets=(0.0, 8.0)), "is damaged: SafetensorError: "),
    "huge shape": (lambda: one(shape=(2**40,)), "is damaged: SafetensorError: "),
    "shape that overflows": (lambda: one(shape=(2**32, 2**32)), "is damaged: SafetensorError: "),
    "shape that overflows to its size": (
        lambda: one(shape=(2**62 + 2,)),
        "is damaged: SafetensorError: ",
    ),
    "negative shape": (lambda: one(shape=(-2,)), "is damaged: SafetensorError: "),
    "two negative sizes": (lambda: one(shape=(-1, -2)), "is damaged: SafetensorError: "),
    "shape as text": (lambda: one(shape="2"), "is damaged: SafetensorError: "),
    "no shape": (
        lambda: hostile(under_w(_REFERENCE), '"t":{"dtype":"F32","data_offsets":[0,8]}'),
        "is damaged: SafetensorError: ",
    ),
    "entry of no kind": (
        lambda: hostile(under_w(_REFERENCE), '"t":[]'),
        "is damaged: SafetensorError: ",
    ),
    "many dimensions": (
        lambda: one(shape=(2, *(1,) * 10**4)),
        "holds a tensor of 10001 dimensions: 't'",
    ),
    "huge and empty": (
        lambda: one(shape=(0, 2**62, 2**62), offsets=(0, 0), body=b""),
        "is damaged: RuntimeError: ",
    ),
    "huge, then empty": (
        lambda: one(shape=(2**62, 2**62, 0), offsets=(0, 0), body=b""),
        "is damaged: SafetensorError: ",
    ),
    "unknown dtype": (lambda: one(dtype="OBJECT"), "is damaged: SafetensorError: "),
    "dtype of the terminal": (lambda: one(dtype="\x1b[2J\n"), "is damaged: SafetensorError: "),
    "dtype that is not ours": (
        lambda: one(dtype="C64", shape=(1,)),
        "holds a tensor of torch.complex64",
    ),
    "dtype of less than a byte": (lambda: one(dtype="F4", shape=(16,)), "is damaged: KeyError: "),
    "other note": (
        lambda: one_with(device="cuda"),
        "holds a tensor with other notes than dtype, or shape and stride",
    ),
    "shape without strides": (
        lambda: one_with(shape=[2]),
        "holds a tensor with other notes than dtype, or shape and stride",
    ),
    "expanded": (
        lambda: one_with(shape=[2**40], stride=[0]),
        "holds a tensor of another size than its numbers",
    ),
    "overlapping numbers": (
        lambda: one_with(shape=[2], stride=[0]),
        "holds a tensor whose numbers overlap or lie apart",
    ),
    "numbers past the end": (
        lambda: one_with(shape=[2], stride=[2**40]),
        "holds a tensor whose numbers overlap or lie apart",
    ),
    "negative stride": (
        lambda: one_with(shape=[2], stride=[-1]),
        "holds a tensor of an impossible size",
    ),
    "overflowing stride": (
        lambda: one_with(shape=[2], stride=[2**63]),
        "holds a tensor of an impossible size",
    ),
    "true as a stride": (
        lambda: one_with(shape=[2], stride=[True]),
        "holds a tensor of an impossible size",
    ),
    "text as a stride": (
        lambda: one_with(shape=[2], stride="1"),
        "holds a tensor of other than 1 dimensions",
    ),
    "too many strides": (
        lambda: one_with(shape=[2], stride=[1, 1]),
        "holds a tensor of other than 1 dimensions",
    ),
    "viewed as an unknown dtype": (
        lambda: one_with(dtype="os.system"),
        "holds a tensor of an unknown dtype",
    ),
    "viewed as a list": (
        lambda: one_with(dtype=[]),
        "holds a tensor of an unknown dtype",
    ),
    "viewed as no view": (
        lambda: one_with(dtype="float32"),
        "holds a tensor of an unknown dtype",
    ),
    "viewed from other numbers": (
        lambda: one_with(dtype="complex128"),
        "holds a tensor of torch.complex128 that is stored as something else",
    ),
    "viewed from a single number": (
        lambda: hostile(
            under_w('{"tensor":{"name":"t","dtype":"complex64"}}'),
            entry(shape=(), offsets=(0, 4)),
            body=bytes(4),
        ),
        "holds a tensor of torch.complex64 that is stored as something else",
    ),
}


def with_size(size: int) -> bytes:
    """Write a header that gives itself another size."""
    return sealed(("{" + metadata(under_w("0")) + "}").encode(), size=size)


def with_header(text: str, body: bytes = b"") -> bytes:
    return sealed(text.encode("utf-8", "surrogatepass"), body)


def with_sealed(text: str) -> bytes:
    """Write a file of this text in place of the tree and its digest."""
    return with_header(f'{{"__metadata__":{{"ignite-threenet":{json.dumps(text)}}}}}')


# Headers that are none.
_HEADERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "header longer than the file": (
        lambda: with_size(10**6),
        "says that its header has 1000000 bytes",
    ),
    "huge header": (lambda: with_size(2**63), f"says that its header has {2**63} bytes"),
    "header of no bytes": (lambda: with_size(0), "is damaged: JSONDecodeError: "),
    "header cut short": (lambda: with_size(100), "is damaged: JSONDecodeError: "),
    "header as a list": (
        lambda: with_header("[{" + metadata(under_w("0")) + "}]"),
        "has a header without names",
    ),
    "metadata that is not text": (
        lambda: hostile(under_w("0"), rest=',"n":1'),
        "is damaged: SafetensorError: ",
    ),
    "metadata twice": (
        lambda: hostile(under_w("0"), metadata(under_w("1"))),
        "holds a name twice",
    ),
    "seal twice": (
        lambda: hostile(under_w("0"), rest=',"ignite-threenet":"{}"'),
        "holds a name twice",
    ),
    "seal outside the metadata": (
        lambda: with_header("{" + metadata(under_w("0")).partition("{")[2]),
        "holds no plain values",
    ),
    "content twice": (
        lambda: with_sealed(f'{{"sha256":"{_ZEROS}","content":0,"content":1}}'),
        "holds a name twice",
    ),
    "no content": (
        lambda: with_sealed(f'{{"sha256":"{_ZEROS}"}}'),
        "holds other things than a digest and its content",
    ),
    "more than content": (
        lambda: with_sealed(f'{{"sha256":"{_ZEROS}","content":0,"code":"import os"}}'),
        "holds other things than a digest and its content",
    ),
    "header in another encoding": (
        lambda: hostile(under_w('"\ud800"'), "\ud800:0"),
        "is damaged: UnicodeDecodeError: ",
    ),
    "lone surrogate in a name": (
        lambda: hostile(
            under_w('{"tensor":{"name":"\\ud800"}}'), entry(name="\ud800"), body=bytes(8)
        ),
        "is damaged: SafetensorError: ",
    ),
    "deep header": (
        lambda: hostile(under_w("0"), '"t":' + "[" * 10**5 + "]" * 10**5),
        "is nested too deeply",
    ),
    "header nested as far as Python goes": (
        lambda: hostile(under_w("0"), '"t":' + "[" * 500 + "]" * 500),
        "is damaged: SafetensorError: ",
    ),
    "many empty lists": (
        lambda: hostile(under_w("0"), '"t":[' + "[]," * 10**5 + "[]]"),
        "is damaged: SafetensorError: ",
    ),
    "many empty tensors": (
        lambda: hostile(
            under_w("0"), *(entry("U8", (0,), (0, 0), str(number)) for number in range(10**4))
        ),
        "holds a tensor that belongs nowhere: '0'",
    ),
}

_HOSTILE = _TREES | _TENSORS | _HEADERS

_READ_ALL = """
    import json, sys, time, tracemalloc
    from pathlib import Path
    from ignite_threenet import CheckpointError
    from ignite_threenet.storage.checkpoint_file import decode

    # Honest files first: they import what reading takes.
    allowed, seen, watching = set(), set(), False
    sys.addaudithook(lambda event, _: seen.add(event) if watching else None)

    def problem(data):
        global watching
        seen.clear()
        tracemalloc.start()
        began = time.process_time()
        watching = True
        try:
            decode(data)
            found = ""
        except CheckpointError as error:
            found = str(error).removeprefix("checkpoint: ")
        watching = False
        seconds = time.process_time() - began
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found, peak, seconds

    for path in sorted(Path("honest").iterdir()):
        for data in (path.read_bytes(), path.read_bytes(), path.read_bytes()[:-1]):
            problem(data)
            allowed |= seen
    if sys.platform == "linux":
        import resource
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))
    for path in sorted(Path("hostile").iterdir()):
        data = path.read_bytes()
        found, peak, seconds = problem(data)
        line = {"name": path.name, "problem": found, "events": sorted(seen - allowed)}
        line |= {"peak": peak, "size": len(data), "seconds": seconds}
        print(json.dumps(line), flush=True)
"""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("hostile-files")
    (directory / "hostile").mkdir()
    (directory / "honest").mkdir()
    (directory / "honest" / "tensor").write_bytes(one())
    (directory / "honest" / "value").write_bytes(plain("0"))
    for name, (make, _) in _HOSTILE.items():
        (directory / "hostile" / name).write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(_READ_ALL)],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = {line["name"]: line for line in lines}
    missing = sorted(set(_HOSTILE) - set(found))
    assert not missing, f"reading ended before {missing[0]!r}: {done.stderr[-500:]}"
    found["canary"] = {"exists": (directory / "canary").exists()}
    return found


def test_there_are_as_many_hostile_files_as_the_documentation_says() -> None:
    assert len(_HOSTILE) >= 70


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_file_is_refused(name: str, verdicts: dict[str, dict[str, Any]]) -> None:
    problem, expected = verdicts[name]["problem"], _HOSTILE[name][1]
    # In what words json, safetensors or torch refuse a file is up to them.
    assert problem.startswith(expected) if expected.endswith(": ") else problem == expected
    assert "\n" not in problem


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_file_runs_nothing(name: str, verdicts: dict[str, dict[str, Any]]) -> None:
    assert verdicts[name]["events"] == []
    assert not verdicts["canary"]["exists"]


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_file_takes_little_memory_and_time(
    name: str, verdicts: dict[str, dict[str, Any]]
) -> None:
    assert verdicts[name]["peak"] < 2**20 + 150 * verdicts[name]["size"]
    # A byte takes less than a microsecond; a busy machine, and tracemalloc, ten times that.
    assert verdicts[name]["seconds"] < 1 + 1e-5 * verdicts[name]["size"]


@pytest.mark.parametrize("size", [10**6, 4 * 10**6])
def test_reading_takes_memory_in_proportion_to_the_file(size: int) -> None:
    data = encode({"t": torch.zeros(size // 2, dtype=torch.uint8), "n": [1.5] * (size // 8)})
    tracemalloc.start()
    decode(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 20 * len(data)


def test_a_file_written_by_hand_is_read() -> None:
    decoded = decode(one(body=struct.pack("<ff", 1.0, 2.0)))

    assert_same(decoded, {"w": torch.tensor([1.0, 2.0])})
    assert_same(decode(plain('[{"tuple":[1]}]')), {"w": [(1,)]})
    assert_same(decode(plain("1." + "0" * 10**6)), {"w": 1.0})


# read, load_weights and copy_weights


def test_weights_of_a_compiled_network_have_the_names_of_the_network() -> None:
    inner: Any = torch.compile(nn.Linear(3, 2))
    outer: Any = torch.compile(nn.Sequential(inner, nn.Linear(2, 2)))

    assert list(copy_weights(outer)) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "none.pt"
    with pytest.raises(CheckpointError) as caught:
        read(path)

    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"
    assert caught.value.path == path


def test_a_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no file"):
        read(tmp_path)


def test_weights_are_read_by_a_path_or_its_text(tmp_path: Path) -> None:
    weights = {"bias": torch.randn(3), "weight": torch.randn(3, 4).T}
    path = tmp_path / "best.safetensors"
    path.write_bytes(encode(weights))

    assert_same(load_weights(path), weights)
    assert_same(load_weights(str(path)), weights)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_weights_of_any_safetensors_file_are_read(tmp_path: Path) -> None:
    weights = {
        "bias": torch.randn(3),
        "empty": torch.ones(0, 2),
        "small": torch.ones(2).to(torch.float8_e5m2),
    }
    about = {"ignite_threenet": '{"source": {"distribution": "ignite-threenet", "sha256": null}}'}
    for number, notes in enumerate((None, {"format": "pt"}, about, {"sha256": "0" * 64})):
        content = safetensors.torch.save(weights, notes)
        loaded = load_weights(written(tmp_path / f"{number}.safetensors", content))

        assert set(loaded) == set(weights)
        assert_same({name: loaded[name] for name in weights}, weights)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_weights_that_torch_saved_are_read(tmp_path: Path) -> None:
    weights = {"bias": torch.randn(3), "weight": torch.randn(3, 4)}
    files = {
        "ours.pt": encode_for_torch(weights),
        "torch.pt": saved(weights),
        "parameters.pth": saved({name: nn.Parameter(each) for name, each in weights.items()}),
    }
    for name, content in files.items():
        assert_same(load_weights(written(tmp_path / name, content)), weights)


class _Reduced:
    """Pickles as a call."""

    def __reduce__(self) -> Any:
        return exec, ("open('canary', 'w')",)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", ["some.pt", "some.bin", "some"])
def test_no_file_of_weights_runs_code(tmp_path: Path, name: str, protocol: int) -> None:
    for content in (
        pickle.dumps({"w": _Reduced()}, protocol),
        saved({"w": _Reduced()}),
        saved(nn.Linear(1, 1)),
        b"",
        b"PK\x03\x04",
        bytes(1000),
    ):
        with pytest.raises(CheckpointError, match=r"is damaged, or holds what torch") as caught:
            load_weights(written(tmp_path / name, content))
        assert "\n" not in str(caught.value)
    assert not Path("canary").exists()


def test_every_mutation_of_weights_is_seen(tmp_path: Path) -> None:
    weights = {"bias": torch.randn(30), "weight": torch.randn(3, 4)}
    data, chance = encode_for_torch(weights), random.Random(0)
    mutants = [each for each in (mutant(data, chance) for _ in range(300)) if each != data]
    for each in mutants:
        with pytest.raises(CheckpointError):
            load_weights(written(tmp_path / "some.pt", each))


@pytest.mark.parametrize("name", ["ignite-threenet", "sha256"])
def test_a_flipped_bit_in_the_seal_does_not_hide_it(tmp_path: Path, name: str) -> None:
    data = encode({"bias": torch.ones(3)})
    changed = data.replace(name.encode(), name.upper().encode(), 1)

    with pytest.raises(CheckpointError, match="is cut short, or was not written by"):
        load_weights(written(tmp_path / "best.safetensors", changed))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(8),
        b"\xff" * 8,
        (2).to_bytes(8, "little") + b"[]",
        safetensors.torch.save({"bias": torch.ones(3)})[:-1],
        safetensors.torch.save({"bias": torch.ones(3)}) + b"x",
        safetensors.torch.save({"bias": torch.ones(3)}).replace(b"F32", b"F99"),
        saved({"bias": torch.ones(3)}),
    ],
    ids=["empty", "no header", "long header", "a list", "cut", "longer", "dtype", "of torch"],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_weights(written(tmp_path / "best.safetensors", content))

    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_not_taken_for_weights(tmp_path: Path) -> None:
    content = {"model": {"bias": torch.ones(3)}, "epoch": 3}
    files = {
        "epoch-3.safetensors": encode(content),
        "epoch-3.pt": saved(content),
        "list.pt": saved([torch.ones(3)]),
        "numbers.pt": saved({1: torch.ones(3)}),
    }
    for name, data in files.items():
        path = written(tmp_path / name, data)
        with pytest.raises(CheckpointError) as caught:
            load_weights(path)

        assert str(caught.value) == f"{path}: holds other things than tensors, so it is not a model"


def test_damaged_weights_say_which_file(tmp_path: Path) -> None:
    weights = {"bias": torch.ones(3)}
    mismatch = "is damaged: its SHA-256 digest does not match"
    for name, data, problem in (
        ("best.pt", encode_for_torch(weights)[:-1], "is cut short, or longer than it was written"),
        ("other.pt", encode_for_torch(weights).replace(b"data.pkl", b"data.pkL", 1), mismatch),
        ("best.safetensors", encode(weights)[:-1], mismatch),
    ):
        path = written(tmp_path / name, data)
        with pytest.raises(CheckpointError) as caught:
            load_weights(str(path))

        assert str(caught.value) == f"{path}: {problem}"


def test_copied_weights_stay_when_the_model_learns_on() -> None:
    network = nn.BatchNorm1d(2)
    weights = copy_weights(network)
    with torch.no_grad():
        network.weight.zero_()
    network(torch.randn(4, 2))

    assert list(weights) == list(network.state_dict())
    assert weights["weight"].tolist() == [1.0, 1.0]
    assert weights["num_batches_tracked"].item() == 0
    assert not any(tensor.requires_grad for tensor in weights.values())
