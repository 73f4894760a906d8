"""What the tests of several modules share."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Clock
from ignite.engine import Engine, Events
from ignite.engine.events import CallableEventWithFilter
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from ignite_threenet import Plugin, Run, RunConfig, RunInterruptedError, option
from ignite_threenet.extensions.entries import FileEntry
from ignite_threenet.extensions.plugin import ENTRY_POINT_GROUP
from ignite_threenet.storage import checkpoint_file as checkpoint
from ignite_threenet.testing import tiny_loaders
from ignite_threenet.training.engines import Batch

Curves = dict[str, list[tuple[int, float]]]

_PLUGINS = distribution("ignite-threenet").entry_points.select(group=ENTRY_POINT_GROUP)
BUILT_IN = sorted({each.name for each in _PLUGINS} - {"mlflow", "tensorboard"})
"""The names of the built-in plugins, but for those that come with an extra."""

NET = '''
import math
from torch import nn
from ignite_threenet import Model, option

class Net(Model):
    """A network with one hidden layer."""

    width: int = option(4, help="width of the hidden layer", min=1)
    dropout: float = option(0.2, help="share of the hidden layer left out", min=0, below=1)

    def build(self):
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(math.prod(self.input_shape), self.width),
            nn.BatchNorm1d(self.width),
            nn.ReLU(),
            nn.Dropout(self.dropout),
            nn.Linear(self.width, self.classes),
        )

    def forward(self, inputs):
        return self.layers(inputs)
'''
"""The source of a network of your own."""

POINTS = '''
import torch
from ignite_threenet import DataSource, option

def make(count=60, spread=0.3):
    labels = torch.arange(count) % 3
    samples = spread * torch.randn(count, 5, generator=torch.Generator().manual_seed(1))
    samples[torch.arange(count), labels] += 3
    return samples, labels

def load():
    """Points around three centres."""
    samples, labels = make()
    return {"train": (samples[:40], labels[:40]), "test": (samples[40:], labels[40:])}

class Points(DataSource):
    """Points, as many as one likes."""

    count: int = option(48, help="points to train on", min=3)

    def load(self, data_dir):
        return {"train": make(self.count, 0.3), "test": make(9, 0.3)}
'''
"""The source of a dataset of your own: three clusters of points, the labels say which."""


class Counter(Plugin):
    """Count the epochs, and remember the count."""

    def attach(self, run: Run) -> None:
        self.count = 0
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.look, run)

    def look(self, run: Run) -> None:
        self.count += 1

    def state_dict(self) -> Mapping[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


class Forgetful(Counter):
    """Count the epochs, and forget the count."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


class Ramp(Forgetful):
    """Move a weight by the count, which it forgets."""

    @torch.no_grad()
    def look(self, run: Run) -> None:
        super().look(run)
        next(run.model.parameters()).add_(0.01 * self.count)


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


def last_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read the newest checkpoint of a run's directory."""
    return checkpoint.read(max(Path(path).glob("checkpoint-*.safetensors")))


def assert_same_weights(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    """Compare two networks by their state_dict(), to the last bit."""
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


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


def run_code(code: str, *options: str) -> str:
    """Run Python code in a process of its own, and give what it prints."""
    command = [sys.executable, *options, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def write_module(source: str, path: str = "own.py") -> FileEntry:
    """Write a file that somebody brings, in the test's own directory."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(source)
    return FileEntry(Path(path))


def make_images(folder: str, count: int = 10, darkest: int = 10) -> Path:
    """Make a folder of as many bright as dark images."""
    for name, first in (("day", 200), ("night", darkest)):
        Path(folder, name).mkdir(parents=True)
        for index in range(count):
            Image.new("L", (6, 4), first + index).save(Path(folder, name, f"{index}.png"))
    return Path(folder)


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
