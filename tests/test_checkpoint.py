"""Tests of the file format of checkpoints, and of what reading one refuses."""

import hashlib
import io
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ignite_threenet import CheckpointError, load_weights
from ignite_threenet.storage.checkpoint_file import copy_weights, decode, encode, read

_COMMENT = b"ignite-threenet sha256="
_DIGEST_SIZE = len(_COMMENT) + 64

Records = dict[str, bytes]


def sealed(archive: bytes) -> bytes:
    """Give an archive the comment that encode() would, with the right digest."""
    unsigned = archive[:-2] + _DIGEST_SIZE.to_bytes(2, "little")
    return unsigned + _COMMENT + hashlib.sha256(unsigned).hexdigest().encode()


def resealed(data: bytes) -> bytes:
    return sealed(data[: -_DIGEST_SIZE - 2] + bytes(2))


def zipped(records: Records, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()


def hostile(pickled: bytes, storage: bytes = bytes(8), **records: bytes) -> bytes:
    """Seal an archive with this pickle and one storage of two floats."""
    others = {f"archive/{name}": content for name, content in records.items()}
    return sealed(
        zipped(
            {
                "archive/data.pkl": pickled,
                "archive/byteorder": sys.byteorder.encode(),
                "archive/version": b"3\n",
                "archive/data/0": storage,
                **others,
            }
        )
    )


# Pickles, written by hand: b"\x80\x02" begins one of torch's protocol, and b"." ends it.


def pickled(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def whole(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def named(key: bytes, value: bytes) -> bytes:
    return b"}" + key + value + b"s"


def storage(key: bytes = text("0"), numel: int = 2, kind: str = "FloatStorage") -> bytes:
    of = f"ctorch\n{kind}\n".encode()
    return b"(" + text("storage") + of + key + text("cpu") + whole(numel) + b"tQ"


def tensor(
    size: tuple[int, ...] = (2,),
    stride: tuple[int, ...] = (1,),
    offset: int = 0,
    of: bytes = storage(),
    hooks: bytes = b"ccollections\nOrderedDict\n)R",
    requires_grad: bytes = b"\x89",
    rest: bytes = b"",
) -> bytes:
    shape, steps = (b"(" + b"".join(map(whole, each)) + b"t" for each in (size, stride))
    function = b"ctorch._utils\n_rebuild_tensor_v2\n"
    return (
        function + b"(" + of + whole(offset) + shape + steps + requires_grad + hooks + rest + b"tR"
    )


def under_weights(value: bytes) -> bytes:
    return pickled(named(text("w"), value))


def problem_of(data: bytes) -> str:
    with pytest.raises(CheckpointError) as caught:
        decode(data, "some.pt")
    assert caught.value.path == "some.pt"
    return str(caught.value).removeprefix("some.pt: ")


def assert_same(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    if isinstance(first, Tensor):
        assert first.dtype == second.dtype
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert list(first) == list(second)
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        for each, other in zip(first, second, strict=True):
            assert_same(each, other)
    else:
        assert first == second


# What goes in comes out


def test_plain_values_come_back_with_their_types() -> None:
    content = {
        "nothing": None,
        "flags": [True, False],
        "numbers": (0, 255, 65535, -1, 2**31, -(2**63), 2**64, 1.5, -0.0, float("inf")),
        "long": 2**3000,
        "text": "naïve \ud800 \n",
        "nested": {"empty": [{}, [], ()], 7: {"eight": (1,)}},
    }

    assert_same(decode(encode(content)), content)


def test_more_values_than_one_pickle_instruction_takes_come_back() -> None:
    content = {"many": list(range(3000)), "named": {str(number): number for number in range(3000)}}

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
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint8,
    ],
    ids=str,
)
def test_tensors_come_back(dtype: torch.dtype) -> None:
    content = {"t": torch.tensor([[0, 1, 2], [3, 4, 5]]).to(dtype)}

    assert_same(decode(encode(content)), content)


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


def test_tensors_that_share_memory_are_stored_once_and_share_it_again() -> None:
    weight = torch.randn(1000)
    data = encode({"a": weight, "b": weight, "c": nn.Parameter(weight)})
    decoded = decode(data)

    assert len(data) < 2 * weight.nbytes
    decoded["a"][0] = 7.0
    assert decoded["b"][0] == 7.0


def test_tensors_come_back_on_the_cpu_whatever_the_default_device() -> None:
    data = encode({"t": torch.ones(2), "empty": torch.ones(0)})
    with torch.device("meta"):
        decoded = decode(data)

    assert {tensor.device.type for tensor in decoded.values()} == {"cpu"}


def test_an_optimizers_state_comes_back() -> None:
    network = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()

    assert_same(decode(encode(optimizer.state_dict())), optimizer.state_dict())


def test_torch_alone_opens_a_file(tmp_path: Path) -> None:
    content = {"t": torch.randn(3, 4), "n": [1, "two", (3.0, None)], "empty": torch.ones(0)}
    path = tmp_path / "some.pt"
    path.write_bytes(encode(content))

    assert_same(torch.load(path, weights_only=True), content)


def test_any_zip_tool_finds_a_file_whole() -> None:
    with zipfile.ZipFile(io.BytesIO(encode({"t": torch.ones(2)}))) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(_COMMENT)


def test_one_content_gives_one_file() -> None:
    content = {"t": torch.ones(2), "n": 1}

    assert encode(content) == encode(content)


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
            torch.ones(2).to(torch.float8_e4m3fn),
            "is a tensor of torch.strided, torch.float8_e4m3fn",
        ),
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


@pytest.mark.parametrize("size", [0, 1, 21, 22, _DIGEST_SIZE, _DIGEST_SIZE + 22])
def test_a_file_cut_short_says_so(size: int) -> None:
    data = encode({"t": torch.ones(2)})

    assert problem_of(data[:size]) == "is cut short, or was not written by ignite-threenet"


def test_a_flipped_bit_says_so() -> None:
    data = bytearray(encode({"t": torch.ones(2)}))
    data[len(data) // 2] ^= 1

    assert problem_of(bytes(data)) == "is damaged: its SHA-256 digest does not match"


def test_a_file_by_torch_alone_is_not_taken() -> None:
    buffer = io.BytesIO()
    torch.save({"t": torch.ones(2)}, buffer)

    assert problem_of(buffer.getvalue()) == "is cut short, or was not written by ignite-threenet"


def test_a_changed_pickle_under_a_right_digest_raises_nothing_else() -> None:
    good = under_weights(tensor())
    chance = random.Random(0)
    for at in range(len(good)):
        changed = good[:at] + bytes([chance.randrange(256)]) + good[at + 1 :]
        with suppress(CheckpointError):
            decode(hostile(changed))


# What is refused on reading, under a right digest. A process of its own reads these files, with
# little memory, and notes whatever an honest file does not do.


class _Reduced:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def classic(value: object, protocol: int = 2) -> bytes:
    return hostile(pickle.dumps({"w": value}, protocol))


def torchscript() -> bytes:
    code = {"constants.pkl": pickled(b")"), "code/__torch__.py": b"import os"}
    return hostile(pickled(b"c__torch__\nNetwork\n)\x81}b"), **code)


# What would run code, or make objects of other kinds.
_CODE: dict[str, tuple[Callable[[], bytes], str]] = {
    "os.system": (
        lambda: classic(_Reduced(os.system, "echo > canary")),
        f"asks for '{os.name}.system'",
    ),
    "exec": (
        lambda: classic(_Reduced(exec, "open('canary', 'w')")),
        "asks for '__builtin__.exec'",
    ),
    "eval": (
        lambda: classic(_Reduced(eval, "open('canary', 'w')")),
        "asks for '__builtin__.eval'",
    ),
    "open": (
        lambda: hostile(
            under_weights(b"c__builtin__\nopen\n" + text("canary") + text("w") + b"\x86R")
        ),
        "asks for '__builtin__.open'",
    ),
    "getattr": (
        lambda: classic(_Reduced(getattr, "", "format")),
        "asks for '__builtin__.getattr'",
    ),
    "import": (
        lambda: classic(_Reduced(__import__, "this")),
        "asks for '__builtin__.__import__'",
    ),
    "bytearray": (
        lambda: hostile(under_weights(b"c__builtin__\nbytearray\n" + whole(2**40) + b"\x85R")),
        "asks for '__builtin__.bytearray'",
    ),
    "subprocess": (
        lambda: hostile(under_weights(b"csubprocess\nrun\n" + text("touch canary") + b"\x85R")),
        "asks for 'subprocess.run'",
    ),
    "torchscript": (torchscript, "asks for '__torch__.Network'"),
    "torch.load": (
        lambda: classic(_Reduced(torch.load, "other.pt")),
        "asks for 'torch.serialization.load'",
    ),
    "numpy": (
        lambda: classic(_Reduced(np.load, "other.npy")),
        f"asks for '{np.load.__module__}.load'",
    ),
    "numpy array": (lambda: classic(np.zeros(2), protocol=5), "holds the pickle instruction FRAME"),
    "module": (lambda: classic(nn.Linear(1, 1)), "asks for 'torch.nn.modules.linear.Linear'"),
    "class": (
        lambda: hostile(under_weights(b"c__main__\n_Own\n)\x81")),
        "asks for '__main__._Own'",
    ),
    "instruction of old": (
        lambda: hostile(under_weights(b"(S'echo > canary'\nios\nsystem\n")),
        "holds the pickle instruction STRING",
    ),
    "stack global": (
        lambda: hostile(
            under_weights(text("os") + text("system") + b"\x93" + text("x") + b"\x85R")
        ),
        "holds the pickle instruction STACK_GLOBAL",
    ),
    "extension": (
        lambda: hostile(under_weights(b"\x82\x01")),
        "holds the pickle instruction EXT1",
    ),
    "build": (
        lambda: hostile(under_weights(b"ccollections\nOrderedDict\n)R}b")),
        "holds the pickle instruction BUILD",
    ),
    "terminal": (
        lambda: hostile(under_weights(b"c\x1b[2J\nx\n")),
        r"asks for '\x1b[2J.x'",
    ),
    "called text": (
        lambda: hostile(under_weights(text("os.system") + text("x") + b"\x85R")),
        "calls what is no function of tensors",
    ),
    "called storage": (
        lambda: hostile(under_weights(b"ctorch\nFloatStorage\n" + whole(2**40) + b"\x85R")),
        "calls what is no function of tensors",
    ),
    "appended to text": (
        lambda: hostile(under_weights(text("x") + b"Na")),
        "appends to a str",
    ),
    "item of a tensor": (
        lambda: hostile(under_weights(tensor() + b"K\x00K\x00s")),
        "sets an item of a Tensor",
    ),
    "function kept": (
        lambda: hostile(under_weights(b"ctorch._utils\n_rebuild_tensor_v2\n")),
        "holds a _Name",
    ),
    "function kept in a tuple": (
        lambda: hostile(under_weights(b"ctorch._utils\n_rebuild_tensor_v2\n\x85")),
        "holds a _Name",
    ),
    "storage kept": (lambda: hostile(under_weights(storage())), "holds a _Storage"),
    "persistent text": (
        lambda: hostile(under_weights(text("module") + b"Q")),
        "is damaged: TypeError",
    ),
    "persistent module": (
        lambda: hostile(under_weights(storage().replace(b"storage", b"modules"))),
        "asks for what is no storage of numbers",
    ),
    "hooks": (
        lambda: hostile(under_weights(tensor(hooks=named(text("a"), b"N")))),
        "holds a tensor with gradients",
    ),
    "gradients": (
        lambda: hostile(under_weights(tensor(requires_grad=b"\x88"))),
        "holds a tensor with gradients",
    ),
    "metadata": (
        lambda: hostile(under_weights(tensor(rest=named(text("conj"), b"\x88")))),
        "is damaged: TypeError",
    ),
    "no values by name": (lambda: hostile(pickled(tensor())), "holds no values by name"),
    "two values": (lambda: hostile(pickled(b"}}")), "is damaged: ValueError"),
    "no value": (lambda: hostile(pickled(b"")), "is damaged: ValueError"),
}


def many(depth: int, instruction: bytes = b"\x86") -> bytes:
    """Make a tuple of a tuple of a tuple: by TUPLE2 of one twice, by TUPLE1 of one."""
    if instruction == b"\x85":
        return b")" + instruction * depth
    return b")" + b"".join(b"q%ch%c" % (level, level) + instruction for level in range(depth))


def self_referential() -> bytes:
    return pickled(b"}q\x00" + text("self") + b"h\x00s")


def with_first_central_entry(data: bytes, at: int, value: bytes) -> bytes:
    start = data.index(b"PK\x01\x02") + at
    return resealed(data[:start] + value + data[start + len(value) :])


def overlapping() -> bytes:
    """Let a hundred directory entries name one record."""
    content = zipped({"a/data/0": bytes(4000), "a/data.pkl": pickled(b"}")})
    end = content.rindex(b"PK\x05\x06")
    start = content.index(b"PK\x01\x02")
    entry = content[start : content.index(b"PK\x01\x02", start + 4)]
    entries = (
        b"".join(entry.replace(b"a/data/0", b"a/%06d" % number) for number in range(100))
        + content[start + len(entry) : end]
    )
    counts = struct.pack("<HHII", 101, 101, len(entries), start)
    return sealed(content[:start] + entries + content[end : end + 8] + counts + bytes(2))


# What would take more memory, stack or time than a file is worth.
_BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "deflated": (
        lambda: sealed(zipped({"a/data.pkl": pickled(b"}" + b"0" * 10**7)}, zipfile.ZIP_DEFLATED)),
        "holds compressed records",
    ),
    "overlapping records": (overlapping, "holds records larger than itself"),
    "huge record": (
        lambda: with_first_central_entry(
            hostile(pickled(b"}")), 20, struct.pack("<II", 2**31, 2**31)
        ),
        "holds records larger than itself",
    ),
    "two sizes": (
        lambda: with_first_central_entry(hostile(pickled(b"}")), 24, struct.pack("<I", 2)),
        "holds a record of two sizes",
    ),
    "huge tensor": (
        lambda: hostile(under_weights(tensor((2**40,)))),
        "holds a tensor (1099511627776,) larger than its numbers",
    ),
    "tensor beyond its end": (
        lambda: hostile(under_weights(tensor(offset=1))),
        "holds a tensor (2,) larger than its numbers",
    ),
    "expanded tensor": (
        lambda: hostile(under_weights(tensor((2**40,), (0,)))),
        "holds a tensor (1099511627776,) larger than its numbers",
    ),
    "strides beyond the end": (
        lambda: hostile(under_weights(tensor(stride=(2**40,)))),
        "holds a tensor (2,) larger than its numbers",
    ),
    "negative stride": (
        lambda: hostile(under_weights(tensor(stride=(-1,), offset=1))),
        "holds a tensor of a negative size",
    ),
    "negative offset": (
        lambda: hostile(under_weights(tensor((1,), offset=-1))),
        "holds a tensor of a negative size",
    ),
    "tensor without strides": (
        lambda: hostile(under_weights(tensor(stride=()))),
        "holds a tensor of 1 dimensions",
    ),
    "many dimensions": (
        lambda: hostile(under_weights(tensor((2**2000,) * 5000, (1,) * 5000))),
        "holds a tensor of 5000 dimensions",
    ),
    "huge storage": (
        lambda: hostile(under_weights(tensor(of=storage(numel=2**40)))),
        "holds a tensor of 1099511627776 numbers that are not there",
    ),
    "negative storage": (
        lambda: hostile(under_weights(tensor(of=storage(numel=-2)))),
        "asks for what is no storage of numbers",
    ),
    "storage of other numbers": (
        lambda: hostile(under_weights(tensor(of=storage(kind="DoubleStorage")))),
        "holds a tensor of 2 numbers that are not there",
    ),
    "missing storage": (
        lambda: hostile(under_weights(tensor(of=storage(text("1"))))),
        "holds a tensor of 2 numbers that are not there",
    ),
    "storage by number": (
        lambda: hostile(under_weights(tensor(of=storage(b"K\x00")))),
        "asks for what is no storage of numbers",
    ),
    "storage by an unfolding tuple": (
        lambda: hostile(under_weights(tensor(of=storage(many(60))))),
        "holds one value in two places",
    ),
    "untyped storage": (
        lambda: hostile(under_weights(tensor(of=storage(kind="UntypedStorage")))),
        "asks for 'torch.UntypedStorage'",
    ),
    "huge memo index": (
        lambda: hostile(under_weights(text("x") + b"r\xff\xff\xff\xff" + b"j\xfe\xff\xff\xff")),
        "holds one value in two places",
    ),
    "missing memo": (
        lambda: hostile(under_weights(b"j\xff\xff\xff\xff")),
        "holds one value in two places",
    ),
    "long number": (
        lambda: hostile(under_weights(b"\x8b" + struct.pack("<i", 2**31 - 1))),
        "is damaged: ValueError",
    ),
    "long text": (
        lambda: hostile(under_weights(b"X" + struct.pack("<I", 2**32 - 1))),
        "is damaged: ValueError",
    ),
    "long bytes": (
        lambda: hostile(under_weights(b"\x96" + struct.pack("<Q", 2**62))),
        "is damaged: ValueError",
    ),
    "long frame": (
        lambda: hostile(under_weights(b"\x95" + struct.pack("<Q", 2**62))),
        "holds the pickle instruction FRAME",
    ),
    "copied dict": (
        lambda: hostile(
            under_weights(b"ccollections\nOrderedDict\n" + named(text("a"), b"N") + b"\x85R")
        ),
        "calls what is no function of tensors",
    ),
    "billion laughs": (
        lambda: hostile(under_weights(many(60))),
        "holds one value in two places",
    ),
    "unfolding key": (
        lambda: hostile(pickled(named(many(60), b"N"))),
        "holds one value in two places",
    ),
    "deep key": (
        lambda: hostile(pickled(named(many(10**5, b"\x85"), b"N"))),
        "holds a tuple as a key",
    ),
    "deep lists": (
        lambda: hostile(under_weights(b"]" * 10**4 + b"a" * (10**4 - 1))),
        "is damaged: RecursionError",
    ),
    "self-referential": (lambda: hostile(self_referential()), "holds one value in two places"),
    "many marks": (lambda: hostile(pickled(b"(" * 10**4)), "is damaged: ValueError"),
}


def renamed(prefix: str) -> bytes:
    """Hide a second pickle behind another name."""
    records = {"archive/data.pkl": pickled(b"}"), "archive/byteorder": sys.byteorder.encode()}
    return sealed(zipped(records | {f"{prefix}data.pkl": pickled(b"c__builtin__\nset\n")}))


def with_two_directories() -> bytes:
    """Let the end record point to one archive, and stand behind another."""
    longer = under_weights(b"N")
    hidden, shown = hostile(longer), hostile(pickled(b"}").ljust(len(longer)))
    end = shown.rindex(b"PK\x05\x06")  # the same in both, and so is where its directory begins
    return sealed(hidden[:end] + shown[: -_DIGEST_SIZE - 2] + bytes(2))


def with_other_local_name() -> bytes:
    data = hostile(pickled(b"}"))
    return resealed(data.replace(b"archive/data.pkl", b"archive/dota.pkl", 1))


# Archives in which two readers could find two things.
_ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "second prefix": (lambda: renamed("other/"), "holds records under two names"),
    "deeper prefix": (lambda: renamed("other/archive/"), "holds records under two names"),
    "no prefix": (lambda: renamed(""), "holds records under two names"),
    "another case": (lambda: renamed("ARCHIVE/"), "holds two records of one name"),
    "local name": (with_other_local_name, "is damaged: BadZipFile"),
    "no pickle": (lambda: sealed(zipped({"a/byteorder": b"little"})), "is damaged: KeyError"),
    "no records": (lambda: sealed(zipped({})), "is damaged: KeyError"),
    "no archive": (lambda: sealed(b"PK\x05\x06" + b"\xff" * 18), "is damaged: BadZipFile"),
    "byte order": (
        lambda: sealed(zipped({"a/data.pkl": pickled(b"}"), "a/byteorder": b"middle"})),
        "was written by a machine with another order of bytes",
    ),
}

