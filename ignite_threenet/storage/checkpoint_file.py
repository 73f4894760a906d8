"""The file format of checkpoints and of saved weights: torch's own, sealed with a digest.

A file is what torch.save writes, a zip archive, with the SHA-256 digest of all other bytes in the
archive's comment. So ``torch.load(path, weights_only=True)`` opens it anywhere, and no second
file can be torn from the first. torch.load does not notice flipped bits; reading here does.

A digest does not make a file trustworthy: whoever writes a file can compute it. And two readers of
one archive can find two different pickles in it, so inspecting a file before torch.load reads it
would not help. Reading here leaves torch.load out: it follows the few pickle instructions that a
checkpoint is made of, none of which runs code or repeats what is large.
"""

import hashlib
import io
import pickletools
import re
import sys
import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, UntypedStorage, nn

from ..errors import CheckpointError

_COMMENT = b"ignite-threenet sha256="


_DIGEST = re.compile(re.escape(_COMMENT) + rb"([0-9a-f]{64})\Z")


_COMMENT_SIZE = len(_COMMENT) + 64


# The end of a zip archive: a signature, sizes and offsets, and the length of the comment.
_END_SIGNATURE = b"PK\x05\x06"


_END_SIZE = 22


_STORAGES = {
    "torch BFloat16Storage": torch.bfloat16,
    "torch BoolStorage": torch.bool,
    "torch ByteStorage": torch.uint8,
    "torch CharStorage": torch.int8,
    "torch ComplexDoubleStorage": torch.complex128,
    "torch ComplexFloatStorage": torch.complex64,
    "torch DoubleStorage": torch.float64,
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch IntStorage": torch.int32,
    "torch LongStorage": torch.int64,
    "torch ShortStorage": torch.int16,
}


_DTYPES = frozenset(_STORAGES.values())


_ORDERED_DICT = "collections OrderedDict"


_REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"


_MOST_DIMENSIONS = 64


def encode(content: Mapping[str, Any], where: str = "checkpoint") -> bytes:
    """Turn plain values and tensors into the content of a file.

    Args:
        content: None, bool, int, float, str, tensors, and lists, tuples and dicts of these.
        where: what messages call the content.

    Raises:
        CheckpointError: content holds something else; the message says where and what.

    Example:
        >>> decode(encode({"weights": torch.ones(2), "epoch": 3}))
        {'weights': tensor([1., 1.]), 'epoch': 3}
    """
    buffer = io.BytesIO()
    try:
        torch.save(_plain(content, where), buffer)
    except RecursionError as error:
        raise CheckpointError(where, "is nested too deeply, or holds itself") from error
    archive = buffer.getvalue()
    # The archive ends with the length of its comment, 0 as torch wrote it.
    unsigned = archive[:-2] + _COMMENT_SIZE.to_bytes(2, "little")
    return unsigned + _COMMENT + hashlib.sha256(unsigned).hexdigest().encode()


def decode(data: bytes, path: Path | str = "checkpoint") -> dict[str, Any]:
    """Read what encode() gave.

    Args:
        data: the content of a file, from anywhere: it runs no code, and takes memory in
            proportion to its size.
        path: what messages call it.

    Returns:
        The values, with tensors on the CPU.

    Raises:
        CheckpointError: a byte has changed, or it is not what encode() writes.
    """
    _check_digest(data, path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            content = _Reader(archive, len(data)).read()
    except _RefusedError as error:
        raise CheckpointError(path, str(error)) from error
    except Exception as error:  # zipfile, pickletools and torch raise many kinds
        raise CheckpointError(path, f"is damaged: {type(error).__name__}") from error
    if not isinstance(content, dict):
        raise CheckpointError(path, "holds no values by name")
    return content


def read(path: Path) -> dict[str, Any]:
    """Read a file that encode() made; see decode().

    Raises:
        CheckpointError: it cannot be read, or not be trusted.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror}") from error
    return decode(data, path)


def load_weights(path: Path | str) -> dict[str, Tensor]:
    """Read a network's weights, such as those in ``best.pt``, by their names.

    Args:
        path: the file, which may come from anybody: it runs no code.

    Raises:
        CheckpointError: it cannot be read, a byte has changed, or it holds something else.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "best.pt")
        >>> path.write_bytes(encode({"bias": torch.zeros(3)})) > 0
        True
        >>> load_weights(path)
        {'bias': tensor([0., 0., 0.])}
    """
    weights = read(Path(path))
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(path, "holds other things than tensors, so it is not a model")
    return weights


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """Copy a model's parameters and buffers to the CPU, by their names."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }


