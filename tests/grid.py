"""The choices that runs are made of, and whether one that was stopped ends as one that never was.

No test by itself: tests/run/test_resume_grid.py tries a part of the grid, a script may try all.
"""

import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from ignite.engine import Engine, Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.augment import Augment
from ignite_threenet_plugins.checkpoint import Checkpoint
from ignite_threenet_plugins.early_stop import EarlyStop
from ignite_threenet_plugins.ema import Ema
from ignite_threenet_plugins.schedule import Schedule
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer, SparseAdam
from torch.utils.data import DataLoader, TensorDataset

from ignite_threenet import Plugin, Run, RunConfig, RunInterruptedError, ThreeNet
from ignite_threenet.training.engines import Batch
from ignite_threenet.training.loss import LossFunction
from ignite_threenet.training.optimizer import MakeOptimizer
from ignite_threenet.training.randomness import get_random_state

EPOCHS = 3
EPOCH_LENGTH = 3
SHAPE = (1, 8, 8)

Moment = tuple[Events, int]
"""An event, and the trainer's iteration at it."""

IN_MID_EPOCH: Moment = (Events.ITERATION_COMPLETED, EPOCH_LENGTH + 2)
AT_AN_EPOCHS_END: Moment = (Events.EPOCH_COMPLETED, EPOCH_LENGTH)


# Networks


class Tied(nn.Module):
    """A network with one parameter in two modules, and one that is stored by columns."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 12)
        self.second = nn.Linear(12, 12)
        self.third = nn.Linear(12, 12)
        self.third.weight = self.second.weight
        self.last = nn.Parameter(torch.randn(12, 10).mul(0.3).t())

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits."""
        hidden = self.first(images.flatten(start_dim=1)).relu()
        hidden = self.third(self.second(hidden).relu()).relu()
        logits: Tensor = hidden @ self.last.t()
        return logits


def make_threenet() -> nn.Module:
    """Make a ThreeNet, whose first weight is stored by columns."""
    torch.manual_seed(1)
    return ThreeNet(input_shape=SHAPE, hidden=(12, 6))


def make_conv_net() -> nn.Module:
    """Make a convolutional network with batch normalization and dropout."""
    torch.manual_seed(1)
    features = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(features, nn.Flatten(), nn.Dropout(0.2), nn.Linear(36, 10))


def make_tied() -> nn.Module:
    """Make a network with tied weights."""
    torch.manual_seed(1)
    return Tied()


def make_channels_last() -> nn.Module:
    """Make a convolutional network whose weights are stored channels last."""
    torch.manual_seed(1)
    first, second = nn.Conv2d(1, 4, 3, stride=2), nn.Conv2d(4, 6, 2)
    layers = (first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(24, 10))
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "threenet": make_threenet,
    "conv-batch-norm": make_conv_net,
    "tied": make_tied,
    "channels-last": make_channels_last,
}


# Optimizers

EXCLUDED: Mapping[type[Optimizer], str] = {
    LBFGS: "it needs a closure",
    SparseAdam: "it needs sparse gradients",
}
"""Optimizers of torch that no run can have, and why."""

_ADAMS: Sequence[Mapping[str, Any]] = (
    {},
    {"fused": True},
    {"foreach": True},
    {"amsgrad": True},
    {"fused": True, "amsgrad": True},
    {"foreach": True, "amsgrad": True, "weight_decay": 0.01},
)
VARIANTS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "SGD": (
        {},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "fused": True},
        {"momentum": 0.9, "foreach": True},
    ),
    "Adam": (*_ADAMS, {"lr": torch.tensor(1e-2)}),
    "AdamW": _ADAMS,
    "Adagrad": ({}, {"fused": True}, {"foreach": True}),
    "Adadelta": ({"lr": 1.0}, {"lr": 1.0, "foreach": True}),
    "Adamax": ({}, {"foreach": True}),
    "ASGD": ({"t0": 2}, {"t0": 2, "foreach": True}),
    "NAdam": ({}, {"foreach": True, "decoupled_weight_decay": True, "weight_decay": 0.01}),
    "RAdam": ({}, {"foreach": True}),
    "RMSprop": ({"centered": True, "momentum": 0.9}, {"foreach": True}),
    "Rprop": ({}, {"foreach": True}),
    "Adafactor": ({}, {"foreach": True}),
    "Muon": ({}, {"nesterov": False}),
}
"""Options of the optimizers that the grid knows, by their names in torch.optim."""


