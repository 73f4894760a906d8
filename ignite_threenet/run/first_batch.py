"""Trying out a batch of each split before anything is trained."""

from collections.abc import Iterable, Sized
from typing import Any

from ..errors import DataError, ThreeNetError, describe_error
from ..training.engines import Batch, create_evaluator, describe
from ..training.kept_state import keep_state
from ..training.randomness import keep_random_state
from .assembly import Parts


def try_loaders(parts: Parts) -> None:
    """Measure the first batch of each split that the training does not go through.

    What does not fit shows now, and not after the training. Nothing of the run changes; a loader
    that was given begins one pass more.

    Raises:
        DataError: a split has no batch, or its first batch cannot be measured.
    """
    for split in parts.data.split_names:
        loader = parts.data.evaluation_loader(split)
        if isinstance(loader, Sized) and len(loader) == 0:
            raise _without_batch(split)
        if split != "train":
            with keep_random_state(loader):
                measure_once(parts, split, _first_of(loader, split))


def measure_once(parts: Parts, split: str, batch: Batch) -> None:
    """Measure a batch, and forget the result.

    Raises:
        DataError: it cannot be measured.
    """
    name = f"evaluators[{split}]"
    try:
        with keep_random_state(None), keep_state(parts.model, parts.loss_fn):
            # An evaluator of its own: nobody listens to it.
            create_evaluator(parts.model, parts.make_metrics(), parts.device, name=name).run(
                [batch]
            )
    except ThreeNetError:
        raise
    except Exception as error:
        raise DataError(
            f"loaders: the first batch of {split!r}, {describe(batch)}, cannot be measured: "
            f"{describe_error(error)}; what is measured, Run(metrics=...) says"
        ) from error


def _first_of(loader: Iterable[Any], split: str) -> Any:
    try:
        return next(iter(loader))
    except StopIteration:
        raise _without_batch(split) from None


def _without_batch(split: str) -> DataError:
    return DataError(f"loaders: {split!r} gives no batch")
