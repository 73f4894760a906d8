"""Where datasets come from, and how they are chosen."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, dataclass_transform

from torch import Tensor

from ..errors import ComponentError, DataError
from ..extensions.component import Component, choose_component
from ..options.declaration import make_options_class, option_specs
from .dataset import Dataset
from .validation import digests_of, validate

Tensors = Mapping[str, tuple[Tensor, Tensor]]
"""Samples and labels of each split."""


@dataclass_transform(kw_only_default=True, eq_default=False)
class DataSource:
    """Where a dataset comes from.

    A subclass declares its options with option(), and becomes a keyword-only dataclass of them.

    Example:
        >>> import torch
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

    # Whether what it loads is known to be right, being checked against digests.
    _is_trusted: ClassVar[bool] = False

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


def is_dataset(value: object) -> bool:
    """Tell whether something can be a dataset: a kind of DataSource, or a function."""
    if isinstance(value, type):
        return issubclass(value, DataSource) and value is not DataSource
    return callable(value)


def choose_dataset(word: str) -> Component:
    """Find a dataset, and import what loads it; see choose_component()."""
    what = "an ignite_threenet.DataSource, or a function that loads one"
    return choose_component("dataset", word, is_dataset, what)


def load_data(name: str = "auto", data_dir: str | Path = "data", **options: Any) -> Dataset:
    """Load a dataset; fetch or draw it first if it is not on disk.

    Args:
        name: the name of an installed one: mnist, fashion-mnist, kmnist, digits, or auto, which is
            mnist if it is on disk or can be downloaded, else digits, with a warning; or
            ``file.py:load``, or a folder of images.
        data_dir: directory of the datasets, in torchvision's layout: ``MNIST/raw/`` and so on.
        **options: the dataset's options.

    Raises:
        UnknownNameError: there is no dataset of that name.
        DataError: the dataset is damaged or cannot be had, or data_dir cannot be written.
        ComponentError: the dataset cannot be imported.
        OptionError: an option has a value that is not allowed.
    """
    return load_chosen(choose_dataset(name).with_options(options), Path(data_dir))


def load_chosen(component: Component, data_dir: Path) -> Dataset:
    """Load a dataset, and check it.

    Args:
        component: what was chosen, with its options.
        data_dir: the directory of the datasets.

    Raises:
        ComponentError: it cannot be made.
        DataError: the data is damaged, cannot be had, or is not what a dataset must be.
    """
    source: DataSource | None = component.create() if isinstance(component.make, type) else None
    load = component.make if source is None else source.load
    try:
        # A function takes its options together with the directory; a source has them already.
        options = component.set_options if source is None else {}
        loaded = component.call(load, {"data_dir": data_dir, **options}, "cannot be loaded")
    except ComponentError as error:
        raise DataError(str(error)) from error.__cause__
    if source is not None and source._is_trusted and isinstance(loaded, Dataset):
        return loaded
    dataset = validate(loaded, component)
    return replace(dataset, sha256=digests_of(dataset.splits))
