"""Tests of going on from a checkpoint: to the last bit, or not at all."""

import json
import logging
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Batches, MakeBatches
from helpers import flatten
from ignite.engine import Engine, Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.augment import Augment
from ignite_threenet_plugins.best import Best
from ignite_threenet_plugins.checkpoint import Checkpoint
from ignite_threenet_plugins.ema import Ema
from ignite_threenet_plugins.plot import Plot
from ignite_threenet_plugins.progress import Progress
from ignite_threenet_plugins.schedule import Schedule
from ignite_threenet_plugins.timing import Timing
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, TensorDataset

from ignite_threenet import (
    CheckpointError,
    ConfigError,
    DirectoryError,
    DivergedError,
    Plugin,
    PluginFailedError,
    Run,
    RunConfig,
    RunInterruptedError,
    option,
)
from ignite_threenet.storage import checkpoint_file as checkpoint

MakePlugins = Callable[[], list[Plugin]]

EPOCHS = 3
EPOCH_LENGTH = 4


pytestmark = pytest.mark.usefixtures("in_haste")


# An event, and the trainer's iteration at it.
Moment = tuple[Events, int]

MOMENTS: dict[str, Moment] = {
    "after the first iteration": (Events.ITERATION_COMPLETED, 1),
    "in mid-epoch": (Events.ITERATION_COMPLETED, 6),
    "as an iteration starts": (Events.ITERATION_STARTED, 6),
    "as a batch is fetched": (Events.GET_BATCH_STARTED, 5),
    "at an epoch's last iteration": (Events.ITERATION_COMPLETED, 8),
    "at an epoch's end": (Events.EPOCH_COMPLETED, 4),
    "as an epoch starts": (Events.EPOCH_STARTED, 4),
    "in the last epoch": (Events.ITERATION_COMPLETED, 11),
    "at the last iteration of all": (Events.ITERATION_COMPLETED, 12),
    "at the last epoch's end": (Events.EPOCH_COMPLETED, 12),
}


class Noise(Plugin):
    """Disturb a weight by what all random generators draw, and remember the sum."""

    share: float = option(0.01, help="share of the noise", above=0)

    def attach(self, run: Run) -> None:
        self.sum = torch.zeros(1)
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED, self.disturb, run)

    @torch.no_grad()
    def disturb(self, run: Run) -> None:
        drawn = random.random() + np.random.random() + torch.rand(1)
        self.sum += drawn
        next(run.model.parameters()).add_(self.share * drawn)

    def state_dict(self) -> Mapping[str, Any]:
        return {"sum": self.sum}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.sum = state["sum"]


