"""Tests of the plugin `tensorboard`: what it writes is read back by TensorBoard itself."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Curves, MeasureOften, Rates, make_run, recorded_curves, train_until
from ignite.engine import Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.checkpoint import Checkpoint
from ignite_threenet_plugins.schedule import Schedule
from ignite_threenet_plugins.tensorboard import Tensorboard

from ignite_threenet import ConfigError, OptionError, Plugin, Run

pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")


def read(folder: Path) -> Any:
    """Load a folder of event files as TensorBoard does."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), {"scalars": 0, "tensors": 0}).Reload()


def curves(run: Run, name: str = "tensorboard") -> Curves:
    events = read(run.directory.path / name)
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if events.Scalars(tag)  # no point is left of a tag that is void
    }


def assert_shows_the_history(run: Run) -> None:
    shown = curves(run)
    shown.pop("train/lr")
    expected = recorded_curves(run)
    assert shown.keys() == expected.keys()
    for tag, points in expected.items():
        assert [step for step, _ in shown[tag]] == [step for step, _ in points]
        # TensorBoard keeps float32.
        assert [value for _, value in shown[tag]] == pytest.approx([value for _, value in points])


def test_shows_each_epoch_each_measurement_and_the_final_test() -> None:
    run = make_run(Accuracy(every=2), Tensorboard())
    run.train()

    assert set(curves(run)) == {
        *("train/loss", "train/lr"),
        *("measured/train/loss", "measured/train/accuracy"),
        *("final/test/loss", "final/test/accuracy"),
    }
    assert [step for step, _ in curves(run)["measured/train/loss"]] == [2, 3]
    assert [step for step, _ in curves(run)["final/test/loss"]] == [3]
    assert_shows_the_history(run)


@pytest.mark.parametrize("first", ["schedule", "tensorboard"])
def test_shows_the_rate_of_each_epochs_last_step(first: str) -> None:
    rates, plugins = Rates(), [Schedule(), Tensorboard()]
    run = make_run(rates, *(plugins if first == "schedule" else reversed(plugins)))
    run.train()

    steps, values = zip(*curves(run)["train/lr"], strict=True)
    assert steps == (1, 2, 3)
    assert values == pytest.approx(tuple(rates.last.values()))
    assert len(set(values)) == 3


def test_shows_the_options_as_text() -> None:
    run = make_run(Accuracy(every=2), Tensorboard(), lr=0.05, device="cpu")
    run.train()

    (event,) = read(run.directory.path / "tensorboard").Tensors("options/text_summary")
    rows = event.tensor_proto.string_val[0].decode().splitlines()
    assert event.step == 0
    for row in ("lr | 0.05", "epochs | 3", "accuracy.every | 2", "dataset | custom"):
        assert f"| {row} |" in rows


def test_two_of_them_write_into_folders_of_their_names() -> None:
    one, two = Tensorboard(), Tensorboard()
    one.name, two.name = "one", "two"
    run = make_run(one, two)
    run.train()

    assert curves(run, "one") == curves(run, "two")


@pytest.mark.parametrize("iteration", [5, 7, 8])
def test_a_resumed_run_shows_the_same_as_one_never_stopped(iteration: int) -> None:
    def plugins() -> list[Plugin]:
        return [Schedule(), MeasureOften(), Tensorboard(), Checkpoint()]

    whole = make_run(*plugins(), out=Path("whole"))
    whole.train()
    run = train_until(make_run(*plugins()), Events.ITERATION_COMPLETED(once=iteration))
    resumed = Run.resume(run.directory.path, plugins=plugins(), loaders=run.loaders)
    resumed.train()

    assert curves(resumed) == curves(whole)
    assert_shows_the_history(resumed)


def test_what_was_written_after_the_checkpoint_is_void() -> None:
    run = make_run(Tensorboard(), Checkpoint(seconds=0), epochs=5)
    run.train()
    run.directory.checkpoints()[0].unlink()
    (run.directory.path / "summary.json").unlink()
    loaders = {**run.loaders, "test": [(torch.zeros(4, 784), torch.arange(4))]}
    resumed = Run.resume(run.directory.path, loaders=loaders)
    resumed.train()

    assert [step for step, _ in curves(resumed)["train/lr"]] == [1, 2, 3, 4, 5]
    assert_shows_the_history(resumed)


def test_a_run_with_more_epochs_shows_one_final_test() -> None:
    run = make_run("tensorboard", "checkpoint")
    run.train()
    longer = Run.resume(run.directory.path, epochs=5, loaders=run.loaders)
    longer.train()

    assert [step for step, _ in curves(longer)["final/test/loss"]] == [5]
    # EventAccumulator leaves text that is void; TensorBoard itself does not.
    *_, event = read(longer.directory.path / "tensorboard").Tensors("options/text_summary")
    assert b"| epochs | 5 |" in event.tensor_proto.string_val[0]


def test_a_run_that_was_killed_loses_nothing_that_its_checkpoint_knows() -> None:
    run = train_until(make_run("tensorboard", "checkpoint"), Events.ITERATION_COMPLETED(once=9))
    shutil.rmtree(run.directory.path / "tensorboard")  # as if nothing had reached the disk
    resumed = Run.resume(run.directory.path, loaders=run.loaders)
    resumed.train()

    assert [step for step, _ in curves(resumed)["train/lr"]] == [1, 2, 3]
    assert_shows_the_history(resumed)


def test_a_run_that_replaces_another_hides_its_points() -> None:
    make_run(Tensorboard(), MeasureOften(), epochs=5).train()
    run = make_run(Tensorboard(), force=True)
    run.train()

    assert_shows_the_history(run)


def test_what_there_is_can_be_read_after_a_failure() -> None:
    def fail() -> None:
        raise RuntimeError("unplugged")

    run = make_run(Tensorboard())
    run.trainer.add_event_handler(Events.EPOCH_STARTED(once=3), fail)
    with pytest.raises(RuntimeError, match="unplugged"):
        run.train()

    assert [step for step, _ in curves(run)["train/loss"]] == [1, 2]


def test_says_how_to_install_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("tensorboard", "tensorboardX"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError) as raised:
        make_run(Tensorboard())

    assert str(raised.value) == (
        "tensorboard: needs the package tensorboard: pip install 'ignite-threenet[tensorboard]'"
    )


def test_a_folder_that_cannot_be_written_does_not_stop_the_run() -> None:
    run = make_run(Tensorboard())
    run.trainer.add_event_handler(
        Events.STARTED, lambda: (run.directory.path / "tensorboard").write_text("in the way")
    )
    summary = run.train()

    assert summary["status"] == "completed"
    assert "failed at EPOCH_COMPLETED, epoch 1" in summary["detached"]["tensorboard"]


def test_refuses_a_time_that_is_none() -> None:
    with pytest.raises(OptionError):
        Tensorboard(flush_s=0)
