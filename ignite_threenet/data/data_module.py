"""The data of a run: its loaders by split, of a chosen dataset or given by a script."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from ignite.utils import manual_seed

from ..config import RunConfig
from ..errors import ConfigError, UnknownNameError
from ..extensions.component import Component
from .dataset import SPLITS, Dataset, DataShape, Scaling
from .loader import BatchLoader
from .source import load_chosen

CUSTOM = "custom"
"""What the dataset is called if the loaders were given."""

# Evaluation needs no gradients: batches this large cost the fewest steps that still fit a
# processor's cache.
_EVALUATION_BATCH_SIZE = 2048


class DataModule:
    """The loaders of a run, by split.

    Args:
        loaders: batches to train on, by split: ``train``, and perhaps ``valid`` and ``test``.
        evaluation_loaders: batches to measure on, by split; the same ones if None.
        dataset: what they come from, if it is known.
        scaling: what is done to the samples, if that is known.
        loading_s: seconds that loading took.

    Attributes:
        loaders: batches to train on, by split.
        name: the dataset's name; ``custom`` if the loaders were given.
        class_names: names of the classes, by label; empty if they have none.
        sha256: digests of the dataset's files, or of its tensors; empty if the loaders were given.
        notes: what else the dataset says of itself; empty if the loaders were given.
        shape: what the samples are like, and how many classes there are; None if the loaders were
            given.
        dtype: of the samples as they are stored; None if the loaders were given.
        scaling: what is done to the samples; None if the loaders were given.
        loading_s: seconds that loading took.
    """

    def __init__(
        self,
        loaders: Mapping[str, Iterable[Any]],
        evaluation_loaders: Mapping[str, Iterable[Any]] | None = None,
        dataset: Dataset | None = None,
        scaling: Scaling | None = None,
        loading_s: float = 0.0,
    ) -> None:
        self.loaders: dict[str, Iterable[Any]] = dict(loaders)
        self._evaluation_loaders = evaluation_loaders or self.loaders
        self.name = dataset.name if dataset is not None else CUSTOM
        self.class_names = dataset.class_names if dataset is not None else ()
        self.sha256 = dataset.sha256 if dataset is not None else {}
        self.notes = dataset.notes if dataset is not None else {}
        self.shape = _shape_of(dataset) if dataset is not None else None
        self.dtype = dataset.splits["train"].images.dtype if dataset is not None else None
        self.scaling = scaling
        self.loading_s = loading_s

    @classmethod
    def load(cls, component: Component, config: RunConfig, device: torch.device) -> "DataModule":
        """Load a dataset, put it on the device, and make its loaders.

        Raises:
            DataError: the dataset is damaged or cannot be had.
            ConfigError: what is to be held out cannot be.
        """
        start = time.perf_counter()
        # What is drawn at random in there is drawn alike in each run.
        manual_seed(config.seed)
        dataset = load_chosen(component, config.data_dir)
        if config.valid_size > 0:
            dataset = dataset.hold_out(config.valid_size, config.seed)
        by_dataset = config.normalize == "dataset"
        scaling = dataset.scaling() if by_dataset else dataset.default_scaling()
        splits = {name: split.to(device) for name, split in dataset.splits.items()}
        loaders = {
            name: BatchLoader(
                split, config.batch_size, config.seed if name == "train" else None, scaling
            )
            for name, split in splits.items()
        }
        evaluation_loaders = {
            name: BatchLoader(split, _EVALUATION_BATCH_SIZE, scaling=scaling)
            for name, split in splits.items()
        }
        seconds = time.perf_counter() - start
        return cls(loaders, evaluation_loaders, dataset, scaling, seconds)

    @property
    def is_given(self) -> bool:
        """Whether the loaders were given, and no dataset is known."""
        return self.shape is None

    @property
    def split_names(self) -> list[str]:
        """The splits that there are: train, valid, test, in this order."""
        return [split for split in SPLITS if split in self.loaders]

    @property
    def train_loader(self) -> Any:
        """Batches to train on."""
        return self.loaders["train"]

    def evaluation_loader(self, split: str) -> Any:
        """Give the batches of a split to measure on."""
        return self._evaluation_loaders[split]

    def set_epoch(self, epoch: int) -> None:
        """Tell a loader that draws its order anew for each epoch which epoch this is."""
        for part in (self.train_loader, getattr(self.train_loader, "sampler", None)):
            set_epoch = getattr(part, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(epoch)


def check_loaders(loaders: Mapping[str, Iterable[Any]]) -> None:
    """Refuse loaders that a run cannot train with.

    Raises:
        ConfigError: a split is unknown, there is none to train on, or a loader gives its batches
            only once.
    """
    for split, loader in loaders.items():
        if split not in SPLITS:
            raise UnknownNameError("split", split, SPLITS, where="loaders")
        # A class of somebody's may begin anew in its __iter__; one of Python's own does not.
        is_spent = type(loader).__module__ in ("builtins", "itertools", "_io")
        if isinstance(loader, Iterator) and is_spent:
            raise ConfigError(
                f"loaders: {split!r} is a {type(loader).__name__}, which gives its batches once; "
                "give a list, a DataLoader, or what else can be gone through in each epoch"
            )
        if not isinstance(loader, Iterable) and not hasattr(loader, "__getitem__"):
            raise ConfigError(f"loaders: {split!r} is a {type(loader).__name__}, not iterable")
    if "train" not in loaders:
        raise ConfigError("loaders: there is none for the split 'train'")


def _shape_of(dataset: Dataset) -> DataShape:
    return DataShape(dataset.sample_shape, dataset.classes)
