"""Where datasets come from: the built-in ones, those of others, and what each has to give."""

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, dataclass_transform

import numpy as np
import torch
from torch import Tensor

from .data import SPLITS, Dataset, Split
from .errors import DataError, PartError, UnreachableError, spell_cause
from .options import make_options_class, option_specs
from .parts import ChosenPart, DataShape, choose_part
from .sources import SOURCES

logger = logging.getLogger(__package__)

Tensors = Mapping[str, tuple[Tensor, Tensor]]
"""Samples and labels of each split."""


@dataclass_transform(kw_only_default=True, eq_default=False)
class DataSource:
    """Where a dataset comes from.

    A subclass declares its options with option(), and becomes a keyword-only dataclass of them.

    Attributes:
        input_shape: the shape of one sample, where it is known before anything is loaded.
        classes: the number of classes, where it is known as early. Where both are, and the splits
            are ``train`` and ``test``, the data is loaded only when training starts.

    Example:
        >>> from ignite_threenet import option
        >>> class Noise(DataSource):
        ...     samples: int = option(100, help="samples of each split", min=1)
        ...
        ...     def load(self, data_dir):
        ...         pair = torch.rand(self.samples, 5), torch.arange(self.samples) % 3
        ...         return {"train": pair, "test": pair}
        >>> len(Noise(samples=7).load(Path())["train"][0])
        7
    """

    input_shape: ClassVar[tuple[int, ...] | None] = None
    classes: ClassVar[int | None] = None

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        make_options_class(cls, eq=False)
        for spec in option_specs(cls):
            if callable(getattr(DataSource, spec.name, None)):
                raise TypeError(f"{cls.__name__}.{spec.name}: every source has that already")

    def load(self, data_dir: Path) -> Dataset | Tensors:
        """Load the data.

        Args:
            data_dir: the directory of the datasets.

        Returns:
            Samples (N, ...) and labels (N,) for ``train``, and perhaps ``valid`` and ``test``; or
            a Dataset, which can also name the classes.

        Raises:
            DataError: the data is damaged or cannot be had.
        """
        raise NotImplementedError


class _IdxSource(DataSource):
    """A dataset of four files in MNIST's format."""

    input_shape = (1, 28, 28)
    classes = 10
    name: ClassVar[str]

    def load(self, data_dir: Path) -> Dataset:
        """Read the files; fetch or draw them first where they are not on disk."""
        files = SOURCES[self.name].read(data_dir)
        splits = {"train": Split(*files.train), "test": Split(*files.test)}
        return Dataset(self.name, splits, files.sha256)


class Mnist(_IdxSource):
    """Handwritten digits: 70,000 images of 28x28, checked against pinned digests."""

    name = "mnist"


class FashionMnist(_IdxSource):
    """Articles of clothing: 70,000 images of 28x28."""

    name = "fashion-mnist"


class Kmnist(_IdxSource):
    """Cursive Japanese characters: 70,000 images of 28x28."""

    name = "kmnist"


class Digits(_IdxSource):
    """Printed digits, drawn by this project from fonts, without a network."""

    name = "digits"


class Auto(_IdxSource):
    """MNIST where it is on disk or can be downloaded, else digits, with a warning."""

    name = "mnist"

    def load(self, data_dir: Path) -> Dataset:
        """Load the one or the other."""
        try:
            return super().load(data_dir)
        except UnreachableError as error:
            logger.warning("%s", error.reason)
            logger.warning("TRAINING ON THE EMBEDDED DATASET 'digits' INSTEAD OF MNIST")
            return Digits().load(data_dir)


# Their files are checked against digests, and their form is known.
_BUILT_IN = (Mnist, FashionMnist, Kmnist, Digits, Auto)


def is_dataset(value: object) -> bool:
    """Tell whether something can be a dataset: a kind of DataSource, or a function."""
    if isinstance(value, type):
        return issubclass(value, DataSource) and value is not DataSource
    return callable(value)


