"""The file format of checkpoints and of saved weights: torch's own, sealed with a digest.

A file is what torch.save writes, a zip archive, with the SHA-256 digest of all other bytes in the
archive's comment. So ``torch.load(path, weights_only=True)`` opens it anywhere, and no second
file can be torn from the first. torch.load does not notice flipped bits; reading here does.

A digest does not make a file trustworthy: whoever writes a file can compute it. So the archive
and its pickle are also inspected, before torch sees them, for what would run code or take more
memory than the file is large.
"""

import hashlib
import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .errors import CheckpointError

_COMMENT = b"ignite-threenet sha256="
_DIGEST = re.compile(re.escape(_COMMENT) + rb"([0-9a-f]{64})\Z")
_COMMENT_SIZE = len(_COMMENT) + 64
# The end of a zip archive: a signature, sizes and offsets, and the length of the comment.
_END_SIGNATURE = b"PK\x05\x06"
_END_SIZE = 22

_STORAGES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
}
_DTYPES = frozenset(_STORAGES.values())

# What torch.save's pickles of plain values and tensors are made of, and nothing else.
# fmt: off
_OPCODES = frozenset({
    "PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT", "BINUNICODE",
    "BININT", "BININT1", "BININT2", "LONG1", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE",
    "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "APPEND", "APPENDS", "SETITEM", "SETITEMS",
    "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "GLOBAL", "REDUCE", "BINPERSID",
})
# fmt: on


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
    torch.save(_plain(content, where), buffer)
    archive = buffer.getvalue()
    # The archive ends with the length of its comment, 0 as torch wrote it.
    unsigned = archive[:-2] + _COMMENT_SIZE.to_bytes(2, "little")
    return unsigned + _COMMENT + hashlib.sha256(unsigned).hexdigest().encode()


def decode(data: bytes, path: Path | str = "checkpoint") -> dict[str, Any]:
    """Read what encode() gave.

    Args:
        data: the content of a file, from anywhere: it runs no code, and takes no more memory than
            a few times its own size.
        path: what messages call it.

    Returns:
        The values, with tensors on the CPU.

    Raises:
        CheckpointError: a byte has changed, or it is not what encode() writes.
    """
    _check_digest(data, path)
    try:
        _inspect(data)
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except _RefusedError as error:
        raise CheckpointError(path, str(error)) from error
    except Exception as error:  # zipfile, pickle and torch raise many kinds
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
    plain = tensor.detach().cpu().contiguous()
    # torch.save writes all of the memory that a tensor is a part of.
    is_part = plain.untyped_storage().nbytes() != plain.nbytes
    return plain.clone() if is_part or type(plain) is not Tensor else plain


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


def _inspect(data: bytes) -> None:
    """Refuse an archive that would run code, or unfold to more than its own size."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = archive.infolist()
        if len({record.filename for record in records}) != len(records):
            raise _RefusedError("holds two records of one name")
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise _RefusedError("holds compressed records")
        if sum(record.file_size for record in records) > len(data):
            raise _RefusedError("holds records larger than itself")
        sizes = {record.filename.partition("/")[2]: record.file_size for record in records}
        (pickled,) = (each for each in records if each.filename.partition("/")[2] == "data.pkl")
        content = archive.read(pickled)
    for opcode, _, _ in pickletools.genops(content):
        if opcode.name not in _OPCODES:
            raise _RefusedError(f"holds the pickle instruction {opcode.name}")
    _Inspector(content, sizes).load()


class _Storage(NamedTuple):
    numel: int


class _Inspector(pickle._Unpickler):
    """Goes through a pickle without making what it describes.

    Python's own unpickler, whose memo is a dict: that of the one in C grows by what a file says.
    """

    def __init__(self, content: bytes, sizes: Mapping[str, int]) -> None:
        super().__init__(io.BytesIO(content))
        self._sizes = sizes

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._check_tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise _RefusedError(f"asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, numel = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not _is_size(numel):
            raise _RefusedError(f"asks for a {kind!r}")
        if self._sizes.get(f"data/{key}") != numel * dtype.itemsize:
            raise _RefusedError(f"holds a tensor of {numel} numbers that are not there")
        return _Storage(numel)

    def _check_tensor(
        self, storage: _Storage, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
    ) -> None:
        if not all(_is_size(number) for number in (offset, *size, *stride)):
            raise _RefusedError("holds a tensor of a negative size")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        fits = prod(size) <= storage.numel and last < storage.numel
        if len(size) > _MOST_DIMENSIONS or (prod(size) > 0 and not fits):
            raise _RefusedError(f"holds a tensor {tuple(size)} larger than its numbers")


_MOST_DIMENSIONS = 64


def _is_size(value: object) -> bool:
    return type(value) is int and value >= 0