class Shuffled:
    """A loader without a length, which draws its order anew for each pass."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(len(self._batches)).tolist():
            yield self._batches[index]


class Grainy(Dataset[tuple[Tensor, Tensor]]):
    """Samples with noise that is drawn as they are fetched."""

    def __init__(self, *samples: Tensor) -> None:
        self._images, self._labels = samples

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._images[index] + 0.1 * torch.rand(784), self._labels[index]


def make_net() -> nn.Module:
    torch.manual_seed(1)
    hidden = nn.Sequential(nn.Linear(784, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2))
    return nn.Sequential(*hidden, nn.Linear(12, 10), nn.LogSoftmax(dim=1))


@dataclass(frozen=True)
class Task:
    """What a run is made of: anew for each run, as in another process."""

    make_train_loader: Callable[[], Any]
    test: Batches
    make_plugins: MakePlugins = field(default=lambda: [Checkpoint(seconds=0)])
    options: Mapping[str, Any] = field(default_factory=dict)
    make_model: Callable[[], nn.Module] = make_net

    def parts(self) -> dict[str, Any]:
        return {
            "plugins": self.make_plugins(),
            "model": self.make_model(),
            "loaders": {"train": self.make_train_loader(), "test": self.test},
        }

    def start(self, out: str) -> Run:
        options = {"epochs": EPOCHS, "lr": 0.05, "momentum": 0.9, "out": Path(out)}
        return Run(RunConfig(**{**options, **self.options}), **self.parts())

    def resume(self, path: Path | str, **arguments: Any) -> Run:
        # Another process has other random generators.
        torch.manual_seed(99)
        return Run.resume(path, **{**self.parts(), **arguments})

    def train_through(self, **options: Any) -> Run:
        run = replace(self, options={**self.options, **options}).start("whole")
        run.train()
        return run

    def train_until(self, moment: Moment, out: str = "parts") -> Path:
        return interrupt(self.start(out), moment)

    def train_in_parts(self, *moments: Moment) -> Run:
        path = self.train_until(moments[0])
        for moment in moments[1:]:
            interrupt(self.resume(path), moment)
        run = self.resume(path)
        run.train()
        return run


@pytest.fixture
def task(make_batches: MakeBatches) -> Task:
    train = make_batches(EPOCH_LENGTH, batch_size=8)
    return Task(lambda: list(train), make_batches(1, seed=1))


def interrupt(run: Run, moment: Moment) -> Path:
    event, iteration = moment

    @run.trainer.on(event)
    def ask(trainer: Engine) -> None:
        if trainer.state.iteration == iteration:
            assert run.interrupt()

    with pytest.raises(RunInterruptedError) as caught:
        run.train()
    assert caught.value.resumable == run.directory.path
    return run.directory.path


def outcome(run: Run) -> dict[str, object]:
    """Give all that a run leaves, to the last bit and without times, by its place."""
    lines = (run.directory.path / "metrics.jsonl").read_text().splitlines()
    parts = {
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "history": run.history.state_dict(),
        "plugins": {name: plugin.state_dict() for name, plugin in run.plugins.items()},
        "metrics.jsonl": [json.loads(line) for line in lines],
        "counters": [run.trainer.state.epoch, run.trainer.state.iteration],
    }
    return dict(flatten(parts, ""))


def differences(one: Run, other: Run) -> list[str]:
    mine, theirs = outcome(one), outcome(other)
    return [place for place in {**mine, **theirs} if mine.get(place) != theirs.get(place)]


def all_that_remember() -> list[Plugin]:
    return [
        Accuracy(every=2, split="test"),
        Best(),
        Schedule(),
        Ema(decay=0.8),
        Augment(),
        Noise(),
        Checkpoint(seconds=0),
    ]


# To the last bit


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_a_run_interrupted_anywhere_ends_as_one_never_stopped(task: Task, moment: Moment) -> None:
    task = replace(task, make_plugins=all_that_remember)

    assert differences(task.train_in_parts(moment), task.train_through()) == []


@pytest.mark.parametrize(
    "make_plugins",
    [
        lambda: [Accuracy(every=1)],
        lambda: [Accuracy(every=2), Best()],
        lambda: [Accuracy(every=1, split="test"), Ema(decay=0.5), Best()],
        lambda: [Ema(decay=0.9)],
        lambda: [Augment(elastic=0.5)],
        lambda: [Noise()],
        *(lambda kind=kind: [Schedule(kind=kind)] for kind in ("one-cycle", "cosine", "linear")),
        *(lambda kind=kind: [Schedule(kind=kind)] for kind in ("step", "constant")),
    ],
)
@pytest.mark.parametrize("iteration", [6, 8])
def test_plugins_go_on_wherever_they_stand_beside_the_checkpoint(
    task: Task, make_plugins: MakePlugins, iteration: int
) -> None:
    first = replace(task, make_plugins=lambda: [Checkpoint(seconds=0), *make_plugins()])
    last = replace(task, make_plugins=lambda: [*make_plugins(), Checkpoint(seconds=0)])
    moment = (Events.ITERATION_COMPLETED, iteration)

    assert differences(first.train_in_parts(moment), last.train_through()) == []


def test_an_average_goes_on_between_two_updates(task: Task) -> None:
    def make_plugins() -> list[Plugin]:
        return [Accuracy(every=1), Ema(decay=0.5, every=3), Checkpoint(seconds=0)]

    task = replace(task, make_plugins=make_plugins)

    run = task.train_in_parts((Events.ITERATION_COMPLETED, 7))

    # The statistics of a batch norm are part of the average.
    assert differences(run, task.train_through()) == []


def test_plugins_that_only_show_something_go_on_too(
    task: Task, capsys: pytest.CaptureFixture[str]
) -> None:
    def make_plugins() -> list[Plugin]:
        return [Accuracy(every=1), Timing(), Plot(), Progress(), Checkpoint(seconds=0)]

    task = replace(task, make_plugins=make_plugins)
    run = task.train_in_parts(MOMENTS["in mid-epoch"])
    summary = json.loads((run.directory.path / "summary.json").read_text())

    assert differences(run, task.train_through()) == []
    assert (summary["status"], summary["detached"]) == ("completed", {})
    assert (run.directory.path / "loss.png").exists()
    assert "epoch 3/3" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.0},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        *({"optimizer": name, "momentum": 0.0, "lr": 0.01} for name in ("adam", "adamw", "muon")),
        {"precision": "bf16"},
        {"label_smoothing": 0.1, "seed": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("iteration", [6, 8])
def test_every_optimizer_and_precision_goes_on(
    task: Task, options: Mapping[str, Any], iteration: int
) -> None:
    def make_plugins() -> list[Plugin]:
        return [Schedule(), Checkpoint(seconds=0)]

    task = replace(task, options=options, make_plugins=make_plugins)
    moment = (Events.ITERATION_COMPLETED, iteration)

    assert differences(task.train_in_parts(moment), task.train_through()) == []


def samples(count: int, kind: Callable[..., Dataset[Any]] = TensorDataset) -> Dataset[Any]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 784, generator=generator)
    return kind(images, torch.arange(count) % 10)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def loader_of_drawn_batches() -> DataLoader[Any]:
    sampler = RandomSampler(range(32), generator=seeded())
    return DataLoader(samples(32), batch_sampler=BatchSampler(sampler, 8, drop_last=False))


LOADERS: dict[str, Callable[[], Any]] = {
    "in order": lambda: DataLoader(samples(32), batch_size=8),
    "shuffled": lambda: DataLoader(samples(32), batch_size=8, shuffle=True),
    "shuffled, a last batch smaller": lambda: DataLoader(samples(29), batch_size=8, shuffle=True),
    "shuffled by a generator": lambda: DataLoader(
        samples(32), batch_size=8, shuffle=True, generator=seeded()
    ),
    "shuffled by a generator, a last batch smaller": lambda: DataLoader(
        samples(29), batch_size=8, shuffle=True, generator=seeded()
    ),
    "shuffled by a generator, the rest dropped": lambda: DataLoader(
        samples(33), batch_size=8, shuffle=True, drop_last=True, generator=seeded()
    ),
    "batches drawn by a generator": loader_of_drawn_batches,
    "noise drawn with the samples": lambda: DataLoader(
        samples(32, Grainy), batch_size=8, shuffle=True
    ),
    "no length": lambda: Shuffled([(torch.rand(4, 784), torch.arange(4)) for _ in range(4)]),
}


@pytest.fixture(params=list(LOADERS.values()), ids=list(LOADERS))
def task_of_loader(request: pytest.FixtureRequest, task: Task) -> Task:
    def make_train_loader() -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            return request.param()

    def make_plugins() -> list[Plugin]:
        return [Accuracy(every=1), Checkpoint(seconds=0)]

    return replace(task, make_train_loader=make_train_loader, make_plugins=make_plugins)


@pytest.mark.parametrize("iteration", [2, 6, 8])
def test_a_loader_of_ones_own_goes_on(task_of_loader: Task, iteration: int) -> None:
    moment = (Events.ITERATION_COMPLETED, iteration)

    run, whole = task_of_loader.train_in_parts(moment), task_of_loader.train_through()

    assert differences(run, whole) == []


@pytest.mark.parametrize("moment", ["in mid-epoch", "at an epoch's end", "at the last epoch's end"])
@pytest.mark.usefixtures("small_digits")
def test_a_named_dataset_goes_on(moment: str) -> None:
    def start(out: str) -> Run:
        config = RunConfig(dataset="digits", epochs=3, batch_size=128, lr=0.1, out=Path(out))
        return Run(config, [Accuracy(every=2), Checkpoint(seconds=0)])

    whole = start("whole")
    whole.train()
    run = Run.resume(interrupt(start("parts"), MOMENTS[moment]))
    run.train()

    assert differences(run, whole) == []


def test_an_epoch_left_early_does_not_shift_the_others(task: Task) -> None:
    class Impatient(Plugin):
        """Leave the first epoch early."""

        def attach(self, run: Run) -> None:
            run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), self.leave)

        def leave(self, trainer: Engine) -> None:
            trainer.terminate_epoch()

    loader = LOADERS["shuffled"]
    task = replace(
        task,
        make_train_loader=loader,
        make_plugins=lambda: [Impatient(), Checkpoint(seconds=0)],
    )
    whole = task.train_through()

    for iteration in (2, 4, 6):
        moment = (Events.ITERATION_COMPLETED, iteration)
        shutil.rmtree("parts", ignore_errors=True)
        assert differences(task.train_in_parts(moment), whole) == []


@pytest.mark.parametrize("iterations", [(2, 3), (2, 6), (6, 8), (8, 12)], ids=str)
def test_a_run_interrupted_twice_goes_on_twice(task: Task, iterations: Sequence[int]) -> None:
    task = replace(
        task, make_plugins=all_that_remember, make_train_loader=LOADERS["shuffled by a generator"]
    )
    moments = [(Events.ITERATION_COMPLETED, iteration) for iteration in iterations]

    assert differences(task.train_in_parts(*moments), task.train_through()) == []


@pytest.mark.parametrize("killed_in", [1, 2, 3])
def test_a_run_killed_at_once_goes_on_from_its_last_checkpoint(task: Task, killed_in: int) -> None:
    task = replace(task, make_plugins=all_that_remember)
    whole = task.start("whole")

    @whole.trainer.on(Events.STARTED)
    def listen_after_the_checkpoint(trainer: Engine) -> None:
        @trainer.on(Events.EPOCH_COMPLETED(once=killed_in))
        def leave_as_it_is() -> None:
            shutil.copytree("whole", "killed")

    whole.train()
    run = task.resume("killed")
    run.train()

    assert differences(run, whole) == []


def test_what_was_written_after_the_checkpoint_is_taken_back(task: Task) -> None:
    path = task.train_until(MOMENTS["in mid-epoch"])
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"record": "epoch", "epoch": 2}\n{"rec')

    run = task.resume(path)
    run.train()

    assert differences(run, task.train_through()) == []


# Longer, or not at all


def test_a_completed_run_goes_on_for_more_epochs(task: Task) -> None:
    def make_plugins() -> list[Plugin]:
        return [Accuracy(every=2), Best(), Ema(decay=0.5), Noise(), Checkpoint(seconds=0)]

    task = replace(task, make_plugins=make_plugins)
    path = task.train_through(epochs=2).directory.path
    shutil.move(path, "short")

    run = task.resume("short", epochs=5)
    summary = run.train()

    assert differences(run, task.train_through(epochs=5)) == []
    assert (summary["epochs"], summary["iterations"]) == (5, 20)


def test_an_interrupted_run_goes_on_for_more_epochs(task: Task) -> None:
    path = task.train_until(MOMENTS["in mid-epoch"])

    run = task.resume(path, epochs=4)
    run.train()

    assert differences(run, task.train_through(epochs=4)) == []


@pytest.mark.parametrize("epochs", [None, 3, 2])
def test_a_completed_run_trains_nothing_and_says_so(
    task: Task, caplog: pytest.LogCaptureFixture, epochs: int | None
) -> None:
    whole = task.start("whole")
    summary = whole.train()
    before = {path.name: path.read_bytes() for path in Path("whole").iterdir()}

    run = task.resume("whole", epochs=epochs)
    trained: list[Engine] = []
    run.trainer.add_event_handler(Events.STARTED, trained.append)
    with caplog.at_level(logging.INFO, "ignite_threenet"):
        assert run.train() == json.loads(json.dumps(summary))

    assert trained == []
    assert caplog.messages == [
        "whole had completed its 3 epochs, so nothing is trained; more by --epochs"
    ]
    assert {path.name: path.read_bytes() for path in Path("whole").iterdir()} == before
    task.resume("whole").close()


def test_a_longer_run_killed_midway_is_not_taken_for_completed(task: Task) -> None:
    task.train_through()
    longer = task.resume("whole", epochs=5)

    @longer.trainer.on(Events.EPOCH_STARTED(once=5))
    def leave_as_it_is() -> None:
        shutil.copytree("whole", "killed")

    longer.train()
    run = task.resume("killed")
    run.train()

    assert run.history.epochs[-1].epoch == 5
    assert differences(run, longer) == []


def end_at(run: Run, moment: Moment) -> Path:
    """Train a run that a handler ends."""
    event, iteration = moment

    @run.trainer.on(event)
    def end(trainer: Engine) -> None:
        if trainer.state.iteration == iteration:
            trainer.terminate()

    run.train()
    return run.directory.path


ENDS: dict[str, Moment] = {
    "after the first iteration": (Events.ITERATION_COMPLETED, 1),
    "as an iteration starts": (Events.ITERATION_STARTED, 6),
    "in mid-epoch": (Events.ITERATION_COMPLETED, 6),
    "as a batch is fetched": (Events.GET_BATCH_STARTED, 5),
    "at an epoch's last iteration": (Events.ITERATION_COMPLETED, 8),
    "at an epoch's end": (Events.EPOCH_COMPLETED, 8),
    "as an epoch starts": (Events.EPOCH_STARTED, 8),
}


@pytest.mark.parametrize("moment", ENDS.values(), ids=ENDS)
def test_a_run_that_a_handler_ended_trains_on_for_more_epochs_as_one_never_ended(
    task: Task, moment: Moment
) -> None:
    def make_plugins() -> list[Plugin]:
        # What was drawn for a step that is never taken is drawn again.
        draws = [] if moment[0] is Events.ITERATION_STARTED else [Augment()]
        return [Accuracy(every=2), Ema(decay=0.5), *draws, Noise(), Checkpoint(seconds=0)]

    loader = LOADERS["shuffled by a generator"]
    task = replace(task, make_plugins=make_plugins, make_train_loader=loader)
    path = end_at(task.start("parts"), moment)

    run = task.resume(path, epochs=EPOCHS + 1)
    run.train()

    assert differences(run, task.train_through(epochs=EPOCHS + 1)) == []


@pytest.mark.parametrize("moment", ENDS.values(), ids=ENDS)
def test_a_run_that_a_handler_ended_and_nobody_summed_up_ends_as_it_did(
    task: Task, moment: Moment
) -> None:
    task = replace(task, make_plugins=all_that_remember)
    whole = task.start("whole")

    @whole.trainer.on(Events.STARTED)
    def listen_after_the_checkpoint(trainer: Engine) -> None:
        trainer.add_event_handler(Events.TERMINATE, lambda: shutil.copytree("whole", "killed"))

    end_at(whole, moment)
    run = task.resume("killed")
    summary = run.train()

    # As an iteration starts, Ignite has counted it already.
    ahead = ["/counters/1"] if moment[0] is Events.ITERATION_STARTED else []
    assert differences(run, whole) == ahead
    assert run.recorder.iteration == whole.recorder.iteration
    assert summary["status"] == "completed"


@pytest.mark.parametrize("moment", [(Events.ITERATION_COMPLETED, 10), (Events.EPOCH_COMPLETED, 12)])
def test_fewer_epochs_than_were_begun_are_refused(task: Task, moment: Moment) -> None:
    path = task.train_until(moment)

    with pytest.raises(ConfigError) as caught:
        task.resume(path, epochs=2)

    file = path / f"checkpoint-{moment[1]:08}.safetensors"
    assert str(caught.value) == f"epochs: 2, and {file} is in epoch 3 already"
    task.resume(path, epochs=3).close()


def test_epochs_may_end_with_the_one_in_hand(task: Task) -> None:
    path = task.train_until(MOMENTS["in mid-epoch"])

    run = task.resume(path, epochs=2)
    run.train()

    assert differences(run, task.train_through(epochs=2)) == []


def test_at_completed_a_run_is_past_interrupting(task: Task) -> None:
    run = task.start("whole")
    answers: list[bool] = []
    run.trainer.add_event_handler(Events.COMPLETED, lambda: answers.append(run.interrupt()))

    summary = run.train()

    assert answers == [False]
    assert summary["status"] == "completed"


# Refusals


@pytest.fixture
def parts(task: Task) -> Path:
    return task.train_until(MOMENTS["in mid-epoch"])


FILE = Path("parts/checkpoint-00000006.safetensors")


def rewrite(path: Path, **changes: Any) -> None:
    path.write_bytes(checkpoint.encode({**checkpoint.read(path), **changes}))


def refusal(run: Callable[[], object], kind: type[Exception] = CheckpointError) -> str:
    with pytest.raises(kind) as caught:
        run()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("given", [None, "nothing.txt"])
def test_a_directory_without_a_run_is_refused(task: Task, given: str | None) -> None:
    Path("empty").mkdir()
    if given is not None:
        Path("empty", given).touch()

    assert refusal(lambda: task.resume("empty"), DirectoryError) == "empty: holds no run"
    assert refusal(lambda: task.resume("nowhere"), DirectoryError) == "nowhere: holds no run"
    assert not Path("nowhere").exists()


def test_a_run_without_a_checkpoint_is_refused(task: Task) -> None:
    replace(task, make_plugins=list).train_through()

    message = refusal(lambda: task.resume("whole"))

    expected = "whole: holds no checkpoint to go on from; the plugin 'checkpoint' writes them"
    assert message == expected


def test_a_directory_in_use_by_another_process_is_refused(task: Task, parts: Path) -> None:
    hold = (
        "import os, sys; from filelock import FileLock; lock = FileLock('.lock');"
        "lock.acquire(); open('.owner', 'w').write(str(os.getpid()));"
        "print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=parts, stdin=pipe, stdout=pipe) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        message = refusal(lambda: task.resume(parts), DirectoryError)
        owner.communicate()

    assert message == f"parts: is in use by process {owner.pid}"
    task.resume(parts).close()


def test_a_directory_in_use_by_this_process_is_refused(task: Task, parts: Path) -> None:
    run = task.resume(parts)

    assert "parts: is in use by process" in refusal(lambda: task.resume(parts), DirectoryError)
    run.close()


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    task: Task, parts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    FILE.write_bytes(FILE.read_bytes()[:-1])

    run = task.resume(parts)
    run.train()

    (message,) = [each for each in caplog.messages if str(FILE) in each]
    assert message.endswith("; taking checkpoint-00000004.safetensors instead")
    assert differences(run, task.train_through()) == []


def test_a_damaged_checkpoint_does_not_push_out_the_good_ones(task: Task, parts: Path) -> None:
    FILE.write_bytes(FILE.read_bytes()[:-1])
    task = replace(task, make_plugins=lambda: [Checkpoint(seconds=0, keep=1)])

    # The one that is left is of other options, so it is taken as the one before.
    older = Path("parts/checkpoint-00000004.safetensors")
    content = checkpoint.read(older)
    content["plugins"][0]["options"]["keep"] = 1
    rewrite(older, plugins=content["plugins"])
    interrupt(task.resume(parts), (Events.ITERATION_COMPLETED, 5))
    run = task.resume(parts)
    run.train()

    assert differences(run, task.train_through()) == []


def test_damaged_checkpoints_alone_are_refused(task: Task, parts: Path) -> None:
    for path in parts.glob("checkpoint-*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])

    message = refusal(lambda: task.resume(parts))

    assert message.startswith(f"parts: none of its 2 checkpoints can be read; {FILE}: ")


def test_the_only_checkpoint_being_damaged_is_refused_by_its_own_name(
    task: Task, parts: Path
) -> None:
    Path("parts/checkpoint-00000004.safetensors").unlink()
    FILE.write_bytes(FILE.read_bytes()[:-1])

    assert refusal(lambda: task.resume(parts)).startswith(f"{FILE}: ")


@pytest.mark.parametrize("found", [1, 2, 4])
def test_a_checkpoint_of_another_format_is_refused_even_where_an_older_one_could_be_read(
    task: Task, parts: Path, found: int
) -> None:
    rewrite(FILE, format=found)

    message = refusal(lambda: task.resume(parts))

    assert message == f"{FILE}: has the format {found}; this version reads 3"
    assert FILE.exists()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model": None}, "has model None; expected dict"),
        ({"components": None}, "has components None; expected dict"),
        ({"components": {"model": {"origin": ""}}}, "has components.model dict; expected values"),
        ({"components": {"model": None}}, "has components.model None; expected values by the"),
        ({"plugins": [{"name": "checkpoint"}]}, "has plugins[0] dict; expected values by the name"),
        ({"epoch": -1}, "has epoch -1"),
        ({"config": {"speed": 3}}, "has the unknown option 'speed'"),
        ({"config": {"epochs": 0}}, "epochs: 0 is out of range; expected an integer at"),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_make_is_refused(
    task: Task, parts: Path, changes: Mapping[str, Any], problem: str
) -> None:
    rewrite(FILE, **changes)

    assert refusal(lambda: task.resume(parts)).startswith(f"{FILE}: {problem}")


@pytest.mark.usefixtures("small_digits")
def test_other_data_is_refused() -> None:
    config = RunConfig(dataset="digits", epochs=3, batch_size=128, out=Path("parts"))
    path = interrupt(Run(config, [Checkpoint(seconds=0)]), (Events.ITERATION_COMPLETED, 6))
    before = checkpoint.read(FILE)["dataset"]
    name = next(iter(before["sha256"]))

    rewrite(FILE, dataset={**before, "sha256": {**before["sha256"], name: "0" * 64}})
    assert refusal(Run.resume(path).train) == (
        f"{FILE}: the data is not the same as that of digits, by its SHA-256 digests: {name}"
    )

    rewrite(FILE, dataset={"name": "mnist", "sha256": {}})
    assert refusal(Run.resume(path).train) == (
        f"{FILE}: the data is not the same as that of mnist, by its SHA-256 digests: "
        + ", ".join(sorted(before["sha256"]))
    )


@pytest.mark.usefixtures("small_digits")
def test_the_same_data_under_another_name_is_accepted() -> None:
    config = RunConfig(dataset="digits", epochs=3, batch_size=128, out=Path("parts"))
    path = interrupt(Run(config, [Checkpoint(seconds=0)]), (Events.ITERATION_COMPLETED, 6))
    rewrite(FILE, dataset={**checkpoint.read(FILE)["dataset"], "name": "letters"})
    run = Run.resume(path)
    run.train()
    whole = Run(replace(config, out=Path("whole")), [Checkpoint(seconds=0)])
    whole.train()

    assert differences(run, whole) == []


def test_loaders_that_are_missing_are_refused_before_any_data_is_loaded(
    task: Task, parts: Path
) -> None:
    message = refusal(lambda: task.resume(parts, loaders=None))

    assert message == f"{FILE}: was made with loaders of your own, and is given none"


@pytest.mark.usefixtures("small_digits")
def test_loaders_in_place_of_a_named_dataset_are_refused(task: Task) -> None:
    config = RunConfig(dataset="digits", epochs=3, batch_size=128, out=Path("parts"))
    path = interrupt(Run(config, [Checkpoint(seconds=0)]), (Events.ITERATION_COMPLETED, 6))

    message = refusal(lambda: task.resume(path))

    assert message == f"{FILE}: was made with the dataset digits, and is given loaders"


@pytest.mark.parametrize(
    ("loader", "problem"),
    [
        (lambda: DataLoader(samples(40), 8), "an epoch had 4 iterations, and the loader gives 5"),
        (
            LOADERS["shuffled by a generator"],
            "the loader had 0 random generators of its own, and has 1",
        ),
    ],
)
def test_another_loader_is_refused(
    task: Task, parts: Path, loader: Callable[[], Any], problem: str
) -> None:
    other = replace(task, make_train_loader=loader)

    assert refusal(other.resume(parts).train) == f"{FILE}: {problem}"


def test_a_loader_that_no_longer_gives_what_was_done_is_refused(
    task: Task, make_batches: MakeBatches
) -> None:
    def with_batches(count: int) -> Task:
        return replace(task, make_train_loader=lambda: Shuffled(make_batches(count)))

    path = with_batches(4).train_until((Events.ITERATION_COMPLETED, 3))
    message = refusal(with_batches(2).resume(path).train)

    file = path / "checkpoint-00000003.safetensors"
    assert message == f"{file}: the epoch had 3 iterations, and the loader gives 2"


def test_a_model_that_does_not_fit_is_refused(task: Task, parts: Path) -> None:
    before = {path.name: path.read_bytes() for path in parts.iterdir()}
    run = task.resume(parts, model=nn.Sequential(nn.Linear(784, 10), nn.LogSoftmax(dim=1)))

    message = refusal(run.train)

    assert message.startswith(
        f"{FILE}: does not fit this run: Error(s) in loading state_dict for Sequential: "
        "Unexpected key(s) in state_dict: "
    )
    assert {path.name: path.read_bytes() for path in parts.iterdir()} == before


def test_what_was_refused_can_be_taken_up_again_in_the_same_process(
    task: Task, parts: Path
) -> None:
    other = replace(task, make_train_loader=lambda: DataLoader(samples(40), 8))
    run = other.resume(parts)
    refusal(run.train)

    again = task.resume(parts)
    again.train()

    assert differences(again, task.train_through()) == []
    assert refusal(run.train, ConfigError) == "a Run trains once; make another one"


@pytest.mark.parametrize(
    ("plugins", "problem"),
    [
        (
            lambda: [Checkpoint(seconds=0, keep=3)],
            "plugin 'checkpoint': keep was 2, and is 3",
        ),
        (lambda: [Noise(), Checkpoint(seconds=0)], "was made without the plugin 'noise'"),
    ],
)
def test_other_plugins_are_refused(
    task: Task, parts: Path, plugins: MakePlugins, problem: str
) -> None:
    assert refusal(lambda: task.resume(parts, plugins=plugins())) == f"{FILE}: {problem}"


def test_another_version_of_a_plugin_is_refused(task: Task, parts: Path) -> None:
    (plugin,) = checkpoint.read(FILE)["plugins"]
    rewrite(FILE, plugins=[{**plugin, "source": {**plugin["source"], "distribution": "acme 0.9"}}])

    message = refusal(lambda: task.resume(parts))

    now = plugin["source"]["distribution"]
    assert now == f"ignite-threenet {version('ignite-threenet')}"
    assert message == (
        f"{FILE}: plugin 'checkpoint': distribution was acme 0.9, and is {now}; "
        "go on with it by --allow-changes"
    )


@pytest.mark.parametrize(
    ("what", "before", "spelled"),
    [
        ("sha256", "0" * 64, "the SHA-256 digest of its source was 000000000000, and is {now:.12}"),
        ("sha256", "", "the SHA-256 digest of its source was none, and is {now:.12}"),
        ("kind", "Saver", "kind was Saver, and is {now}"),
    ],
)
def test_another_source_of_an_installed_plugin_is_refused_unless_allowed(
    task: Task,
    parts: Path,
    caplog: pytest.LogCaptureFixture,
    what: str,
    before: str,
    spelled: str,
) -> None:
    (plugin,) = checkpoint.read(FILE)["plugins"]
    rewrite(FILE, plugins=[{**plugin, "source": {**plugin["source"], what: before}}])
    now = plugin["source"][what]
    expected = f"plugin 'checkpoint': {spelled.format(now=now)}"

    message = refusal(lambda: task.resume(parts))
    run = task.resume(parts, allow_changes=True)
    run.train()

    assert message == f"{FILE}: {expected}; go on with it by --allow-changes"
    assert caplog.messages.count(expected) == 1
    manifest = json.loads((parts / "manifest.json").read_text())
    change = {"of": "plugin 'checkpoint'", "fact": what, "before": before, "now": now}
    assert manifest["changes"] == [{**change, "epoch": 2, "iteration": 6}]
    assert differences(run, task.train_through()) == []


def test_a_plugin_that_is_gone_is_carried_along_with_a_warning(
    task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    noisy = replace(task, make_plugins=lambda: [Noise(), Checkpoint(seconds=0)])
    path = noisy.train_until(MOMENTS["in mid-epoch"])
    before = checkpoint.read(FILE)["plugins"][0]

    # By default it has the plugins that are installed, and this one never was.
    interrupt(task.resume(path, plugins=None), (Events.ITERATION_COMPLETED, 7))

    after = {
        each["name"]: each
        for each in checkpoint.read(path / "checkpoint-00000007.safetensors")["plugins"]
    }
    assert "the plugin 'noise' is gone; its state is carried along" in caplog.messages
    assert list(after) == ["checkpoint", "noise"]
    assert {**after["noise"], "state": None} == {**before, "state": None}
    assert torch.equal(after["noise"]["state"]["sum"], before["state"]["sum"])


def test_other_versions_of_what_the_run_is_built_on_are_only_told(
    task: Task, parts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(FILE, versions={**checkpoint.read(FILE)["versions"], "torch": "2.0"})

    run = task.resume(parts)
    run.train()

    assert f"saved with torch 2.0, resumed with {version('torch')}" in caplog.messages
    assert differences(run, task.train_through()) == []


# What is saved, and when


class Poison(Plugin):
    """Make the training's numbers infinite or none at all."""

    what: str = option("weight", help="weight or momentum")
    iteration: int = option(7, help="iteration at whose end that is done", min=1)

    def attach(self, run: Run) -> None:
        event = Events.ITERATION_COMPLETED(once=self.iteration)
        run.trainer.add_event_handler(event, self.poison, run)

    @torch.no_grad()
    def poison(self, run: Run) -> None:
        parameter = list(run.model.parameters())[-1]
        if self.what == "weight":
            parameter[0] = torch.nan
        else:
            run.optimizer.state[parameter]["momentum_buffer"][0] = torch.inf


def tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)


ORDERS = (
    ("poison", "accuracy", "best", "ema", "checkpoint"),
    ("checkpoint", "ema", "accuracy", "best", "poison"),
    ("ema", "poison", "checkpoint", "accuracy", "best"),
)


@pytest.mark.parametrize("what", ["weight", "momentum"])
@pytest.mark.parametrize("iteration", [7, 8])
@pytest.mark.parametrize("is_interrupted", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_no_file_holds_weights_that_are_not_finite(
    task: Task, what: str, iteration: int, is_interrupted: bool, order: Sequence[str]
) -> None:
    plugins: dict[str, Plugin] = {
        "poison": Poison(what=what, iteration=iteration),
        "accuracy": Accuracy(every=1),
        "best": Best(),
        "ema": Ema(decay=0.5),
        "checkpoint": Checkpoint(seconds=0),
    }
    run = replace(task, make_plugins=lambda: [plugins[name] for name in order]).start("whole")
    if is_interrupted:
        run.trainer.add_event_handler(
            Events.ITERATION_COMPLETED(once=iteration), lambda: run.interrupt()
        )

    with pytest.raises((DivergedError, PluginFailedError)):
        run.train()

    (file,) = Path("whole").glob("checkpoint-*")
    assert file.name == "checkpoint-00000004.safetensors"
    for content in (checkpoint.read(file), checkpoint.load_weights("whole/best.pt")):
        assert all(bool(each.isfinite().all()) for each in tensors_in(content))


def test_a_checkpoint_that_is_refused_says_what_is_not_finite(task: Task) -> None:
    task = replace(task, make_plugins=lambda: [Poison(iteration=8), Checkpoint(seconds=0)])

    message = refusal(task.start("whole").train, PluginFailedError)

    assert message.endswith(
        "failed at EPOCH_COMPLETED, epoch 2: CheckpointError: whole: not saved: "
        "the model is not finite"
    )


def test_a_mask_of_infinities_is_no_reason_to_refuse(task: Task) -> None:
    class Masked(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(*make_net().children())
            self.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))

        def forward(self, images: Tensor) -> Tensor:
            for layer in self:
                images = layer(images)
            return images

    task = replace(task, make_model=Masked)

    run = task.train_in_parts(MOMENTS["in mid-epoch"])

    assert differences(run, task.train_through()) == []


