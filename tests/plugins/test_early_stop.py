"""Tests of the plugin `early-stop`."""

import logging
import math
from pathlib import Path
from typing import Any

import pytest
from helpers import make_run, make_scores, train_until
from ignite.engine import Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.checkpoint import Checkpoint
from ignite_threenet_plugins.early_stop import EarlyStop

from ignite_threenet import ConfigError, OptionError, Plugin, PluginFailedError, Run
from ignite_threenet.storage import checkpoint_file as checkpoint
from ignite_threenet.testing import run_plugin, tiny_loaders

NAN = float("nan")


class Killed(Plugin):
    """Fails as soon as training is terminated."""

    def attach(self, run: Run) -> None:
        run.trainer.add_event_handler(Events.TERMINATE, self.fail)

    def fail(self) -> None:
        raise OSError("unplugged")


def last_epoch(run: Run) -> int:
    return run.history.epochs[-1].epoch


@pytest.mark.parametrize(
    ("patience", "accuracies", "epoch"),
    [
        (1, (0.5, 0.4, 0.6, 0.7), 2),
        (2, (0.5, 0.4, 0.5, 0.7), 3),
        (2, (0.5, 0.4, 0.6, 0.4, 0.5, 0.9), 5),
        (2, (0.1, 0.2, 0.3, 0.4), 4),
        (1, (0.5, 0.5, 0.6), 2),
    ],
)
def test_ends_training_after_as_many_measurements_without_improvement(
    patience: int, accuracies: tuple[float, ...], epoch: int
) -> None:
    run = run_plugin(EarlyStop(patience=patience), accuracies)

    assert last_epoch(run) == epoch


@pytest.mark.parametrize(
    ("accuracies", "epoch"),
    [
        ((0.5, 0.55, 0.55, 0.9), 3),
        # No step is large enough, but two together are.
        ((0.5, 0.55, 0.62, 0.7, 0.7), 5),
        ((0.5, 0.65, 0.8, 0.95), 4),
    ],
)
def test_an_improvement_is_more_than_the_least_that_counts(
    accuracies: tuple[float, ...], epoch: int
) -> None:
    run = run_plugin(EarlyStop(patience=2, min_delta=0.1), accuracies)

    assert last_epoch(run) == epoch


@pytest.mark.parametrize(
    ("accuracies", "epoch"),
    [((0.5, NAN, NAN, 0.9), 3), ((NAN, NAN, NAN, 0.9), 3), ((NAN, 0.5, 0.6, 0.7), 4)],
)
def test_an_accuracy_that_is_not_a_number_is_no_improvement(
    accuracies: tuple[float, ...], epoch: int
) -> None:
    run = run_plugin(EarlyStop(patience=2), accuracies)

    assert last_epoch(run) == epoch


def test_says_once_when_and_why(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "ignite_threenet.early-stop")
    run = run_plugin(EarlyStop(patience=2), (0.3, 0.75, 0.4, 0.5, 0.9, 0.9))
    said = [record for record in caplog.records if "early-stop" in record.name]

    assert [record.getMessage() for record in said] == [
        "early-stop: ends training at epoch 4; the best accuracy was 75.000%, 2 measurements ago"
    ]
    assert capfd.readouterr().err == ""
    assert run.plugins["early-stop"].summary() == {"stopped_epoch": 4, "best_accuracy": 0.75}


def test_where_no_accuracy_was_a_number_nor_is_the_best() -> None:
    run = run_plugin(EarlyStop(patience=2), (NAN, NAN, NAN, 0.9))

    summary = run.plugins["early-stop"].summary()
    assert summary["stopped_epoch"] == 3
    assert math.isnan(summary["best_accuracy"])


@pytest.mark.parametrize("accuracies", [(0.1, 0.2, 0.3), (0.5, 0.4, 0.3)])
def test_a_run_that_reaches_its_last_epoch_was_not_stopped(accuracies: tuple[float, ...]) -> None:
    run = run_plugin(EarlyStop(patience=2), accuracies)

    assert run.plugins["early-stop"].summary() == {}


def test_a_run_that_another_one_ends_was_not_stopped() -> None:
    run = make_run(make_scores(0.5, 0.4), Accuracy(every=1, split="train"), EarlyStop(patience=1))
    # In mid-epoch, so that `accuracy` measures once more.
    event = Events.ITERATION_COMPLETED(once=6)
    run.trainer.add_event_handler(event, lambda: run.trainer.terminate())
    summary = run.train()

    assert len(run.history.of_split("train")) == 2
    assert summary["plugins"]["early-stop"] == {}


def test_follows_the_split_that_accuracy_measures_and_not_the_final_test() -> None:
    early_stop = EarlyStop(patience=1)
    # The last score is that of the final test.
    scores = make_scores(0.1, 0.2, 0.3, 0.0, split="test")
    make_run(scores, Accuracy(every=1, split="test"), early_stop).train()

    assert early_stop.state_dict()["best_score"] == 0.3
    assert early_stop.state_dict()["counter"] == 0


def test_a_split_that_is_watched_is_measured() -> None:
    scores = make_scores(0.3, 0.2, 0.0, split="test")
    accuracy = Accuracy(every=1, split="train")
    run = make_run(scores, accuracy, EarlyStop(split="test", patience=1), epochs=9)
    run.train()

    assert last_epoch(run) == 2


def test_what_is_held_out_is_watched_by_default() -> None:
    scores = make_scores(0.3, 0.2, 0.1, split="valid")
    run = make_run(scores, "accuracy", EarlyStop(patience=1), epochs=9)
    run.train()

    assert last_epoch(run) == 2


