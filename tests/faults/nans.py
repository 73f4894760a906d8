"""Numbers that are no longer finite: none may reach the disk."""

from collections.abc import Callable, Iterator
from itertools import permutations, product
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.best import Best
from ignite_threenet_plugins.checkpoint import Checkpoint

from ignite_threenet import Plugin, ThreeNetError
from ignite_threenet.storage import checkpoint_file as checkpoint

from .probes import PlantNan
from .runs import EPOCHS, LENGTH, make_loaders, make_run, not_finite
from .tally import Tally, spread

_MAKE: dict[str, Callable[[], Plugin]] = {
    "checkpoint": lambda: Checkpoint(seconds=0.0),
    "best": Best,
    "plant": PlantNan,
}
_KINDS = ("a weight after the iteration", "a weight after the epoch", "the batch")


class _Loader:
    """Give NaN in one batch of all epochs' batches."""

    def __init__(self, batches: Any, iteration: int) -> None:
        self._batches, self._left = batches, iteration

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        for inputs, labels in self._batches:
            self._left -= 1
            yield (torch.full_like(inputs, torch.nan) if self._left == 0 else inputs), labels


def not_a_number(directory: Path, count: int) -> Tally:
    """Let a number become NaN at each iteration, with the plugins in each order."""
    iterations = range(1, EPOCHS * LENGTH + 1)
    cases = list(product(_KINDS, permutations(_MAKE), iterations))
    tally = Tally("NaN at iteration k, plugins in each order", "no non-finite weight on disk")
    files = 0
    for number in spread(count, len(cases)):
        kind, order, iteration = cases[number - 1]
        out = directory / f"run-{number}"
        problems = _train(out, kind, order, iteration)
        for path in sorted([*out.glob("*.pt"), *out.glob("*.safetensors")]):
            files += 1
            problems += not_finite(_read(path), path.name)
        tally.add(f"{kind}, iteration {iteration}, order {','.join(order)}", problems)
    tally.notes.append(f"{files} files read")
    return tally


def _train(out: Path, kind: str, order: tuple[str, ...], iteration: int) -> list[str]:
    loaders = make_loaders()
    # With accuracy, which best requires, at the place where it is required.
    plugins = [Accuracy(every=1), *(_MAKE[name]() for name in order)]
    planter = next(each for each in plugins if isinstance(each, PlantNan))
    # Later than all iterations where the batch brings it.
    vars(planter).update(iteration=iteration)
    if kind == "the batch":
        vars(planter).update(iteration=10**6)
        loaders["train"] = _Loader(loaders["train"], iteration)
    elif kind == "a weight after the epoch":
        vars(planter).update(event=Events.EPOCH_COMPLETED)
    try:
        summary = make_run(out, plugins, loaders=loaders).train()
    except ThreeNetError:
        return []
    # After the last iteration, best may put back what was finite.
    found = not_finite({name: torch.tensor(value) for name, value in summary["test"].items()})
    return [f"the run ended well: test{each}" for each in found]


def _read(path: Path) -> Any:
    is_checkpoint = path.name.startswith("checkpoint-")
    return checkpoint.read(path) if is_checkpoint else checkpoint.load_weights(path)
