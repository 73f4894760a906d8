"""Files in the IDX format of http://yann.lecun.com/exdb/mnist/."""

import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DataError

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
FILE_NAMES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
_IMAGES_MAGIC, _LABELS_MAGIC = 2051, 2049
_SIDE = 28  # pixels
_CLASSES = 10


def damaged(path: Path, problem: str) -> DataError:
    """Make the error that says what is wrong with a file."""
    return DataError(f"{path}: {problem}; delete the file to have it fetched anew")


def parse_samples(
    raw: Path, contents: Mapping[str, bytearray], images_name: str, labels_name: str
) -> tuple[Tensor, Tensor]:
    """Parse a split: images (N, 1, 28, 28) uint8 and labels (N,) int64."""
    images = _parse_images(contents[images_name], raw / images_name)
    labels = _parse_labels(contents[labels_name], raw / labels_name)
    if len(images) != len(labels):
        raise damaged(raw / labels_name, f"has {len(labels)} labels for {len(images)} images")
    return images, labels


def _parse_images(content: bytearray, path: Path) -> Tensor:
    header = struct.Struct(">IIII")
    if len(content) <= header.size:
        raise damaged(path, f"has {len(content)} bytes, and no image in them")
    magic, count, height, width = header.unpack_from(content)
    if (magic, height, width) != (_IMAGES_MAGIC, _SIDE, _SIDE):
        raise damaged(path, f"is not an IDX file of {_SIDE}x{_SIDE} images")
    if len(content) != header.size + count * _SIDE * _SIDE:
        raise damaged(path, f"has {len(content)} bytes, which {count} images do not fill")
    pixels = torch.frombuffer(content, dtype=torch.uint8, offset=header.size)
    return pixels.view(count, 1, _SIDE, _SIDE)


def _parse_labels(content: bytearray, path: Path) -> Tensor:
    header = struct.Struct(">II")
    if len(content) <= header.size:
        raise damaged(path, f"has {len(content)} bytes, and no label in them")
    magic, count = header.unpack_from(content)
    if magic != _LABELS_MAGIC or len(content) != header.size + count:
        raise damaged(path, "is not an IDX file of labels")
    labels = torch.frombuffer(content, dtype=torch.uint8, offset=header.size).long()
    if labels.max() >= _CLASSES:
        raise damaged(
            path, f"has the label {labels.max().item()}, and {_CLASSES - 1} is the largest"
        )
    return labels


def images_to_idx(images: Tensor) -> bytes:
    """Put images (N, 1, 28, 28) uint8 into a file's content."""
    header = struct.pack(">IIII", _IMAGES_MAGIC, len(images), _SIDE, _SIDE)
    return header + images.numpy().tobytes()


def labels_to_idx(labels: Tensor) -> bytes:
    """Put labels (N,) of 0 to 9 into a file's content."""
    return struct.pack(">II", _LABELS_MAGIC, len(labels)) + labels.to(torch.uint8).numpy().tobytes()