def exported_optimizers() -> set[type[Optimizer]]:
    """Give the kinds of optimizers that torch.optim exports."""
    kinds = (each for each in vars(torch.optim).values() if isinstance(each, type))
    return {kind for kind in kinds if issubclass(kind, Optimizer) and kind is not Optimizer}


def make_optimizers() -> dict[str, MakeOptimizer]:
    """Give what makes each optimizer of torch, in each of its variants, by a name to read."""
    return {
        " ".join([kind.__name__, *map(_format, options.items())]): _maker(kind, options)
        for kind in sorted(exported_optimizers() - EXCLUDED.keys(), key=lambda each: each.__name__)
        for options in VARIANTS.get(kind.__name__, ({},))
    }


def _format(option: tuple[str, Any]) -> str:
    name, value = option
    if isinstance(value, Tensor):
        return f"{name} in a tensor"
    return name if value is True else f"{name}={value}"


def _maker(kind: Any, options: Mapping[str, Any]) -> MakeOptimizer:
    def make(model: nn.Module) -> Optimizer:
        chosen = [each for each in model.parameters() if kind.__name__ != "Muon" or each.ndim == 2]
        copied = {name: _copy(value) for name, value in options.items()}
        optimizer: Optimizer = kind(chosen, **{"lr": 0.01, **copied})
        return optimizer

    return make


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


# Runs


