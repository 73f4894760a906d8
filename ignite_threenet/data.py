"""Named datasets as tensors, and batches of them on the device."""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .errors import ConfigError, DataError, UnknownNameError, UnreachableError
from .sources import SOURCES

logger = logging.getLogger(__package__)

# The order of epoch e is drawn from (seed, e); epochs count from 1, so 0 is free for this.
_HOLD_OUT_EPOCH = 0


class Scaling(NamedTuple):
    """How pixels, as shares of full intensity, become numbers: less the mean, by the deviation."""

    mean: float
    deviation: float


HALF = Scaling(0.5, 0.5)
"""To [-1, 1]: torchvision's Normalize((0.5,), (0.5,))."""


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    Attributes:
        images: (N, 1, 28, 28) uint8, intensities 0 to 255.
        labels: (N,) int64, classes 0 to 9.
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
    """A named dataset, as it is used.

    Attributes:
        name: its name; never ``auto``.
        splits: ``train`` and ``test``, and ``valid`` where samples are held out.
        sha256: digests of the files that it was read from, by file name.
    """

    name: str
    splits: Mapping[str, Split]
    sha256: Mapping[str, str]

    def scaling(self) -> Scaling:
        """Compute the mean and the deviation of the training set's pixels.

        Returns:
            Both as shares of full intensity; 0.1307 and 0.3081 for MNIST.
        """
        histogram = torch.bincount(self.splits["train"].images.flatten(), minlength=256).double()
        values = torch.arange(256).double() / 255
        weights = histogram / histogram.sum()
        mean = weights.dot(values)
        deviation = weights.dot((values - mean).square()).sqrt()
        return Scaling(mean.item(), max(deviation.item(), 1 / 255))

    def hold_out(self, size: int, seed: int) -> "Dataset":
        """Move the last samples of a seeded permutation of train to the split ``valid``.

        Raises:
            ConfigError: size is below 1, or leaves nothing to train on.
        """
        train = self.splits["train"]
        if not 0 < size < len(train):
            raise ConfigError(f"valid_size: {size} of {len(train)} samples; expected 1 to one less")
        order = permutation(len(train), seed, _HOLD_OUT_EPOCH)
        kept, held_out = order[: len(train) - size], order[len(train) - size :]
        splits = {**self.splits, "train": train.take(kept), "valid": train.take(held_out)}
        return Dataset(self.name, splits, self.sha256)


class BatchLoader:
    """Batches of a split, as float32 pixels, on the device that the split is on.

    The split stays as it is stored, and a batch is an index into it. The last batch is smaller
    where the batch size does not divide the number of samples.

    Args:
        split: the samples.
        batch_size: samples in a batch.
        seed: seed of the order, which is drawn anew for each epoch; None for the stored order.
        scaling: what pixels become.

    Raises:
        ConfigError: the split is empty, or batch_size is below 1.

    Attributes:
        epoch: the epoch whose order the next iteration takes; counts up with each iteration.

    Example:
        >>> split = Split(torch.zeros(10, 1, 28, 28, dtype=torch.uint8), torch.arange(10))
        >>> loader = BatchLoader(split, batch_size=4)
        >>> [(tuple(images.shape), labels.tolist()) for images, labels in loader]
        [((4, 784), [0, 1, 2, 3]), ((4, 784), [4, 5, 6, 7]), ((2, 784), [8, 9])]
    """

    def __init__(
        self, split: Split, batch_size: int, seed: int | None = None, scaling: Scaling = HALF
    ) -> None:
        if batch_size < 1 or len(split) == 0:
            raise ConfigError(
                f"batches of {batch_size} out of {len(split)} samples; need 1 of each"
            )
        self.batch_size = batch_size
        self.epoch = 1
        self._images = split.images.flatten(start_dim=1)
        self._labels = split.labels
        self._seed = seed
        self._scaling = scaling

    def __len__(self) -> int:
        return math.ceil(len(self._labels) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = self.epoch
        self.epoch += 1
        if self._seed is None:
            yield from self._batches_in_stored_order()
        else:
            yield from self._batches(permutation(len(self._labels), self._seed, epoch))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration takes."""
        self.epoch = epoch

    def _batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for indices in torch.split(order.to(self._labels.device), self.batch_size):
            images = self._images.index_select(0, indices)
            yield normalize(images, self._scaling), self._labels.index_select(0, indices)

    def _batches_in_stored_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        images_of_batches = torch.split(self._images, self.batch_size)
        labels_of_batches = torch.split(self._labels, self.batch_size)
        for images, labels in zip(images_of_batches, labels_of_batches, strict=True):
            yield normalize(images, self._scaling), labels


def normalize(images: Tensor, scaling: Scaling = HALF) -> Tensor:
    """Turn stored pixels into the network's input.

    Args:
        images: uint8 of any shape, intensities 0 to 255.
        scaling: what is taken away and divided by.

    Returns:
        float32 of the same shape, dimensionless; by default in [-1, 1].

    Raises:
        DataError: images has another dtype; the message shows it.

    Source:
        torchvision's ToTensor followed by Normalize; by default equal to the last bit.

    Example:
        >>> normalize(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([-1.,  1.])
    """
    if images.dtype != torch.uint8:
        raise DataError(f"pixels are {images.dtype}; expected torch.uint8")
    shares = images.float().div_(_full_scale(images.device))
    return shares.sub_(scaling.mean).div_(scaling.deviation)


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


def check_dataset_name(name: str) -> None:
    """Refuse a name that is no dataset's.

    Raises:
        UnknownNameError: the message names the datasets.
    """
    if name != "auto" and name not in SOURCES:
        raise UnknownNameError("dataset", name, ["auto", *SOURCES])


def load_data(name: str = "auto", data_dir: str | Path = "data") -> Dataset:
    """Load a dataset; fetch or draw it first where it is not on disk.

    Args:
        name: mnist, fashion-mnist, kmnist, digits, or auto: mnist where it is on disk or can be
            downloaded, else digits, with a warning.
        data_dir: directory of the datasets, in torchvision's layout: ``MNIST/raw/`` and so on.

    Raises:
        UnknownNameError: there is no dataset of that name.
        DataError: the dataset is damaged or cannot be had, or data_dir cannot be written.
    """
    check_dataset_name(name)
    directory = Path(data_dir)
    if name != "auto":
        return _load(name, directory)
    try:
        return _load("mnist", directory)
    except UnreachableError as error:
        logger.warning("%s", error.reason)
        logger.warning("TRAINING ON THE EMBEDDED DATASET 'digits' INSTEAD OF MNIST")
        return _load("digits", directory)


def _load(name: str, directory: Path) -> Dataset:
    files = SOURCES[name].read(directory)
    splits = {
        "train": Split(*files.train),
        "test": Split(*files.test),
    }
    return Dataset(name, splits, files.sha256)
