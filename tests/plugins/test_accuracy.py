"""Tests of the plugin `accuracy`."""

from typing import Any

import pytest
import torch
from conftest import Batches, MakeBatches, MakeConfig
from ignite.engine import Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.checkpoint import Checkpoint
from torch.utils.data import DataLoader, TensorDataset

from ignite_threenet import ConfigError, OptionError, Run, RunInterruptedError

Loaders = dict[str, Batches]


@pytest.fixture
def loaders(make_batches: MakeBatches) -> Loaders:
    return {"train": make_batches(), "test": make_batches(count=2, seed=1)}


def measured_epochs(run: Run, split: str = "train") -> list[int]:
    return [measurement.epoch for measurement in run.history.of_split(split)]


@pytest.mark.parametrize(
    ("every", "epochs", "expected"),
    [(2, 5, [2, 4, 5]), (2, 4, [2, 4]), (1, 3, [1, 2, 3]), (20, 3, [3]), (20, 21, [20, 21])],
)
def test_measures_every_few_epochs_and_the_last_one_once(
    loaders: Loaders, make_config: MakeConfig, every: int, epochs: int, expected: list[int]
) -> None:
    run = Run(make_config(epochs=epochs), [Accuracy(every=every)], loaders=loaders)
    run.train()

    assert measured_epochs(run) == expected


def test_measures_the_training_set_every_20_epochs_by_default() -> None:
    accuracy = Accuracy()

    assert (accuracy.every, accuracy.split) == (20, "train")


@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED(once=11), Events.EPOCH_COMPLETED])
def test_measures_once_more_when_training_is_terminated(
    loaders: Loaders, make_config: MakeConfig, event: Events
) -> None:
    def terminate_in_epoch_3() -> None:
        if run.trainer.state.epoch == 3:
            run.trainer.terminate()

    run = Run(make_config(epochs=9), [Accuracy(every=2)], loaders=loaders)
    run.trainer.add_event_handler(event, terminate_in_epoch_3)
    run.train()

    assert measured_epochs(run) == [2, 3]


def test_does_not_measure_twice_where_training_is_terminated_after_a_measurement(
    loaders: Loaders, make_config: MakeConfig
) -> None:
    run = Run(make_config(epochs=9), [Accuracy(every=2)], loaders=loaders)
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=4), lambda: run.trainer.terminate())
    run.train()

    assert measured_epochs(run) == [2, 4]


def test_measures_the_split_that_was_chosen(loaders: Loaders, make_config: MakeConfig) -> None:
    loaders["valid"] = loaders["test"]
    run = Run(make_config(), [Accuracy(every=2, split="valid")], loaders=loaders)
    run.train()

    assert measured_epochs(run, "valid") == [2, 3]
    assert measured_epochs(run, "train") == []


def test_the_measured_accuracy_is_that_of_the_model(
    loaders: Loaders, make_config: MakeConfig
) -> None:
    run = Run(make_config(), [Accuracy(every=3)], loaders=loaders)
    run.train()
    inputs, targets = (torch.cat(parts) for parts in zip(*loaders["train"], strict=True))
    right = (run.model(inputs).argmax(dim=1) == targets).sum().item()

    (measurement,) = run.history.of_split("train")
    assert measurement.metrics["accuracy"] == right / 64


def test_refuses_a_split_that_the_run_does_not_have(
    loaders: Loaders, make_config: MakeConfig
) -> None:
    with pytest.raises(ConfigError) as caught:
        Run(make_config(), [Accuracy(split="valid")], loaders=loaders)

    message = str(caught.value)
    assert message.startswith("accuracy.split: this run has no split 'valid', only train, test")


def test_does_not_send_who_brings_loaders_to_an_option_that_needs_a_dataset(
    loaders: Loaders, make_config: MakeConfig
) -> None:
    with pytest.raises(ConfigError) as caught:
        Run(make_config(), [Accuracy(split="valid")], loaders=loaders)

    assert "--valid-size" not in str(caught.value)


@pytest.mark.parametrize("options", [{"every": 0}, {"every": -1}, {"split": "dev"}])
def test_refuses_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Accuracy(**options)


def test_measuring_changes_nothing_of_the_training(
    loaders: Loaders, make_config: MakeConfig
) -> None:
    inputs, targets = (torch.cat(parts) for parts in zip(*loaders["train"], strict=True))

    def trained_weights(out: str, *plugins: Accuracy) -> dict[str, torch.Tensor]:
        # A loader that draws its order from the generator that training draws from too.
        loader: Any = DataLoader(TensorDataset(inputs, targets), batch_size=16, shuffle=True)
        run = Run(make_config(out=out), plugins, loaders={"train": loader})
        run.train()
        return run.model.state_dict()

    without, measured = trained_weights("without"), trained_weights("with", Accuracy(every=1))
    assert all(torch.equal(measured[name], without[name]) for name in without)


@pytest.mark.parametrize("iteration", [6, 16, 20])
def test_a_resumed_run_measures_the_same_epochs(
    loaders: Loaders, make_config: MakeConfig, iteration: int
) -> None:
    run = Run(make_config(epochs=5), [Accuracy(every=2), Checkpoint()], loaders=loaders)
    event = Events.ITERATION_COMPLETED(once=iteration)
    run.trainer.add_event_handler(event, lambda: run.interrupt())
    with pytest.raises(RunInterruptedError):
        run.train()

    resumed = Run.resume(run.directory.path, loaders=loaders)
    resumed.train()

    assert measured_epochs(resumed) == [2, 4, 5]


def test_the_epoch_that_was_measured_last_is_remembered(
    loaders: Loaders, make_config: MakeConfig
) -> None:
    accuracy = Accuracy(every=2)
    run = Run(make_config(epochs=4), [accuracy], loaders=loaders)
    run.train()
    other = Accuracy(every=2)
    fresh = Run(make_config(out=None), [other], loaders=loaders)

    other.load_state_dict(accuracy.state_dict())

    fresh.trainer.state.epoch = 4
    other.measure_last(fresh.trainer, fresh)
    assert accuracy.state_dict() == {"measured_epoch": 4}
    assert measured_epochs(fresh) == []