def load_data(name: str = "auto", data_dir: str | Path = "data", **options: Any) -> Dataset:
    """Load a dataset; fetch or draw it first where it is not on disk.

    Args:
        name: the name of an installed one: mnist, fashion-mnist, kmnist, digits, or auto, which is
            mnist where it is on disk or can be downloaded, else digits, with a warning; or
            ``file.py:load``, or a folder of images.
        data_dir: directory of the datasets, in torchvision's layout: ``MNIST/raw/`` and so on.
        **options: the dataset's options.

    Raises:
        UnknownNameError: there is no dataset of that name.
        DataError: the dataset is damaged or cannot be had, or data_dir cannot be written.
        PartError: the dataset cannot be imported.
        OptionError: an option has a value that is not allowed.
    """
    return ChosenDataset(choose_part("dataset", name).with_options(options)).load(Path(data_dir))


class ChosenDataset:
    """A dataset that takes part in a run.

    Args:
        part: what was chosen, with its options.

    Raises:
        PartError: it cannot be made.
    """

    def __init__(self, part: ChosenPart) -> None:
        self._part = part
        self._source: DataSource | None = part.create() if isinstance(part.make, type) else None

    def shape_in_advance(self) -> DataShape | None:
        """Say what the data is like, where nothing need be loaded for that."""
        source = self._source
        if source is None or source.input_shape is None or source.classes is None:
            return None
        return DataShape(source.input_shape, source.classes)

    def load(self, data_dir: Path) -> Dataset:
        """Load the data, and check it.

        Raises:
            DataError: the data is damaged, cannot be had, or is not what a dataset must be.
        """
        load = self._part.make if self._source is None else self._source.load
        try:
            loaded = self._part.call(load, {"data_dir": data_dir}, "cannot be loaded")
        except PartError as error:
            raise DataError(str(error)) from error.__cause__
        if type(self._source) in _BUILT_IN and isinstance(loaded, Dataset):
            return loaded
        dataset = _checked(loaded, self._part, self.shape_in_advance())
        return replace(dataset, sha256=_digests(dataset.splits))


def _checked(loaded: object, part: ChosenPart, promised: DataShape | None) -> Dataset:
    """Check what a dataset's author gave, and make a Dataset of it."""
    class_names, pairs = _taken_apart(loaded, part)
    if "train" not in pairs:
        raise _refuse(part, f"has no split 'train', only {', '.join(map(str, pairs)) or 'none'}")
    for name in pairs:
        if name not in SPLITS:
            raise _refuse(part, f"has the split {name!r}; expected {', '.join(SPLITS)}")
    if promised is not None and set(pairs) != {"train", "test"}:
        raise _refuse(
            part,
            "says in advance what its samples are, and so must have the splits train and test; "
            f"it has {', '.join(pairs)}",
        )
    splits = {name: _checked_split(pairs[name], part, name) for name in SPLITS if name in pairs}
    dataset = Dataset(_as_file_name(part.name), splits, {}, class_names)
    _check_samples(dataset, part, promised)
    _check_labels(dataset, part, promised)
    return dataset


_EXPECTED = "expected a Dataset, or samples and labels by split: {'train': (samples, labels), ...}"


def _taken_apart(loaded: object, part: ChosenPart) -> tuple[tuple[str, ...], Mapping[Any, Any]]:
    """Give the names of the classes, and what there is for each split."""
    if isinstance(loaded, Mapping):
        return (), loaded
    if not isinstance(loaded, Dataset):
        raise _refuse(part, f"gives {type(loaded).__name__}; {_EXPECTED}")
    splits, names = loaded.splits, loaded.class_names
    if not isinstance(splits, Mapping) or not all(
        isinstance(split, Split) for split in splits.values()
    ):
        raise _refuse(part, "gives a Dataset whose splits are not a Split by name")
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        raise _refuse(part, f"has the class names {names!r}; expected a tuple of texts")
    if len(set(names)) < len(names):
        raise _refuse(part, f"has two classes of one name: {', '.join(names)}")
    return tuple(names), {name: (split.images, split.labels) for name, split in splits.items()}