_HOSTILE = _CODE | _BOMBS | _ARCHIVES

_READ_ALL = """
    import json, sys, tracemalloc
    from pathlib import Path
    from ignite_threenet import CheckpointError
    from ignite_threenet.storage.checkpoint_file import decode

    # An honest file first: it imports what reading takes.
    honest = Path("honest.pt").read_bytes()
    allowed, seen, watching = set(), set(), False
    sys.addaudithook(lambda event, _: seen.add(event) if watching else None)

    def problem(data):
        global watching
        seen.clear()
        tracemalloc.start()
        watching = True
        try:
            decode(data)
            found = ""
        except CheckpointError as error:
            found = str(error).removeprefix("checkpoint: ")
        watching = False
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found, peak

    for data in (honest, honest, honest[:-1]):
        problem(data)
    allowed = set(seen)
    if sys.platform == "linux":
        import resource
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))
    for path in sorted(Path("hostile").iterdir()):
        data = path.read_bytes()
        found, peak = problem(data)
        events = sorted(seen - allowed)
        line = {"name": path.name, "problem": found, "events": events}
        print(json.dumps(line | {"peak": peak, "size": len(data)}), flush=True)
"""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("hostile-files")
    (directory / "hostile").mkdir()
    (directory / "honest.pt").write_bytes(hostile(under_weights(tensor())))
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


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_file_is_refused(name: str, verdicts: dict[str, dict[str, Any]]) -> None:
    assert verdicts[name]["problem"] == _HOSTILE[name][1]


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_file_runs_nothing(name: str, verdicts: dict[str, dict[str, Any]]) -> None:
    assert verdicts[name]["events"] == []
    assert not verdicts["canary"]["exists"]


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_file_takes_little_memory(name: str, verdicts: dict[str, dict[str, Any]]) -> None:
    assert verdicts[name]["peak"] < 2**20 + 150 * verdicts[name]["size"]


