"""What a dataset's author has given: checked, and made a Dataset."""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, describe_error
from ..extensions.component import Component
from .dataset import SPLITS, Dataset, Split

logger = logging.getLogger("ignite_threenet")

_MOST_LISTED = 10


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
    samples, labels = (
        _as_tensor(each, what, component, name)
        for each, what in zip(pair, ("samples", "labels"), strict=True)
    )
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
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise _refuse(
            component,
            f"{name}: the labels are {labels.dtype} {tuple(labels.shape)}; expected (N,) integers"
            f"{_advice_for_labels(labels)}",
        )
    if len(labels) != len(samples) or len(labels) == 0:
        raise _refuse(component, f"{name}: {len(samples)} samples and {len(labels)} labels")
    if samples.is_floating_point() and not _is_finite(samples):
        raise _refuse(component, f"{name}: the samples hold NaN or infinity")
    return Split(samples.contiguous(), labels.long().contiguous())


def _advice_for_labels(labels: Tensor) -> str:
    if labels.ndim == 2 and labels.shape[1] == 1:
        return ", such as labels.flatten()"
    if labels.ndim == 2 and bool((labels.sum(dim=1) == 1).all()):
        return ", such as labels.argmax(1) of one-hot rows"
    return ""


def _is_finite(samples: Tensor) -> bool:
    """Tell whether all numbers are finite, without a second copy of them."""
    # Of NaN, both are NaN.
    return all(bool(each.isfinite()) for each in samples.aminmax())


class _UnfitError(ValueError):
    """Samples or labels cannot become a tensor; the message goes on with what they are."""


def _as_tensor(values: object, what: str, component: Component, name: str) -> Tensor:
    try:
        return _converted(values)
    except _UnfitError as error:
        advice = ""
        if what == "labels" and "dtype" in str(error):
            advice = ", classes from 0, such as np.unique(labels, return_inverse=True)[1]"
        raise _refuse(component, f"{name}: the {what} are {error}{advice}") from error
    except (TypeError, ValueError, RuntimeError) as error:
        raise _refuse(component, f"{name}: the {what}: {describe_error(error)}") from error


def _converted(values: object) -> Tensor:
    if isinstance(values, Tensor):
        if values.is_nested or values.layout != torch.strided:
            raise _UnfitError("a sparse or nested tensor; expected a dense one")
        if type(values).__name__ == "MaskedTensor":
            raise _UnfitError("a masked tensor; expected one without a mask")
        return values.detach().cpu()
    if _is_masked(values):
        raise _UnfitError(
            "a masked array, of which some values are masked; expected one without a mask, such "
            "as array.filled(0)"
        )
    array = np.asarray(values)
    if array.dtype.kind not in "biufc":
        raise _UnfitError(f"of NumPy's dtype {array.dtype}; expected numbers")
    native = array.astype(array.dtype.newbyteorder("="), copy=not _may_share(array))
    return torch.from_numpy(native)


def _is_masked(values: object) -> bool:
    if isinstance(values, list | tuple):
        return any(_is_masked(each) for each in values)
    return isinstance(values, np.ma.MaskedArray) and bool(np.ma.is_masked(values))


def _may_share(array: "np.ndarray[Any, Any]") -> bool:
    """Tell whether a tensor can be the array itself: in memory, writable, and not backwards."""
    size = array.itemsize
    is_plain = all(step >= 0 and step % size == 0 for step in array.strides)
    return array.flags.writeable and is_plain and not _is_of_file(array)


def _is_of_file(array: object) -> bool:
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def _check_samples(dataset: Dataset, component: Component) -> None:
    """Make sure that the samples of all splits are alike, and what they look like."""
    dtype = dataset.splits["train"].images.dtype
    for name, split in dataset.splits.items():
        shape = tuple(split.images.shape[1:])
        if (shape, split.images.dtype) != (dataset.sample_shape, dtype):
            raise _refuse(
                component,
                f"{name}: the samples are {split.images.dtype} {shape}, those of train "
                f"{dtype} {dataset.sample_shape}",
            )
    if _has_channels_last(dataset.sample_shape):
        problem = (
            f"the samples are {dtype} {dataset.sample_shape}, as images with the channels last; "
            "a convolution takes them first: samples.permute(0, 3, 1, 2), or in NumPy "
            "array.transpose(0, 3, 1, 2)"
        )
        if dtype == torch.uint8:
            raise _refuse(component, problem)
        logger.warning("%s", component.error(problem))


def _has_channels_last(shape: tuple[int, ...]) -> bool:
    """Tell whether samples look like (height, width, channels)."""
    channels = (1, 3, 4)
    if len(shape) != 3 or shape[2] not in channels or shape[0] in channels:
        return False
    # A map of many channels and few pixels, such as (64, 4, 4), is as it should be.
    return shape[1] != shape[2]


def _check_labels(dataset: Dataset, component: Component) -> None:
    """Make sure that the labels are classes, and that there is something to learn them from."""
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
    _check_classes(dataset, component)


def _check_classes(dataset: Dataset, component: Component) -> None:
    """Refuse if most classes have no sample to train on; warn if some have none."""
    classes = dataset.classes
    untrained = dataset.splits["train"].labels.bincount(minlength=classes) == 0
    missing = int(untrained.sum())
    if not missing:
        return
    names = dataset.class_names or tuple(str(label) for label in range(classes))
    told = (
        f"train: has no sample of {missing} of the {classes} classes: "
        f"{_listed([names[label] for label in untrained.nonzero().flatten().tolist()])}"
    )
    advice = (
        ""
        if dataset.class_names
        else "; labels count the classes from 0, without gaps, such as np.unique(labels, "
        "return_inverse=True)[1]"
    )
    if 2 * missing > classes:
        raise _refuse(component, told + advice)
    logger.warning("%s", component.error(told + advice))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more


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