def _checked_split(pair: object, part: ChosenPart, name: str) -> Split:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise _refuse(part, f"gives {type(pair).__name__} for the split {name!r}; {_EXPECTED}")
    try:
        samples, labels = (_as_tensor(each) for each in pair)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _refuse(part, f"{name}: {spell_cause(error)}") from error
    if samples.is_floating_point():
        samples = samples.float()
    if (
        samples.dtype not in (torch.uint8, torch.float32)
        or samples.ndim < 2
        or 0 in samples.shape[1:]
    ):
        raise _refuse(
            part,
            f"{name}: the samples are {samples.dtype} {tuple(samples.shape)}; expected (N, ...) of "
            "torch.uint8 or floating-point numbers",
        )
    if samples.is_floating_point() and not bool(samples.isfinite().all()):
        raise _refuse(part, f"{name}: the samples hold NaN or infinity")
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise _refuse(
            part,
            f"{name}: the labels are {labels.dtype} {tuple(labels.shape)}; expected (N,) integers",
        )
    if len(labels) != len(samples) or len(labels) == 0:
        raise _refuse(part, f"{name}: {len(samples)} samples and {len(labels)} labels")
    return Split(samples.contiguous(), labels.long().contiguous())


def _as_tensor(values: object) -> Tensor:
    if not isinstance(values, Tensor):
        array = np.asarray(values)
        # A copy: torch does not take every array as it lies in memory.
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    if values.layout != torch.strided:
        raise ValueError("a sparse tensor; expected a dense one")
    return values.detach().cpu()


def _check_samples(dataset: Dataset, part: ChosenPart, promised: DataShape | None) -> None:
    """Make sure that the samples of all splits are alike, and what they were said to be."""
    dtype = dataset.splits["train"].images.dtype
    for name, split in dataset.splits.items():
        shape = tuple(split.images.shape[1:])
        if (shape, split.images.dtype) != (dataset.sample_shape, dtype):
            raise _refuse(
                part,
                f"{name}: the samples are {split.images.dtype} {shape}, those of train "
                f"{dtype} {dataset.sample_shape}",
            )
    if promised is not None and dataset.sample_shape != promised.of_sample:
        raise _refuse(
            part,
            f"has samples of the shape {dataset.sample_shape}, and said {promised.of_sample}",
        )


def _check_labels(dataset: Dataset, part: ChosenPart, promised: DataShape | None) -> None:
    """Make sure that the labels are classes."""
    classes = dataset.classes if promised is None else promised.classes
    if promised is None and not dataset.class_names and classes > len(dataset.splits["train"]):
        samples = len(dataset.splits["train"])
        raise _refuse(part, f"has the label {classes - 1}, and {samples} samples to learn it from")
    allowed = f"0 to {classes - 1}" if classes > 0 else "classes from 0"
    for name, split in dataset.splits.items():
        lowest, highest = (int(each) for each in split.labels.aminmax())
        if lowest < 0 or highest >= classes:
            wrong = lowest if lowest < 0 else highest
            raise _refuse(part, f"{name}: has the label {wrong}; expected {allowed}")
    if classes < 2:
        raise _refuse(part, "has a single class; there is nothing to tell apart")


def _digests(splits: Mapping[str, Split]) -> dict[str, str]:
    return {
        f"{name}.{part}": _digest(tensor)
        for name, split in splits.items()
        for part, tensor in (("images", split.images), ("labels", split.labels))
    }


def _digest(tensor: Tensor) -> str:
    content = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    content.update(tensor.numpy().data)
    return content.hexdigest()


def _as_file_name(name: str) -> str:
    """Keep what can be part of a directory's name."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "dataset"


def _refuse(part: ChosenPart, problem: str) -> DataError:
    return DataError(str(part.error(problem)))