def test_refuses_a_split_that_the_run_does_not_have() -> None:
    loaders = {"train": tiny_loaders()["train"]}
    with pytest.raises(ConfigError, match=r"early-stop\.split: this run has no split 'valid'"):
        make_run(EarlyStop(split="valid"), loaders=loaders)


@pytest.mark.parametrize("options", [{"patience": 0}, {"min_delta": -0.1}, {"min_delta": 1.1}])
def test_refuses_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="is out of range"):
        EarlyStop(**options)


def test_a_resumed_run_goes_on_counting() -> None:
    def plugins() -> list[Plugin]:
        scores, accuracy = make_scores(0.5, 0.4, 0.45), Accuracy(every=1, split="train")
        return [scores, accuracy, EarlyStop(patience=2), Checkpoint()]

    run = train_until(make_run(*plugins(), epochs=9), Events.EPOCH_COMPLETED(once=2))
    resumed = Run.resume(run.directory.path, plugins=plugins(), loaders=run.loaders)
    resumed.train()

    assert last_epoch(resumed) == 3


def test_a_run_killed_when_it_was_about_to_end_ends_when_it_is_resumed() -> None:
    def plugins() -> list[Plugin]:
        scores, accuracy = make_scores(0.5, 0.4), Accuracy(every=1, split="train")
        return [scores, accuracy, EarlyStop(patience=1), Checkpoint(seconds=0)]

    run = make_run(*plugins(), Killed(), epochs=9)
    with pytest.raises(PluginFailedError, match="unplugged"):
        run.train()
    resumed = Run.resume(run.directory.path, plugins=plugins(), loaders=run.loaders)
    summary = resumed.train()

    assert (summary["status"], summary["epochs"]) == ("completed", 2)
    assert summary["plugins"]["early-stop"] == {"stopped_epoch": 2, "best_accuracy": 0.5}


def stopped_at_2_of_9() -> Run:
    run = make_run(
        *(
            make_scores(0.5, 0.4),
            Accuracy(every=1, split="train"),
            EarlyStop(patience=1),
            Checkpoint(),
        ),
        epochs=9,
    )
    run.train()
    return run


def test_a_run_that_was_stopped_stays_so_where_no_more_epochs_are_wanted() -> None:
    run = stopped_at_2_of_9()
    # As if it had been killed before it was summed up, and after it was saved.
    (run.directory.path / "summary.json").unlink()
    plugins = [
        make_scores(0.5, 0.4),
        Accuracy(every=1, split="train"),
        EarlyStop(patience=1),
        Checkpoint(),
    ]
    resumed = Run.resume(run.directory.path, plugins=plugins, loaders=run.loaders)
    trained: list[int] = []
    resumed.trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda: trained.append(resumed.trainer.state.iteration)
    )

    summary = resumed.train()

    assert trained == []
    assert (summary["status"], summary["epochs"]) == ("completed", 2)
    assert summary["plugins"]["early-stop"] == {"stopped_epoch": 2, "best_accuracy": 0.5}


def test_a_run_that_was_stopped_is_saved_where_it_ended() -> None:
    run = make_run(
        *(make_scores(0.5, 0.4), Accuracy(every=1, split="train"), EarlyStop(patience=1)),
        *(Checkpoint(every=9, seconds=1e6),),
        epochs=9,
    )
    run.train()

    (path,) = run.directory.checkpoints()
    content = checkpoint.read(path)
    assert (content["epoch"], content["iteration"], content["ended"]) == (2, 8, True)
    states = {each["name"]: each["state"] for each in content["plugins"]}
    assert states["early-stop"]["stopped_epoch"] == 2


@pytest.mark.parametrize(
    ("accuracies", "epoch", "best"),
    [
        # An improvement begins the count anew; without one the first measurement ends it.
        ((0.5, 0.4, 0.6, 0.7, 0.65, 0.8), 5, 0.7),
        ((0.5, 0.4, 0.45, 0.8), 3, 0.5),
    ],
)
def test_a_run_that_was_stopped_trains_on_where_more_epochs_are_wanted(
    accuracies: tuple[float, ...], epoch: int, best: float
) -> None:
    run = stopped_at_2_of_9()
    plugins = [
        make_scores(*accuracies),
        Accuracy(every=1, split="train"),
        EarlyStop(patience=1),
        Checkpoint(),
    ]
    resumed = Run.resume(run.directory.path, epochs=10, plugins=plugins, loaders=run.loaders)

    summary = resumed.train()

    assert last_epoch(resumed) == summary["epochs"] == epoch
    assert summary["plugins"]["early-stop"] == {"stopped_epoch": epoch, "best_accuracy": best}


def test_a_run_that_trains_on_to_its_last_epoch_was_not_stopped() -> None:
    run = stopped_at_2_of_9()
    scores = make_scores(0.5, 0.4, *(0.5 + index / 100 for index in range(1, 9)))
    plugins = [scores, Accuracy(every=1, split="train"), EarlyStop(patience=1), Checkpoint()]
    resumed = Run.resume(run.directory.path, epochs=10, plugins=plugins, loaders=run.loaders)

    summary = resumed.train()

    assert summary["epochs"] == 10
    assert summary["plugins"]["early-stop"] == {}


def test_taking_its_state_back_ends_nothing() -> None:
    stopped = stopped_at_2_of_9().plugins["early-stop"].state_dict()
    run = make_run(Accuracy(every=1, split="train"), EarlyStop(patience=1), out=Path("other"))

    run.plugins["early-stop"].load_state_dict(stopped)

    assert not run.trainer.should_terminate
    assert run.plugins["early-stop"].summary() == {}
