r"""The file format of checkpoints: one safetensors file, sealed with a digest.

The tensors are the file's entries. The plain values are JSON in its metadata, in which a tensor is
the name of its entry (see tree.py), and beside them stands the SHA-256 digest of all other bytes:

    {"__metadata__": {"ignite-threenet": "{\"sha256\":\"...\",\"content\":...}"}, ...}

So any program that reads safetensors finds the tensors, and no second file can be torn from the
first. A digest does not make a file trustworthy: whoever writes a file can compute it. Nothing in
the file is code, and what it says of itself is checked before it is believed.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from .stored_tensor import MOST_DIMENSIONS, RefusedError
from .torch_file import decode_from_torch
from .tree import pack, parse_json, shown, unpack

_COMPILED = "_orig_mod."
_NAME = "ignite-threenet"
_SEAL = re.compile(rb'"ignite-threenet":"\{\\"sha256\\":\\"([0-9a-f]{64})\\"')

# No other file begins with one of these, and no single damage takes both away.
_PARTS_OF_SEAL = (rb'"ignite-threenet":"', rb'"{\"sha256\":\"')
_BEGINNING = 200

# What safetensors takes.
_MOST_HEADER_BYTES = 100_000_000


def encode(content: Mapping[str, Any], where: str = "checkpoint") -> bytes:
    """Turn plain values and tensors into the content of a file.

    Args:
        content: None, bool, int, float, str, tensors, and lists, tuples and dicts of these.
        where: what messages call the content.

    Returns:
        The same bytes for the same content.

    Raises:
        CheckpointError: content holds something else, or more plain values than a header takes;
            the message says where and what.

    Example:
        >>> decode(encode({"weights": torch.ones(2), "epoch": 3}))
        {'weights': tensor([1., 1.]), 'epoch': 3}
    """
    tree, tensors = pack(content, where)
    sealed = {"sha256": "0" * 64, "content": tree}
    text = json.dumps(sealed, separators=(",", ":"), allow_nan=False)
    try:
        data = safetensors.torch.save(tensors, {_NAME: text})
    except Exception as error:  # a header too large, in later versions
        raise CheckpointError(where, f"cannot be written: {_one_line(error)}") from error
    size = int.from_bytes(data[:8], "little")
    if size > _MOST_HEADER_BYTES:
        problem = f"has plain values of {size} bytes; expected at most {_MOST_HEADER_BYTES}"
        raise CheckpointError(where, problem)
    return _seal(data)


def decode(data: bytes, path: Path | str = "checkpoint") -> dict[str, Any]:
    """Read what encode() gave.

    Args:
        data: the content of a file, from anywhere: it runs no code, and takes time and memory in
            proportion to its size.
        path: what messages call it.

    Returns:
        The values, with tensors on the CPU.

    Raises:
        CheckpointError: a byte has changed, or it is not what encode() writes.
    """
    _check_digest(data, path)
    with _refusing(path):
        header = _read_header(data)
        content = unpack(_read_tree(header), _read_tensors(data, header))
    if not isinstance(content, dict):
        raise CheckpointError(path, "holds no values by name")
    return content


def read(path: Path) -> dict[str, Any]:
    """Read a file that encode() made; see decode().

    Raises:
        CheckpointError: it cannot be read, or not be trusted.
    """
    return decode(_read_bytes(path), path)


def load_weights(path: Path | str) -> dict[str, Tensor]:
    """Read a network's weights, such as those in ``best.safetensors``, by their names.

    Args:
        path: the file, which may come from anybody: it runs no code. It is a safetensors file if
            its name ends so, else what torch.save wrote.

    Raises:
        CheckpointError: it cannot be read, a byte has changed, or it holds something else.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "best.safetensors")
        >>> path.write_bytes(safetensors.torch.save({"bias": torch.zeros(3)})) > 0
        True
        >>> load_weights(path)
        {'bias': tensor([0., 0., 0.])}
    """
    path = Path(path)
    data = _read_bytes(path)
    if path.suffix != ".safetensors":
        weights = decode_from_torch(data, path)
    elif _is_sealed(data):
        weights = decode(data, path)
    else:
        with _refusing(path):
            tensors = _read_tensors(data, _read_header(data))
            weights = {name: each.clone() for name, each in tensors.items()}
    if not isinstance(weights, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        raise CheckpointError(path, "holds other things than tensors, so it is not a model")
    return {name: value.detach() for name, value in weights.items()}


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """Copy a model's parameters and buffers to the CPU, by their names; the tensors alone.

    What torch.compile puts before the names of a module that it has wrapped is left out, so that
    the module itself takes the weights.
    """
    return {
        name.replace(_COMPILED, ""): each.detach()
        .cpu()
        .clone(memory_format=torch.contiguous_format)
        for name, each in model.state_dict().items()
        if isinstance(each, Tensor)
    }


def _seal(data: bytes) -> bytes:
    place = _SEAL.search(data)
    if place is None:
        raise RuntimeError("safetensors writes metadata in another way than it did")
    start, end = place.span(1)
    return b"".join((data[:start], _digest(data, start, end), memoryview(data)[end:]))


def _check_digest(data: bytes, path: Path | str) -> None:
    place = _SEAL.search(data)
    if place is None:
        raise CheckpointError(path, "is cut short, or was not written by ignite-threenet")
    if _digest(data, *place.span(1)) != place[1]:
        raise CheckpointError(path, "is damaged: its SHA-256 digest does not match")


def _digest(data: bytes, start: int, end: int) -> bytes:
    """Digest all bytes but those where the digest itself stands."""
    view = memoryview(data)
    digest = hashlib.sha256(view[:start])
    digest.update(view[end:])
    return digest.hexdigest().encode()


def _is_sealed(data: bytes) -> bool:
    """Tell whether the file has a digest, even one with a flipped bit."""
    return any(part in data[:_BEGINNING] for part in _PARTS_OF_SEAL)


def _read_tree(header: Mapping[str, Any]) -> Any:
    metadata = header.get("__metadata__")
    text = metadata.get(_NAME) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise RefusedError("holds no plain values")
    sealed = parse_json(text)
    if not isinstance(sealed, dict) or sealed.keys() != {"sha256", "content"}:
        raise RefusedError("holds other things than a digest and its content")
    return sealed["content"]


def _read_tensors(data: bytes, header: Mapping[str, Any]) -> dict[str, Tensor]:
    """Let safetensors read the entries, with what it does not check checked before."""
    for name, entry in header.items():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if isinstance(shape, list) and len(shape) > MOST_DIMENSIONS:
            raise RefusedError(f"holds a tensor of {len(shape)} dimensions: {shown(name)}")
    with torch.device("cpu"):
        return safetensors.torch.load(data)


def _read_header(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    if size > min(len(data) - 8, _MOST_HEADER_BYTES):
        raise RefusedError(f"says that its header has {size} bytes")
    header = parse_json(data[8 : 8 + size].decode("utf-8"))
    if not isinstance(header, dict):
        raise RefusedError("has a header without names")
    return header


@contextmanager
def _refusing(path: Path | str) -> Iterator[None]:
    """Turn whatever reading raises into an error of one line."""
    try:
        yield
    except RefusedError as error:
        raise CheckpointError(path, str(error)) from error
    except RecursionError as error:
        raise CheckpointError(path, "is nested too deeply") from error
    except Exception as error:  # json, safetensors and torch raise many kinds
        raise CheckpointError(path, f"is damaged: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {shown(str(error))}"


def _read_bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(path, "is no file")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror}") from error
