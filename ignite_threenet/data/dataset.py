"""Datasets as tensors."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, DataError

SPLITS = ("train", "valid", "test")

# The order of epoch e is drawn from (seed, e); epochs count from 1, so 0 is free for this.
_HOLD_OUT_EPOCH = 0
# Numbers that are turned into double precision at once: 16 MiB.
_NUMBERS_AT_ONCE = 2**21


class Scaling(NamedTuple):
    """How pixels, as shares of full intensity, become numbers: less the mean, by the deviation."""

    mean: float
    std: float


PIXELS_TO_UNIT = Scaling(0.5, 0.5)
"""To [-1, 1]: torchvision's Normalize((0.5,), (0.5,))."""

IDENTITY = Scaling(0.0, 1.0)
"""For numbers that are no pixels, as they are."""


@dataclass(frozen=True)
class Split:
    """Images, or other samples, with their labels.

    Attributes:
        images: (N, ...): uint8, intensities 0 to 255, such as the (N, 1, 28, 28) of MNIST; or
            float32, numbers of any kind.
        labels: (N,) int64, classes from 0.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Split":
        """Put the samples on a device."""
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, indices: Tensor) -> "Split":
        """Select samples, in the order of indices, (M,) int64."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Dataset:
    """A dataset, as it is used.

    Attributes:
        name: its name; never ``auto``.
        splits: ``train``, and as a rule ``test``, and ``valid`` if samples are held out.
        sha256: digests of the files that it was read from, or of its tensors, by name.
        class_names: names of the classes, in the order of the labels; empty if they have none.
        notes: what else there is to know, for the manifest: how many images of which class, what
            was left out. Whatever JSON knows.
    """

    name: str
    splits: Mapping[str, Split]
    sha256: Mapping[str, str]
    class_names: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.splits["train"].images.shape[1:])

    @property
    def classes(self) -> int:
        """How many classes there are: those that are named, else those of the labels."""
        if self.class_names:
            return len(self.class_names)
        return 1 + max(int(split.labels.max()) for split in self.splits.values())

    def default_scaling(self) -> Scaling:
        """Give what is done to the samples if nobody asks for more: pixels to [-1, 1]."""
        return PIXELS_TO_UNIT if self.splits["train"].images.dtype == torch.uint8 else IDENTITY

    def scaling(self) -> Scaling:
        """Compute the mean and the deviation of all numbers of the training set.

        Returns:
            Both of pixels as shares of full intensity; 0.1307 and 0.3081 for MNIST.
        """
        images = self.splits["train"].images
        if images.dtype != torch.uint8:
            return _scaling_of_numbers(images)
        histogram = torch.bincount(images.flatten(), minlength=256).double()
        values = torch.arange(256).double() / 255
        weights = histogram / histogram.sum()
        mean = weights.dot(values)
        std = weights.dot((values - mean).square()).sqrt()
        return Scaling(mean.item(), max(std.item(), 1 / 255))

    def hold_out(self, size: int, seed: int) -> "Dataset":
        """Move the last samples of a seeded permutation of train to the split ``valid``.

        Raises:
            ConfigError: size is below 1, or leaves nothing to train on, or there is such a split.
        """
        if "valid" in self.splits:
            raise ConfigError(f"valid_size: the dataset {self.name} has its own split 'valid'")
        train = self.splits["train"]
        if not 0 < size < len(train):
            raise ConfigError(f"valid_size: {size} of {len(train)} samples; expected 1 to one less")
        order = permutation(len(train), seed, _HOLD_OUT_EPOCH)
        kept, held_out = order[: len(train) - size], order[len(train) - size :]
        splits = {**self.splits, "train": train.take(kept), "valid": train.take(held_out)}
        return replace(self, splits=splits)


def _scaling_of_numbers(numbers: Tensor) -> Scaling:
    """Compute the mean and the deviation in double precision, of a part at a time.

    Source:
        Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
        variances" (1979).
    """
    count, mean, variance = 0, 0.0, 0.0
    # One for all parts: freed ones would be kept by the allocator.
    doubles = torch.empty(min(_NUMBERS_AT_ONCE, numbers.numel()), dtype=torch.float64)
    for part in torch.split(numbers.flatten(), _NUMBERS_AT_ONCE):
        taken = doubles[: len(part)].copy_(part)
        of_part, mean_of_part = torch.var_mean(taken, correction=0)
        new = len(part) / (count + len(part))
        step = mean_of_part.item() - mean
        mean += step * new
        variance = variance * (1 - new) + of_part.item() * new + step * step * new * (1 - new)
        count += len(part)
    return Scaling(mean, math.sqrt(variance) or 1.0)


def normalize(images: Tensor, scaling: Scaling = PIXELS_TO_UNIT) -> Tensor:
    """Turn stored samples into the network's input.

    Args:
        images: uint8 of any shape, intensities 0 to 255, which are taken as shares of full
            intensity; or float32, which is taken as it is.
        scaling: what is taken away and divided by.

    Returns:
        float32 of the same shape, dimensionless; pixels by default in [-1, 1].

    Raises:
        DataError: images has another dtype; the message shows it.

    Source:
        torchvision's ToTensor followed by Normalize; by default equal to the last bit.

    Example:
        >>> normalize(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([-1.,  1.])
    """
    if images.dtype == torch.uint8:
        shares = images.float().div_(_full_scale(images.device))
        return shares.sub_(scaling.mean).div_(scaling.std)
    if images.dtype == torch.float32:
        return images.sub(scaling.mean).div_(scaling.std)
    raise DataError(f"samples are {images.dtype}; expected torch.uint8 or torch.float32")


@cache
def _full_scale(device: torch.device) -> Tensor:
    """Give 255 as a tensor: by a plain number, CUDA would multiply with its rounded inverse."""
    return torch.tensor(255.0, device=device)


def permutation(size: int, seed: int, epoch: int) -> Tensor:
    """Draw the order of one epoch: a function of (seed, epoch) alone, the same on every device.

    Returns:
        (size,) int64 on the CPU, a permutation of 0 to size - 1.
    """
    # torch's CPU generator takes 32 bits of its seed, so the pair is hashed into them.
    mixed = np.random.SeedSequence((seed, epoch)).generate_state(1)[0]
    return torch.randperm(size, generator=torch.Generator().manual_seed(int(mixed)))


class DataShape(NamedTuple):
    """What a network must know of the data.

    Attributes:
        of_sample: the shape of one sample.
        classes: the number of classes.
    """

    of_sample: tuple[int, ...]
    classes: int