def test_an_archive_with_two_directories_is_read_as_it_was_inspected() -> None:
    data = with_two_directories()

    assert decode(data) == {}
    assert torch.load(io.BytesIO(data), weights_only=True) == {"w": None}


def test_a_pickle_written_by_hand_is_read() -> None:
    decoded = decode(hostile(under_weights(tensor()), struct.pack("=ff", 1.0, 2.0)))

    assert_same(decoded, {"w": torch.tensor([1.0, 2.0])})


# read, load_weights and copy_weights


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "none.pt"
    with pytest.raises(CheckpointError) as caught:
        read(path)

    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"
    assert caught.value.path == path


def test_a_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read: "):
        read(tmp_path)


def test_weights_are_read_by_a_path_or_its_text(tmp_path: Path) -> None:
    weights = {"bias": torch.randn(3), "weight": torch.randn(3, 4)}
    path = tmp_path / "best.pt"
    path.write_bytes(encode(weights))

    assert_same(load_weights(path), weights)
    assert_same(load_weights(str(path)), weights)


def test_a_checkpoint_is_not_taken_for_weights(tmp_path: Path) -> None:
    path = tmp_path / "epoch-3.pt"
    path.write_bytes(encode({"model": {"bias": torch.ones(3)}, "epoch": 3}))
    with pytest.raises(CheckpointError) as caught:
        load_weights(path)

    assert str(caught.value) == f"{path}: holds other things than tensors, so it is not a model"


def test_damaged_weights_say_which_file(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes(encode({"bias": torch.ones(3)})[:-1])
    with pytest.raises(CheckpointError) as caught:
        load_weights(str(path))

    assert str(caught.value) == f"{path}: is cut short, or was not written by ignite-threenet"


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
