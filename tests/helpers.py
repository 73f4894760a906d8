"""What the tests of several plugins share."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import Clock
from ignite.engine import Engine, Events
from ignite.engine.events import CallableEventWithFilter
from matplotlib.figure import Figure
from torch import Tensor, nn

from ignite_threenet import Plugin, Run, RunConfig, RunInterruptedError, option
from ignite_threenet.testing import tiny_loaders
from ignite_threenet.training.engines import Batch

Curves = dict[str, list[tuple[int, float]]]


class Rates(Plugin):
    """Notes the rate that each epoch's last step is taken with."""

    def attach(self, run: Run) -> None:
        self.last: dict[int, float] = {}
        run.trainer.add_event_handler(Events.STARTED, self._start, run)

    def _start(self, trainer: Engine, run: Run) -> None:
        trainer.add_event_handler(Events.ITERATION_STARTED, self._note, run)

    def _note(self, trainer: Engine, run: Run) -> None:
        self.last[trainer.state.epoch] = run.optimizer.param_groups[0]["lr"]


class MeasureOften(Plugin):
    """Measures in the midst of each epoch, and at its end."""

    def attach(self, run: Run) -> None:
        event = Events.ITERATION_COMPLETED(every=3) | Events.EPOCH_COMPLETED
        run.trainer.add_event_handler(event, lambda: run.evaluate("test"))


class Scores(Plugin):
    """Lets each measurement of a split come out as a test wants it, also where a run goes on."""

    split: str = option("train", help="split")

    def __post_init__(self) -> None:
        # No option, which would refuse a score that is not a number.
        self.scores: Sequence[float] = ()

    def attach(self, run: Run) -> None:
        run.evaluators[self.split].add_event_handler(Events.COMPLETED, self._replace, run)

    def _replace(self, evaluator: Engine, run: Run) -> None:
        measured = [each for each in run.history.measurements if each.split == self.split]
        evaluator.state.metrics["accuracy"] = self.scores[len(measured) - 1]


def make_scores(*scores: float, split: str = "train") -> Scores:
    plugin = Scores(split=split)
    plugin.scores = scores
    return plugin


class Fails(Plugin):
    """Fails at the end of an epoch."""

    epoch: int = option(1, help="epoch")

    def attach(self, run: Run) -> None:
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=self.epoch), self._fail)

    def _fail(self) -> None:
        raise OSError("unplugged")


class SlowLoader:
    """Takes its time for each batch, by the clock that a test has in hand."""

    def __init__(self, batches: Sequence[Batch], clock: Clock, seconds: float) -> None:
        self._batches = batches
        self._clock = clock
        self._seconds = seconds

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            self._clock.take(self._seconds)
            yield batch


def make_run(
    *plugins: str | Plugin, model: nn.Module | None = None, loaders: Any = None, **options: Any
) -> Run:
    """Make a run of three epochs of four iterations, in the test's own directory."""
    defaults: dict[str, Any] = {"epochs": 3, "lr": 0.1, "out": Path("run")}
    config = RunConfig(**(defaults | options))
    loaders = tiny_loaders() if loaders is None else loaders
    return Run(config, plugins, model=model, loaders=loaders)


def train_until(run: Run, event: CallableEventWithFilter) -> Run:
    """Train, and interrupt the run at an event."""
    run.trainer.add_event_handler(event, lambda: run.interrupt())
    with pytest.raises(RunInterruptedError):
        run.train()
    return run


def recorded_curves(run: Run) -> Curves:
    """Say what the history holds, as curves by name; but for the rates, which it does not."""
    found: Curves = {"train/loss": [(each.epoch, each.loss) for each in run.history.epochs]}
    for each in run.history.measurements:
        kind = "final" if each.final else "measured"
        for name, value in each.metrics.items():
            found.setdefault(f"{kind}/{each.split}/{name}", []).append((each.epoch, value))
    return found


def collect_figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Let pictures be collected instead of rendered."""
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **kwargs: drawn.append(figure))
    return drawn


def keep_mlflow_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MLflow keep its runs in plain files in the test's directory, which is made in no time.

    MLflow 3 wants its users to say that they know this to be no longer developed.
    """
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", Path("mlruns").absolute().as_uri())
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


def flatten(value: Any, where: str) -> Iterator[tuple[str, object]]:
    """Give all that is in there to the last bit, but for times, each by its place."""
    if isinstance(value, Mapping):
        for key in value:
            if key != "seconds":
                yield from flatten(value[key], f"{where}/{key}")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from flatten(each, f"{where}/{index}")
    elif isinstance(value, Tensor):
        yield where, (value.dtype, value.shape, value.numpy().tobytes())
    else:
        yield where, repr(value)
