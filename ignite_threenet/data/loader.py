"""Batches of a dataset, on its device."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..errors import ConfigError
from .dataset import PIXELS_TO_UNIT, Scaling, Split, normalize, permutation


class BatchLoader:
    """Batches of a split, as float32 numbers, on the device that the split is on.

    The split stays as it is stored, and a batch is an index into it. The last batch is smaller
    if the batch size does not divide the number of samples. In a drawn order, a single sample that
    is left over joins the batch before: batch normalization cannot train on one.

    Args:
        split: the samples.
        batch_size: samples in a batch.
        seed: seed of the order, which is drawn anew for each epoch; None for the stored order.
        scaling: what pixels, or other numbers, become.

    Raises:
        ConfigError: the split is empty, or batch_size is below 1.

    Attributes:
        epoch: the epoch whose order the next iteration takes; counts up with each iteration.

    Example:
        >>> split = Split(torch.zeros(10, 1, 28, 28, dtype=torch.uint8), torch.arange(10))
        >>> loader = BatchLoader(split, batch_size=4)
        >>> [(tuple(images.shape), labels.tolist()) for images, labels in loader]
        [((4, 1, 28, 28), [0, 1, 2, 3]), ((4, 1, 28, 28), [4, 5, 6, 7]), ((2, 1, 28, 28), [8, 9])]
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        seed: int | None = None,
        scaling: Scaling = PIXELS_TO_UNIT,
    ) -> None:
        if batch_size < 1 or len(split) == 0:
            raise ConfigError(
                f"batches of {batch_size} out of {len(split)} samples; need 1 of each"
            )
        self.batch_size = batch_size
        self.epoch = 1
        self._images = split.images
        self._labels = split.labels
        self._seed = seed
        self._scaling = scaling

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self._images.shape[1:])

    def __len__(self) -> int:
        return math.ceil(len(self._labels) / self.batch_size) - self._joins_last

    @property
    def _joins_last(self) -> bool:
        """Whether the last sample would be a batch by itself, in training."""
        size, samples = self.batch_size, len(self._labels)
        return self._seed is not None and 1 < size < samples and samples % size == 1

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
        for indices in self._split(order.to(self._labels.device)):
            images = self._images.index_select(0, indices)
            yield normalize(images, self._scaling), self._labels.index_select(0, indices)

    def _split(self, order: Tensor) -> Sequence[Tensor]:
        batches = list(torch.split(order, self.batch_size))
        return [*batches[:-2], torch.cat(batches[-2:])] if self._joins_last else batches

    def _batches_in_stored_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        images_of_batches = torch.split(self._images, self.batch_size)
        labels_of_batches = torch.split(self._labels, self.batch_size)
        for images, labels in zip(images_of_batches, labels_of_batches, strict=True):
            yield normalize(images, self._scaling), labels
