"""Weights as torch.save writes them, sealed with a digest.

The file is a zip archive, with the SHA-256 digest of all other bytes in the archive's comment. So
``torch.load(path, weights_only=True)`` opens it anywhere. torch.load does not notice flipped bits;
reading here does.
"""

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError

_COMMENT = b"ignite-threenet sha256="
_DIGEST = re.compile(re.escape(_COMMENT) + rb"([0-9a-f]{64})\Z")
_COMMENT_SIZE = len(_COMMENT) + 64

# A zip archive, and its end: a signature, sizes and offsets, and the length of the comment.
_BEGINNING = b"PK"
_END_SIGNATURE = b"PK\x05\x06"
_END_SIZE = 22


def encode_for_torch(weights: Mapping[str, Tensor]) -> bytes:
    """Turn weights into the content of a file for torch.load.

    Example:
        >>> decode_from_torch(encode_for_torch({"bias": torch.zeros(3)}), "best.pt")
        {'bias': tensor([0., 0., 0.])}
    """
    buffer = io.BytesIO()
    torch.save(dict(weights), buffer)
    archive = buffer.getvalue()
    # The archive ends with the length of its comment, 0 as torch wrote it.
    unsigned = archive[:-2] + _COMMENT_SIZE.to_bytes(2, "little")
    return unsigned + _COMMENT + hashlib.sha256(unsigned).hexdigest().encode()


def decode_from_torch(data: bytes, path: Path | str) -> Any:
    """Read a file by torch.load(weights_only=True), after its digest if it carries one.

    Args:
        data: the content of a file, from anywhere; torch.load sees to it that it runs no code.
        path: what messages call it.

    Returns:
        What torch.load gives.

    Raises:
        CheckpointError: a byte has changed, or torch.load refuses it.
    """
    _check_seal(data, path)
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, with many lines of advice
        problem = "is damaged, or holds what torch.load(weights_only=True) does not read"
        raise CheckpointError(path, f"{problem}: {type(error).__name__}") from error


def _check_seal(data: bytes, path: Path | str) -> None:
    """Check the digest of a file that has one, or had before something cut or changed it."""
    end = data.rfind(_END_SIGNATURE) if data.startswith(_BEGINNING) else -1
    comment_size = 0
    if end >= 0:
        comment_size = int.from_bytes(data[end + _END_SIZE - 2 : end + _END_SIZE], "little")
        if comment_size != len(data) - end - _END_SIZE:
            raise CheckpointError(path, "is cut short, or longer than it was written")
    if comment_size == _COMMENT_SIZE or _COMMENT in data:
        _check_digest(data, path)


def _check_digest(data: bytes, path: Path | str) -> None:
    found = _DIGEST.search(data[-_COMMENT_SIZE:])
    if found is None:
        raise CheckpointError(path, "is cut short, or longer than it was written")
    unsigned = memoryview(data)[:-_COMMENT_SIZE]
    if hashlib.sha256(unsigned).hexdigest().encode() != found.group(1):
        raise CheckpointError(path, "is damaged: its SHA-256 digest does not match")
