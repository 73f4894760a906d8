"""Tests of the plugin `accuracy`."""

from typing import Any

import pytest
import torch
from helpers import make_run, train_until
from ignite.engine import Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.best import Best
from ignite_threenet_plugins.early_stop import EarlyStop
from torch.utils.data import DataLoader, TensorDataset

from ignite_threenet import ConfigError, OptionError, Plugin, Run
from ignite_threenet.testing import run_plugin, tiny_loaders


def measured_epochs(run: Run, split: str = "train") -> list[int]:
    return [measurement.epoch for measurement in run.history.of_split(split)]


@pytest.mark.parametrize(
    ("every", "epochs", "expected"),
    [
        (1, 3, [1, 2, 3]),
        (2, 4, [2, 4]),
        (2, 5, [2, 4, 5]),
        (20, 1, [1]),
        (20, 21, [20, 21]),
    ],
)
def test_measures_every_few_epochs_and_the_last_one_once(
    every: int, epochs: int, expected: list[int]
) -> None:
    run = run_plugin(Accuracy(every=every), [0.5] * epochs)

    assert measured_epochs(run) == expected


def test_measures_the_training_set_every_20_epochs_by_default() -> None:
    accuracy = Accuracy()

    assert (accuracy.every, accuracy.split) == (20, None)


def test_measures_what_is_held_out_after_each_epoch_by_default() -> None:
    run = make_run("accuracy")
    run.train()

    measured = [(each.split, each.epoch) for each in run.history.measurements if not each.final]
    assert measured == [("valid", 1), ("valid", 2), ("valid", 3), ("train", 3)]


def test_measures_no_split_twice_that_somebody_has_measured() -> None:
    run = make_run("first=accuracy", "accuracy", "best")
    run.train()

    measured = [(each.split, each.epoch) for each in run.history.measurements if not each.final]
    assert measured == [("valid", 1), ("valid", 2), ("valid", 3), ("train", 3)]


@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED(once=11), Events.EPOCH_COMPLETED])
def test_measures_once_more_when_training_is_terminated(event: Events) -> None:
    def terminate_in_epoch_3() -> None:
        if run.trainer.state.epoch == 3:
            run.trainer.terminate()

    run = make_run(Accuracy(every=2), epochs=9)
    run.trainer.add_event_handler(event, terminate_in_epoch_3)
    run.train()

    assert measured_epochs(run) == [2, 3]


def test_does_not_measure_twice_where_training_is_terminated_after_a_measurement() -> None:
    run = make_run(Accuracy(every=2), epochs=9)
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=4), lambda: run.trainer.terminate())
    run.train()

    assert measured_epochs(run) == [2, 4]


def test_measures_the_split_that_was_chosen() -> None:
    run = run_plugin(Accuracy(every=2, split="valid"))

    assert measured_epochs(run, "valid") == [2, 3]
    assert measured_epochs(run, "train") == []


def test_the_measured_accuracy_is_that_of_the_model() -> None:
    loaders = tiny_loaders()
    run = make_run(Accuracy(every=3), loaders=loaders)
    run.train()
    inputs, targets = (torch.cat(parts) for parts in zip(*loaders["train"], strict=True))
    right = (run.model(inputs).argmax(dim=1) == targets).sum().item()

    (measurement,) = run.history.of_split("train")
    assert measurement.metrics["accuracy"] == right / 64


def test_refuses_a_split_that_the_run_does_not_have() -> None:
    loaders = tiny_loaders()
    del loaders["valid"]
    with pytest.raises(ConfigError) as caught:
        make_run(Accuracy(split="valid"), loaders=loaders)

    # And nothing of --valid-size, which needs a dataset.
    assert str(caught.value) == "accuracy.split: this run has no split 'valid', only train, test"


# Who watches it


class Elsewhere(Plugin):
    """Stands in for the plugin, and has no split to choose."""

    name = "accuracy"

    def attach(self, run: Run) -> None:
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: run.evaluate("train"))


