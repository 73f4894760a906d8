"""Tests of the plugin `checkpoint`."""

from pathlib import Path

import pytest
import torch
from helpers import make_run, train_until
from ignite.engine import Engine, Events
from ignite.engine.events import CallableEventWithFilter
from ignite_threenet_plugins.checkpoint import Checkpoint

from ignite_threenet import CheckpointError, OptionError, Plugin, PluginFailedError, Run
from ignite_threenet.storage import checkpoint_file as checkpoint

pytestmark = pytest.mark.usefixtures("in_haste")


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give a clock whose time is the last of the list."""
    times = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: times[-1])
    return times


def note_checkpoints(run: Run) -> dict[int, list[int]]:
    """Note the iterations of the checkpoints that are there when an epoch starts, and at the end.

    Returns:
        Filled by the run: the newest one first, by the epochs that have ended.
    """
    noted: dict[int, list[int]] = {}

    def note(trainer: Engine, ended: int) -> None:
        noted[trainer.state.epoch - 1 + ended] = saved_in(run)

    run.trainer.add_event_handler(Events.EPOCH_STARTED, note, 0)
    run.trainer.add_event_handler(Events.COMPLETED, note, 1)
    return noted


def saved_in(run: Run) -> list[int]:
    return [int(path.stem.removeprefix("checkpoint-")) for path in run.directory.checkpoints()]


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (1, {0: [], 1: [4], 2: [8], 3: [12], 4: [16], 5: [20]}),
        (2, {0: [], 1: [], 2: [8], 3: [8], 4: [16], 5: [20]}),
        (9, {0: [], 1: [], 2: [], 3: [], 4: [], 5: [20]}),
    ],
)
def test_a_checkpoint_is_written_every_so_many_epochs_and_after_the_last(
    every: int, expected: dict[int, list[int]]
) -> None:
    run = make_run(Checkpoint(every=every, seconds=0, keep=1), epochs=5)
    noted = note_checkpoints(run)

    run.train()

    assert noted == expected


def test_checkpoints_are_so_many_seconds_apart_at_least(monotonic: list[float]) -> None:
    run = make_run(Checkpoint(seconds=5.0, keep=9), epochs=6)
    noted = note_checkpoints(run)

    @run.trainer.on(Events.EPOCH_COMPLETED)
    def pass_time(trainer: Engine) -> None:
        # Seconds that the epochs take: 5, 4, 1, 4.5, 1, and the last one none.
        monotonic.append(monotonic[-1] + [5.0, 4.0, 1.0, 4.5, 1.0, 0.0][trainer.state.epoch - 1])

    run.train()

    assert noted[4] == [12, 4]
    assert noted[6] == [24, 20, 12, 4]


def test_the_seconds_count_from_the_start(monotonic: list[float]) -> None:
    run = make_run(Checkpoint(seconds=5.0), epochs=2)
    noted = note_checkpoints(run)
    monotonic.append(200.0)

    run.train()

    assert noted == {0: [], 1: [], 2: [8]}


def test_the_seconds_count_from_when_a_checkpoint_is_written(
    monotonic: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(Checkpoint(seconds=5.0, keep=9), epochs=3)
    save = run.save

    def save_slowly(keep: int) -> Path:
        monotonic.append(monotonic[-1] + 60.0)
        return save(keep)

    monkeypatch.setattr(run, "save", save_slowly)
    run.trainer.add_event_handler(
        Events.EPOCH_COMPLETED(once=1), lambda: monotonic.append(monotonic[-1] + 5.0)
    )

    run.train()

    assert saved_in(run) == [12, 4]


@pytest.mark.parametrize(("keep", "expected"), [(1, [20]), (2, [20, 16]), (9, [20, 16, 12, 8, 4])])
def test_so_many_checkpoints_are_kept(keep: int, expected: list[int]) -> None:
    run = make_run(Checkpoint(seconds=0, keep=keep), epochs=5)

    run.train()

    assert saved_in(run) == expected


def test_the_older_ones_are_there_until_the_new_one_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = make_run(Checkpoint(seconds=0, keep=1), epochs=2)

    @run.trainer.on(Events.EPOCH_STARTED(once=2))
    def fill_the_disk() -> None:
        def fail(path: Path, content: bytes) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("ignite_threenet.storage.directory.write_atomically", fail)

    with pytest.raises((PluginFailedError, OSError)):
        run.train()

    assert saved_in(run) == [4]


def test_a_checkpoint_that_cannot_be_written_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(Checkpoint(seconds=0))

    def fail(iteration: int, content: bytes, keep: int) -> Path:
        raise CheckpointError("run/checkpoint-00000004.safetensors", "cannot be written: no space")

    run.trainer.add_event_handler(
        Events.STARTED,
        lambda: monkeypatch.setattr(run.directory, "write_checkpoint", fail),
    )

    with pytest.raises(PluginFailedError) as caught:
        run.train()

    assert str(caught.value).endswith(
        "failed at EPOCH_COMPLETED, epoch 1: CheckpointError: run/checkpoint-00000004.safetensors: "
        "cannot be written: no space"
    )


@pytest.mark.parametrize("iteration", [6, 8])
def test_an_interrupted_run_is_saved_whatever_time_it_is(iteration: int) -> None:
    run = make_run(Checkpoint(every=9, seconds=1e6))

    train_until(run, Events.ITERATION_COMPLETED(once=iteration))

    assert saved_in(run) == [iteration]


@pytest.mark.parametrize("skips_completed", [False, True])
@pytest.mark.parametrize(
    ("event", "saved"),
    [
        (Events.ITERATION_COMPLETED(once=6), 6),
        (Events.ITERATION_COMPLETED(once=8), 8),
        # Ignite does not begin it any more.
        (Events.ITERATION_STARTED(once=6), 5),
        (Events.EPOCH_COMPLETED(once=2), 8),
        (Events.EPOCH_STARTED(once=2), 4),
    ],
    ids=["iteration", "last iteration", "iteration's start", "epoch", "epoch's start"],
)
def test_a_run_that_a_handler_ends_is_saved_whatever_time_it_is(
    event: CallableEventWithFilter, saved: int, skips_completed: bool
) -> None:
    run = make_run(Checkpoint(every=9, seconds=1e6))
    run.trainer.add_event_handler(
        event, lambda: run.trainer.terminate(skip_completed=skips_completed)
    )

    summary = run.train()

    assert summary["status"] == "completed"
    assert saved_in(run) == [saved]
    content = checkpoint.read(run.directory.checkpoints()[0])
    assert content["ended"] == ("skip_completed" if skips_completed else True)
    for name, weight in run.model.state_dict().items():
        assert torch.equal(content["model"][name], weight)


def test_what_others_change_as_training_is_ended_is_saved() -> None:
    class Last(Plugin):
        """Double a bias as training is ended."""

        def attach(self, run: Run) -> None:
            run.trainer.add_event_handler(Events.TERMINATE, self.double, run)

        def double(self, run: Run) -> None:
            list(run.model.parameters())[-1].data.mul_(2)

    run = make_run(Checkpoint(every=9, seconds=1e6), Last())
    run.trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=6), lambda: run.trainer.terminate()
    )
    run.train()

    name, bias = list(run.model.named_parameters())[-1]
    assert torch.equal(checkpoint.read(run.directory.checkpoints()[0])["model"][name], bias)


def test_what_an_interruption_saves_counts_among_those_that_are_kept() -> None:
    run = make_run(Checkpoint(seconds=0, keep=2))

    train_until(run, Events.ITERATION_COMPLETED(once=10))

    assert saved_in(run) == [10, 8]


def test_what_others_change_at_an_epochs_end_is_in_its_checkpoint() -> None:
    class Doubling(Plugin):
        """Double a bias at an epoch's end."""

        def attach(self, run: Run) -> None:
            run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.double, run)

        def double(self, run: Run) -> None:
            bias = list(run.model.parameters())[-1]
            bias.data.mul_(2)

    run = make_run(Checkpoint(seconds=0), Doubling(), epochs=1)
    run.train()

    name, bias = list(run.model.named_parameters())[-1]
    saved = checkpoint.read(run.directory.checkpoints()[0])["model"]
    assert torch.equal(saved[name], bias)


def test_a_run_without_it_is_not_saved() -> None:
    run = make_run()

    run.train()

    assert saved_in(run) == []


def test_a_resumed_run_counts_its_seconds_anew(
    monotonic: list[float],
) -> None:
    stopped = make_run(Checkpoint(seconds=5.0))
    train_until(stopped, Events.ITERATION_COMPLETED(once=2))
    monotonic.append(0.0)  # as after the machine was started again
    run = Run.resume(stopped.directory.path, loaders=stopped.loaders)
    noted = note_checkpoints(run)

    run.train()

    assert noted[2] == [2]
    assert noted[3] == [12, 2]


@pytest.mark.parametrize(
    ("option", "value"), [("every", 0), ("seconds", -1.0), ("keep", 0), ("keep", 1.5)]
)
def test_options_out_of_range_are_refused(option: str, value: object) -> None:
    with pytest.raises(OptionError, match=f"Checkpoint.{option}: {value!r}"):
        Checkpoint(**{option: value})


def test_by_default_it_loses_little_and_costs_little() -> None:
    plugin = Checkpoint()

    assert (plugin.every, plugin.seconds, plugin.keep) == (1, 5.0, 2)