def make_batches(count: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[Batch]:
    """Make batches of random images, each class with one bright pixel."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(count):
        labels = torch.randint(10, (6,), generator=generator)
        images = torch.rand(6, *SHAPE, generator=generator)
        images.flatten(start_dim=1)[torch.arange(6), labels] = 3.0
        batches.append((images.to(dtype), labels))
    return batches


@dataclass(frozen=True)
class Trial:
    """What a run is made of: anew for each run, as in another process."""

    make_model: Callable[[], nn.Module] = make_threenet
    make_optimizer: MakeOptimizer | None = None
    make_plugins: Callable[[], list[Plugin]] = field(default=lambda: [Checkpoint(seconds=0)])
    make_loss: Callable[[], LossFunction | None] = field(default=lambda: None)
    options: Mapping[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    shuffled: bool = False

    def start(self, out: Path | str, **options: Any) -> Run:
        """Make a run."""
        defaults = {"epochs": EPOCHS, "lr": 0.01, "out": Path(out)}
        return Run(RunConfig(**{**defaults, **self.options, **options}), **self._parts())

    def resume(self, path: Path, **arguments: Any) -> Run:
        """Make a run that goes on, with random generators as of another process."""
        torch.manual_seed(99)
        return Run.resume(path, **{**self._parts(), **arguments})

    def train_through(self, out: Path | str = "whole", **options: Any) -> Run:
        """Train without a stop."""
        run = self.start(out, **options)
        run.train()
        return run

    def train_in_parts(self, *moments: Moment, out: Path | str = "parts") -> Run:
        """Train with a stop at each moment, and to the end."""
        run = self.start(out)
        for moment in moments:
            run = self.resume(interrupt(run, moment))
        run.train()
        return run

    def train_until_terminated(
        self, moment: Moment, out: Path | str = "ended", *, skip_completed: bool = False
    ) -> Run:
        """Train until a handler calls terminate()."""
        run = self.start(out)
        terminate(run, moment, skip_completed=skip_completed)
        run.train()
        return run

    def _parts(self) -> dict[str, Any]:
        return {
            "plugins": self.make_plugins(),
            "model": self.make_model().to(self.dtype),
            "optimizer": self.make_optimizer,
            "loss_fn": self.make_loss(),
            "loaders": {
                "train": self._make_train_loader(),
                "test": make_batches(1, seed=1, dtype=self.dtype),
            },
        }

    def _make_train_loader(self) -> Any:
        batches = make_batches(EPOCH_LENGTH, dtype=self.dtype)
        if not self.shuffled:
            return batches
        samples = TensorDataset(*(torch.cat(each) for each in zip(*batches, strict=True)))
        return DataLoader(samples, batch_size=6, shuffle=True)


def interrupt(run: Run, moment: Moment) -> Path:
    """Train until a moment, and interrupt the run there; give the directory to go on from."""
    event, iteration = moment

    @run.trainer.on(event)
    def ask(trainer: Engine) -> None:
        if trainer.state.iteration == iteration:
            assert run.interrupt()

    resumable: object = None
    try:
        run.train()
    except RunInterruptedError as error:
        resumable = error.resumable
    if resumable != run.directory.path:
        raise AssertionError("the run was not interrupted, or not saved")
    return run.directory.path


def terminate(run: Run, moment: Moment, *, skip_completed: bool = False) -> None:
    """Let a handler call terminate() at a moment."""
    event, iteration = moment

    @run.trainer.on(event)
    def end(trainer: Engine) -> None:
        if trainer.state.iteration == iteration:
            trainer.terminate(skip_completed=skip_completed)


def copy_as_killed(path: Path, out: Path | str) -> Path:
    """Copy a run's directory as a process leaves it that is killed before it sums up."""
    shutil.copytree(path, out)
    Path(out, "summary.json").unlink()
    return Path(out)


def differences(one: Run, other: Run) -> list[str]:
    """Name the places where two runs have not left the same, to the last bit."""
    mine, theirs = outcome(one), outcome(other)
    return [place for place in {**mine, **theirs} if mine.get(place) != theirs.get(place)]


def outcome(run: Run) -> dict[str, object]:
    """Give all that a run leaves, to the last bit and without times, by its place."""
    lines = (run.directory.path / "metrics.jsonl").read_text().splitlines()
    parts = {
        "model": run.model.state_dict(),
        "buffers": dict(run.model.named_buffers()),
        "frozen": [not each.requires_grad for each in run.model.parameters()],
        "loss": run.loss_fn.state_dict() if isinstance(run.loss_fn, nn.Module) else None,
        "optimizer": run.optimizer.state_dict(),
        "history": run.history.state_dict(),
        "plugins": {name: plugin.state_dict() for name, plugin in run.plugins.items()},
        "metrics.jsonl": [json.loads(line) for line in lines],
        "summary.json": dict(run.directory.read_summary()),
        "counters": [run.trainer.state.epoch, run.recorder.iteration],
        "random": get_random_state(run.loaders["train"]),
    }
    return dict(_flatten(parts, ""))


def _flatten(value: Any, where: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key in value:
            if "seconds" not in str(key) and key != "directory":
                yield from _flatten(value[key], f"{where}/{key}")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _flatten(each, f"{where}/{index}")
    elif isinstance(value, Tensor):
        plain = value.detach().cpu()
        content = plain.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        yield where, (plain.dtype, plain.shape, order_in_memory(plain), content)
    else:
        yield where, repr(value)


def order_in_memory(tensor: Tensor) -> list[int]:
    """Give the strides of a tensor that tell something: a dimension of one number has none."""
    pairs = zip(tensor.stride(), tensor.shape, strict=True)
    return [stride for stride, size in pairs if size > 1]


# The grid


class Combination(NamedTuple):
    """One point of the grid: the key of a choice in each table."""

    optimizer: str
    network: str
    precision: str
    plugin: str
    stop: str


OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    "sgd": {"optimizer": "sgd", "momentum": 0.9},
    **{name: {"optimizer": name} for name in ("adam", "adamw", "muon")},
}
PRECISIONS: Mapping[str, Mapping[str, Any]] = {
    "float32": {},
    "bf16": {"precision": "bf16"},
    "compile": {"compile": True},
}


def _make_early_stop() -> list[Plugin]:
    # No accuracy exceeds another one by more than 1: the training ends with the second epoch.
    return [Accuracy(every=1, split="test"), EarlyStop(patience=1, min_delta=1.0)]


PLUGINS: Mapping[str, Callable[[], list[Plugin]]] = {
    "none": list,
    "ema": lambda: [Ema(decay=0.8)],
    "schedule": lambda: [Schedule()],
    "augment": lambda: [Augment()],
    "early-stop": _make_early_stop,
}
STOPS: Mapping[str, Moment] = {
    "in mid-epoch": IN_MID_EPOCH,
    "at an epoch's end": AT_AN_EPOCHS_END,
    "by terminate()": IN_MID_EPOCH,
}
UNCOMPILED = ("float32", "bf16")


def all_combinations(precisions: Sequence[str] = tuple(PRECISIONS)) -> Iterator[Combination]:
    """Give every point of the grid."""
    for each in product(OPTIMIZERS, NETWORKS, precisions, PLUGINS, STOPS):
        yield Combination(*each)


def pairwise(precisions: Sequence[str] = tuple(PRECISIONS), seed: int = 0) -> Iterator[Combination]:
    """Give few points of the grid that have each pair of choices in one of them, at least."""
    points = list(all_combinations(precisions))
    random.Random(seed).shuffle(points)
    missing = {pair for point in points for pair in pairs_of(point)}
    while missing:
        best = max(points, key=lambda point: len(missing & pairs_of(point)))
        missing -= pairs_of(best)
        yield best


def pairs_of(point: Combination) -> set[tuple[tuple[str, str], ...]]:
    """Give the pairs of choices that a point has, each choice with its table."""
    return set(combinations(point._asdict().items(), 2))


def trial_of(point: Combination, checkpoint: Mapping[str, Any]) -> Trial:
    """Say what a run at a point is made of.

    Args:
        point: the point.
        checkpoint: options of the plugin 'checkpoint'.
    """
    return Trial(
        make_model=NETWORKS[point.network],
        make_plugins=lambda: [*PLUGINS[point.plugin](), Checkpoint(**checkpoint)],
        options={**OPTIMIZERS[point.optimizer], **PRECISIONS[point.precision]},
    )


def check(point: Combination) -> list[str]:
    """Name what a run at a point, stopped and resumed, has left otherwise than one never stopped.

    The process needs no more than this module; files go to a directory that is removed.
    """
    with TemporaryDirectory() as name:
        directory = Path(name)
        if point.stop == "by terminate()":
            return _check_terminated(point, directory)
        trial = trial_of(point, {"seconds": 0})
        whole = trial.train_through(directory / "whole")
        parts = trial.train_in_parts(STOPS[point.stop], out=directory / "parts")
        return differences(parts, whole)


def _check_terminated(point: Combination, directory: Path) -> list[str]:
    trial = trial_of(point, {"every": 1000, "seconds": 1e9})
    ended = trial.train_until_terminated(STOPS[point.stop], directory / "ended")
    again = trial.resume(copy_as_killed(ended.directory.path, directory / "again"))
    again.train()
    found = [f"ended again: {place}" for place in differences(again, ended)]
    if point.plugin == "schedule":
        return found  # whose rates are others where more epochs are wanted
    more = trial.resume(copy_as_killed(ended.directory.path, directory / "more"), epochs=EPOCHS + 1)
    more.train()
    longer = replace(trial, options={**trial.options, "epochs": EPOCHS + 1})
    whole = longer.train_through(directory / "whole")
    return found + [f"went on: {place}" for place in differences(more, whole)]