def watched_by(plugin: Plugin, run: Run) -> list[str]:
    """Name the engines that a plugin listens to, but for the trainer."""
    engines = dict.fromkeys(each.engine for each in run.registrations if each.owner == plugin.name)
    return [name for name in engines if name != "trainer"]


@pytest.mark.parametrize("watcher", [Best, EarlyStop])
@pytest.mark.parametrize(
    ("measured", "own", "watched"),
    [
        (None, None, "valid"),
        ("train", None, "train"),
        ("valid", None, "valid"),
        ("train", "valid", "valid"),
        ("valid", "test", "test"),
    ],
)
def test_its_split_is_watched_unless_another_is_chosen_and_that_is_measured(
    caplog: pytest.LogCaptureFixture, watcher: Any, measured: Any, own: str | None, watched: str
) -> None:
    plugin = watcher(split=own)
    run = make_run(Accuracy(split=measured), plugin)
    run.train()

    assert watched_by(plugin, run) == [f"evaluators[{watched}]"]
    assert any(each.split == watched and not each.final for each in run.history.measurements)
    assert not [each for each in caplog.messages if "measure" in each]


def test_a_watched_split_that_only_another_watches_is_nobodys_default() -> None:
    loaders = {split: each for split, each in tiny_loaders().items() if split != "valid"}
    best = Best()
    run = make_run("accuracy", EarlyStop(split="test"), best, loaders=loaders)

    assert watched_by(best, run) == ["evaluators[train]"]


@pytest.mark.parametrize("watcher", [Best, EarlyStop])
@pytest.mark.parametrize(("own", "watched"), [(None, "train"), ("test", "test")])
def test_another_one_may_measure_whatever_is_watched(
    caplog: pytest.LogCaptureFixture, watcher: Any, own: str | None, watched: str
) -> None:
    plugin = watcher(split=own)
    run = make_run(Elsewhere(), plugin)

    assert watched_by(plugin, run) == [f"evaluators[{watched}]"]
    assert caplog.messages == []


@pytest.mark.parametrize("options", [{"every": 0}, {"every": -1}, {"split": "dev"}])
def test_refuses_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Accuracy(**options)


def test_measuring_changes_nothing_of_the_training() -> None:
    inputs, targets = (torch.cat(parts) for parts in zip(*tiny_loaders()["train"], strict=True))

    def trained_weights(out: str, *plugins: Accuracy) -> dict[str, torch.Tensor]:
        # A loader that draws its order from the generator that training draws from too.
        loader: Any = DataLoader(TensorDataset(inputs, targets), batch_size=16, shuffle=True)
        run = make_run(*plugins, out=out, loaders={"train": loader})
        run.train()
        return run.model.state_dict()

    without, measured = trained_weights("without"), trained_weights("with", Accuracy(every=1))
    assert all(torch.equal(measured[name], without[name]) for name in without)


@pytest.mark.parametrize("iteration", [6, 16, 20])
def test_a_resumed_run_measures_the_same_epochs(iteration: int) -> None:
    run = make_run(Accuracy(every=2), "checkpoint", epochs=5)
    train_until(run, Events.ITERATION_COMPLETED(once=iteration))

    resumed = Run.resume(run.directory.path, loaders=run.loaders)
    resumed.train()

    assert measured_epochs(resumed) == [2, 4, 5]


def test_the_epoch_that_was_measured_last_is_remembered() -> None:
    accuracy, other = Accuracy(every=2), Accuracy(every=2)
    run_plugin(accuracy, [0.5] * 4)
    fresh = make_run(other, out=None)

    other.load_state_dict(accuracy.state_dict())

    fresh.recorder.iteration = accuracy.state_dict()["measured_at"]["train"]
    other.measure(fresh.trainer, fresh, "train")
    assert measured_epochs(fresh) == []