@pytest.mark.parametrize(
    ("event", "iteration"),
    [
        (Events.STARTED, 0),
        (Events.EPOCH_STARTED, 4),
        (Events.ITERATION_STARTED, 6),
        (Events.ITERATION_COMPLETED, 8),
        (Events.COMPLETED, 12),
    ],
)
def test_a_run_is_not_saved_where_it_could_not_go_on(
    task: Task, event: Events, iteration: int
) -> None:
    run = replace(task, make_plugins=list).start("whole")

    @run.trainer.on(event)
    def save(trainer: Engine) -> None:
        if trainer.state.iteration == iteration:
            run.save()

    assert refusal(run.train) == (
        f"whole: not saved at {event.name}; a run can go on from EPOCH_COMPLETED, INTERRUPT, "
        "TERMINATE, and an ITERATION_COMPLETED that is not an epoch's last"
    )
    assert not list(Path("whole").glob("checkpoint-*"))


@pytest.mark.parametrize(
    "moment",
    [(Events.ITERATION_COMPLETED, 6), (Events.EPOCH_COMPLETED, 8)],
    ids=["iteration", "epoch"],
)
def test_a_script_may_save_without_the_plugin(task: Task, moment: Moment) -> None:
    event, iteration = moment
    task = replace(task, make_plugins=list)
    whole = task.start("whole")

    @whole.trainer.on(event)
    def save(trainer: Engine) -> None:
        if trainer.state.iteration == iteration:
            assert whole.save() == Path(f"whole/checkpoint-{iteration:08}.safetensors")
            shutil.copytree("whole", "copy")

    whole.train()
    run = task.resume("copy")
    run.train()

    assert differences(run, whole) == []


def test_without_a_checkpoint_an_interrupted_run_promises_nothing(task: Task) -> None:
    run = replace(task, make_plugins=list).start("whole")
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=6), lambda: run.interrupt())

    with pytest.raises(RunInterruptedError) as caught:
        run.train()

    assert str(caught.value) == "interrupted at epoch 2, iteration 6"
    assert caught.value.resumable is None
