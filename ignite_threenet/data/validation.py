"""What a dataset's author has given: checked, and made a Dataset."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, describe_error
from ..extensions.component import Component
from .dataset import SPLITS, Dataset, Split


def validate(loaded: object, component: Component) -> Dataset:
    """Check what a dataset's author gave, and make a Dataset of it."""
    class_names, pairs = _unpack(loaded, component)
    notes = _checked_notes(loaded, component)
    if "train" not in pairs:
        raise _refuse(
            component, f"has no split 'train', only {', '.join(map(str, pairs)) or 'none'}"
        )
    for name in pairs:
        if name not in SPLITS:
            raise _refuse(component, f"has the split {name!r}; expected {', '.join(SPLITS)}")
    splits = {
        name: _checked_split(pairs[name], component, name) for name in SPLITS if name in pairs
    }
    dataset = Dataset(_as_file_name(component.name), splits, {}, class_names, notes)
    _check_samples(dataset, component)
    _check_labels(dataset, component)
    return dataset


_EXPECTED = "expected a Dataset, or samples and labels by split: {'train': (samples, labels), ...}"


def _unpack(loaded: object, component: Component) -> tuple[tuple[str, ...], Mapping[Any, Any]]:
    """Give the names of the classes, and what there is for each split."""
    if isinstance(loaded, Mapping):
        return (), loaded
    if not isinstance(loaded, Dataset):
        raise _refuse(component, f"gives {type(loaded).__name__}; {_EXPECTED}")
    splits, names = loaded.splits, loaded.class_names
    if not isinstance(splits, Mapping) or not all(
        isinstance(split, Split) for split in splits.values()
    ):
        raise _refuse(component, "gives a Dataset whose splits are not a Split by name")
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        raise _refuse(component, f"has the class names {names!r}; expected a tuple of texts")
    if len(set(names)) < len(names):
        raise _refuse(component, f"has two classes of one name: {', '.join(names)}")
    return tuple(names), {name: (split.images, split.labels) for name, split in splits.items()}


def _checked_notes(loaded: object, component: Component) -> dict[str, Any]:
    notes = loaded.notes if isinstance(loaded, Dataset) else {}
    try:
        plain = json.loads(json.dumps(notes, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise _refuse(
            component, f"has notes that JSON does not know: {describe_error(error)}"
        ) from error
    if not isinstance(plain, dict):
        raise _refuse(component, f"has the notes {notes!r}; expected a mapping")
    return plain


def _checked_split(pair: object, component: Component, name: str) -> Split:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise _refuse(component, f"gives {type(pair).__name__} for the split {name!r}; {_EXPECTED}")
    try:
        samples, labels = (_as_tensor(each) for each in pair)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _refuse(component, f"{name}: {describe_error(error)}") from error
    if samples.is_floating_point():
        samples = samples.float()
    if (
        samples.dtype not in (torch.uint8, torch.float32)
        or samples.ndim < 2
        or 0 in samples.shape[1:]
    ):
        raise _refuse(
            component,
            f"{name}: the samples are {samples.dtype} {tuple(samples.shape)}; expected (N, ...) of "
            "torch.uint8 or floating-point numbers",
        )
    if samples.is_floating_point() and not bool(samples.isfinite().all()):
        raise _refuse(component, f"{name}: the samples hold NaN or infinity")
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise _refuse(
            component,
            f"{name}: the labels are {labels.dtype} {tuple(labels.shape)}; expected (N,) integers",
        )
    if len(labels) != len(samples) or len(labels) == 0:
        raise _refuse(component, f"{name}: {len(samples)} samples and {len(labels)} labels")
    return Split(samples.contiguous(), labels.long().contiguous())


def _as_tensor(values: object) -> Tensor:
    if not isinstance(values, Tensor):
        array = np.asarray(values)
        # A copy: torch does not take every array as it lies in memory.
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    if values.layout != torch.strided:
        raise ValueError("a sparse tensor; expected a dense one")
    return values.detach().cpu()


def _check_samples(dataset: Dataset, component: Component) -> None:
    """Make sure that the samples of all splits are alike."""
    dtype = dataset.splits["train"].images.dtype
    for name, split in dataset.splits.items():
        shape = tuple(split.images.shape[1:])
        if (shape, split.images.dtype) != (dataset.sample_shape, dtype):
            raise _refuse(
                component,
                f"{name}: the samples are {split.images.dtype} {shape}, those of train "
                f"{dtype} {dataset.sample_shape}",
            )


def _check_labels(dataset: Dataset, component: Component) -> None:
    """Make sure that the labels are classes."""
    classes = dataset.classes
    if not dataset.class_names and classes > len(dataset.splits["train"]):
        samples = len(dataset.splits["train"])
        raise _refuse(
            component, f"has the label {classes - 1}, and {samples} samples to learn it from"
        )
    allowed = f"0 to {classes - 1}" if classes > 0 else "classes from 0"
    for name, split in dataset.splits.items():
        lowest, highest = (int(each) for each in split.labels.aminmax())
        if lowest < 0 or highest >= classes:
            wrong = lowest if lowest < 0 else highest
            raise _refuse(component, f"{name}: has the label {wrong}; expected {allowed}")
    if classes < 2:
        raise _refuse(component, "has a single class; there is nothing to tell apart")


def digests_of(splits: Mapping[str, Split]) -> dict[str, str]:
    """Give the SHA-256 digests of the tensors of each split, by name."""
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


def _refuse(component: Component, problem: str) -> DataError:
    return DataError(str(component.error(problem)))