def _plain(value: Any, where: str) -> Any:
    """Copy a value without what only its program could read back."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Tensor):
        return _plain_tensor(value, where)
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in (str, int):
                raise CheckpointError(where, f"has the key {key!r}; expected a str or an int")
        return {key: _plain(each, f"{where}: {key}") for key, each in value.items()}
    if isinstance(value, list | tuple):
        items = [_plain(each, f"{where}[{index}]") for index, each in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    raise CheckpointError(where, f"is a {type(value).__name__}; expected a plain value or a tensor")


def _plain_tensor(tensor: Tensor, where: str) -> Tensor:
    if tensor.layout is not torch.strided or tensor.dtype not in _DTYPES:
        raise CheckpointError(where, f"is a tensor of {tensor.layout}, {tensor.dtype}")
    plain = tensor.detach().as_subclass(Tensor).resolve_conj().resolve_neg().cpu()
    # Its order in memory is kept, by columns for instance: some of torch's kernels walk through
    # memory as it lies. Only where elements overlap, or lie apart, is it put in order.
    if torch.empty_like(plain).stride() != plain.stride():
        plain = plain.contiguous()
    # torch.save writes all of the memory that a tensor is a part of.
    is_part = plain.untyped_storage().nbytes() != plain.nbytes
    return plain.clone() if is_part else plain


def _check_digest(data: bytes, path: Path | str) -> None:
    found = _DIGEST.search(data[-_COMMENT_SIZE:])
    unsigned = data[:-_COMMENT_SIZE]
    end = unsigned[-_END_SIZE:]
    if found is None or not end.startswith(_END_SIGNATURE):
        raise CheckpointError(path, "is cut short, or was not written by ignite-threenet")
    if hashlib.sha256(unsigned).hexdigest().encode() != found.group(1):
        raise CheckpointError(path, "is damaged: its SHA-256 digest does not match")


class _RefusedError(Exception):
    """The file holds what no checkpoint does."""


class _Name(NamedTuple):
    """A function or a kind of storage that a pickle asks for; it is only ever compared."""

    name: str


class _Storage(NamedTuple):
    """Numbers that tensors share."""

    memory: UntypedStorage
    dtype: torch.dtype


class _Reader:
    """Makes plain values and tensors from an archive, by the instructions that encode() uses."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        records = archive.infolist()
        # torch.load takes names for the same whatever their case.
        if len({record.filename.lower() for record in records}) != len(records):
            raise _RefusedError("holds two records of one name")
        if len({record.filename.partition("/")[0] for record in records}) > 1:
            raise _RefusedError("holds records under two names")
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise _RefusedError("holds compressed records")
        if any(record.compress_size != record.file_size for record in records):
            raise _RefusedError("holds a record of two sizes")
        if sum(record.file_size for record in records) > size:
            raise _RefusedError("holds records larger than itself")
        self._archive = archive
        self._records = {record.filename.partition("/")[2]: record for record in records}
        self._storages: dict[str, UntypedStorage] = {}
        self._stack: list[Any] = []
        self._outer_stacks: list[list[Any]] = []
        self._names: dict[int, str | _Name] = {}

    def read(self) -> Any:
        if self._content_of("byteorder") != sys.byteorder.encode():
            raise _RefusedError("was written by a machine with another order of bytes")
        for opcode, argument, _ in pickletools.genops(self._content_of("data.pkl")):
            self._follow(opcode.name, argument)
        (content,) = self._stack
        _check_plain(content)
        return content

    def _content_of(self, record: str) -> bytes:
        return self._archive.read(self._records[record])

    def _follow(self, instruction: str, argument: Any) -> None:
        match instruction:
            case "PROTO" | "STOP":
                pass
            case "NONE":
                self._stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                self._stack.append(instruction == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "LONG4" | "BINFLOAT" | "BINUNICODE":
                self._stack.append(argument)
            case "EMPTY_DICT":
                self._stack.append({})
            case "EMPTY_LIST":
                self._stack.append([])
            case "EMPTY_TUPLE":
                self._stack.append(())
            case "MARK":
                self._outer_stacks.append(self._stack)
                self._stack = []
            case "TUPLE":
                items = self._pop_to_mark()
                self._stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = self._pop(int(instruction[-1]))
                self._stack.append(tuple(items))
            case "APPEND":
                self._extend(self._pop(1))
            case "APPENDS":
                self._extend(self._pop_to_mark())
            case "SETITEM":
                self._update(self._pop(2))
            case "SETITEMS":
                self._update(self._pop_to_mark())
            case "BINPUT" | "LONG_BINPUT":
                self._note(argument)
            case "BINGET" | "LONG_BINGET":
                if argument not in self._names:
                    raise _RefusedError("holds one value in two places")
                self._stack.append(self._names[argument])
            case "GLOBAL":
                self._stack.append(_find(argument))
            case "BINPERSID":
                (identity,) = self._pop(1)
                self._stack.append(self._storage(*identity))
            case "REDUCE":
                function, arguments = self._pop(2)
                self._stack.append(_call(function, arguments))
            case _:
                raise _RefusedError(f"holds the pickle instruction {instruction}")

    def _pop(self, count: int) -> list[Any]:
        return [self._stack.pop() for _ in range(count)][::-1]

    def _pop_to_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._outer_stacks.pop()
        return items

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise _RefusedError(f"appends to a {type(target).__name__}")
        target.extend(items)

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict:
            raise _RefusedError(f"sets an item of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # A tuple could take for ever to hash, or more stack than there is.
            if type(key) not in (str, int):
                raise _RefusedError(f"holds a {type(key).__name__} as a key")
            target[key] = value

    def _note(self, index: int) -> None:
        # encode() repeats names alone. A container in two places could hold itself, or unfold.
        value = self._stack[-1]
        if type(value) in (str, _Name):
            self._names[index] = value

    def _storage(self, kind: Any, of: Any, key: Any, location: Any, numel: Any) -> _Storage:
        dtype = _STORAGES.get(of.name) if type(of) is _Name else None
        if kind != "storage" or dtype is None or type(key) is not str or not _is_size(numel):
            raise _RefusedError("asks for what is no storage of numbers")
        record = self._records.get(f"data/{key}")
        if record is None or record.file_size != numel * dtype.itemsize:
            raise _RefusedError(f"holds a tensor of {numel} numbers that are not there")
        if key not in self._storages:
            self._storages[key] = _to_memory(self._archive.read(record))
        return _Storage(self._storages[key], dtype)


def _find(name: str) -> _Name:
    if name not in (_ORDERED_DICT, _REBUILD_TENSOR, *_STORAGES):
        raise _RefusedError(f"asks for {name.replace(' ', '.')!r}")
    return _Name(name)


def _call(function: Any, arguments: Any) -> Any:
    if type(function) is _Name and type(arguments) is tuple:
        if function.name == _ORDERED_DICT and not arguments:
            return {}
        if function.name == _REBUILD_TENSOR:
            return _make_tensor(*arguments)
    raise _RefusedError("calls what is no function of tensors")


def _make_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any
) -> Tensor:
    if type(storage) is not _Storage or type(size) is not tuple or type(stride) is not tuple:
        raise _RefusedError("holds a tensor without numbers, size or stride")
    if not len(size) == len(stride) <= _MOST_DIMENSIONS:
        raise _RefusedError(f"holds a tensor of {len(size)} dimensions")
    if not all(_is_size(number) for number in (offset, *size, *stride)):
        raise _RefusedError("holds a tensor of a negative size")
    if requires_grad is not False or type(hooks) is not dict or hooks:
        raise _RefusedError("holds a tensor with gradients")
    numel = storage.memory.nbytes() // storage.dtype.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if prod(size) > numel or (prod(size) > 0 and last >= numel):
        raise _RefusedError(f"holds a tensor {size} larger than its numbers")
    tensor = torch.empty(0, dtype=storage.dtype, device="cpu")
    return tensor.set_(storage.memory, offset, size, stride)


def _to_memory(content: bytes) -> UntypedStorage:
    # A copy, so that the memory is torch's own, aligned as torch likes it.
    memory = torch.empty(len(content), dtype=torch.uint8, device="cpu")
    if content:
        memory.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    return memory.untyped_storage()


def _check_plain(value: Any) -> None:
    if type(value) in (list, tuple):
        for each in value:
            _check_plain(each)
    elif type(value) is dict:
        for each in value.values():
            _check_plain(each)
    elif value is not None and type(value) not in (bool, int, float, str, Tensor):
        raise _RefusedError(f"holds a {type(value).__name__}")


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63
