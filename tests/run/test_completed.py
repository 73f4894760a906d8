"""Tests of a run that had completed and is opened again, and of what belongs to one run alone."""

from pathlib import Path
from typing import Any

import pytest
from helpers import assert_same_weights, make_run
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.checkpoint import Checkpoint
from torch import nn
from torch.optim import SGD

from ignite_threenet import ConfigError, Run, RunConfig
from ignite_threenet.errors import PluginChoiceError
from ignite_threenet.testing import tiny_loaders


@pytest.mark.parametrize(
    "plugins", [["accuracy"], ["accuracy", "best"], ["accuracy", "ema"], ["best", "ema"]], ids=str
)
def test_a_completed_run_is_what_it_was(plugins: list[str]) -> None:
    run = make_run(*plugins, Checkpoint(seconds=0))
    summary = run.train()

    opened = Run.resume("run", plugins=[*plugins, Checkpoint(seconds=0)], loaders=tiny_loaders())

    assert_same_weights(opened.model.state_dict(), run.model.state_dict())
    assert opened.history.epochs == run.history.epochs
    assert opened.history.measurements == run.history.measurements
    for split in ("train", "valid", "test"):
        assert opened.evaluators[split].state.metrics == run.evaluators[split].state.metrics
    assert opened.recorder.iteration == 12
    assert opened.train() == summary
    assert opened.directory.read_summary() == summary


def test_more_epochs_train_on_from_the_last_weights_and_not_from_the_best() -> None:
    plugins: list[Any] = ["accuracy", "best"]
    make_run(*plugins, Checkpoint(seconds=0)).train()
    whole = make_run(*plugins, Checkpoint(seconds=0), epochs=5, out=Path("whole"))
    whole.train()

    longer = Run.resume(
        "run", plugins=[*plugins, Checkpoint(seconds=0)], loaders=tiny_loaders(), epochs=5
    )
    longer.train()

    assert_same_weights(longer.model.state_dict(), whole.model.state_dict())


class Lasting(list[Any]):
    """Batches of workers that outlive an epoch, as a DataLoader may have them."""

    persistent_workers = True


def test_workers_that_outlive_an_epoch_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    loaders = {"train": Lasting(tiny_loaders()["train"])}
    make_run(Checkpoint(seconds=0), loaders=loaders, epochs=1).train()

    Run.resume("run", plugins=[Checkpoint(seconds=0)], loaders=loaders, epochs=2).train()

    assert "the loader of the split 'train' has persistent workers: what they draw" in caplog.text


@pytest.mark.parametrize("first", ["made", "trained"])
def test_a_plugin_takes_part_in_one_run(first: str) -> None:
    accuracy = Accuracy()
    run = make_run(accuracy, out=Path("first"))
    if first == "trained":
        run.train()

    with pytest.raises(
        PluginChoiceError, match=r"takes part in another run; make a new one for each$"
    ):
        make_run(accuracy)


def test_an_optimizer_takes_part_in_one_run() -> None:
    model = nn.Linear(784, 10)
    optimizer = SGD(model.parameters(), lr=0.1)

    def make(out: str) -> Run:
        config = RunConfig(epochs=1, out=Path(out))
        return Run(config, model=model, optimizer=lambda _: optimizer, loaders=tiny_loaders())

    make("first")
    with pytest.raises(ConfigError, match=r"^optimizer: another run has this one; make a new one"):
        make("second")
