"""Tests of the plugin `best`."""

import json
from typing import Any, Literal

import pytest
import safetensors.torch
import torch
from helpers import make_run, make_scores, train_until
from ignite.engine import Engine, Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.best import Best
from torch import Tensor

from ignite_threenet import DivergedError, Plugin, Run, load_weights, option

Split = Literal["train", "valid", "test"]
Weights = dict[str, Tensor]


class Poison(Plugin):
    """Makes the weights useless at the end of an epoch."""

    epoch: int = option(2, help="epoch")
    value: str = option("nan", help="what the weights become")

    def attach(self, run: Run) -> None:
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=self.epoch), self._spoil, run)

    def _spoil(self, run: Run) -> None:
        with torch.no_grad():
            next(run.model.parameters())[0, 0] = float(self.value)


class Diary(Plugin):
    """Keeps the weights of each epoch."""

    def attach(self, run: Run) -> None:
        self.weights: dict[int, Weights] = {}
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self._note, run)

    def _note(self, trainer: Engine, run: Run) -> None:
        state = run.model.state_dict()
        self.weights[trainer.state.epoch] = {name: each.clone() for name, each in state.items()}


class Experiment:
    """A run whose accuracies are given, with the weights of each of its epochs."""

    def __init__(self, run: Run, diary: Diary) -> None:
        self.run = run
        self._diary = diary

    def epoch_of(self, weights: Weights) -> int:
        """Find the epoch that ended with these weights."""
        (found,) = [
            epoch
            for epoch, others in self._diary.weights.items()
            if all(torch.equal(weights[name], others[name]) for name in others)
        ]
        return found

    @property
    def epoch_of_model(self) -> int:
        return self.epoch_of(self.run.model.state_dict())

    @property
    def epoch_of_file(self) -> int:
        return self.epoch_of(torch.load(self.run.directory.path / "best.pt", weights_only=True))


def make_experiment(
    *scores: float,
    epochs: int | None = None,
    before: tuple[Plugin, ...] = (),
    best: Best | None = None,
    split: Split = "train",
) -> Experiment:
    diary = Diary()
    scripted = make_scores(*scores, split=split)
    plugins = [diary, *before, scripted, Accuracy(every=1, split=split), best or Best()]
    return Experiment(make_run(*plugins, epochs=epochs or len(scores)), diary)


def read_summary(run: Run) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run.directory.path / "summary.json").read_text())
    return summary


def test_requires_the_plugin_that_measures() -> None:
    assert list(make_run("best").plugins) == ["accuracy", "best"]


@pytest.mark.parametrize(
    ("scores", "epoch"),
    [
        ((0.3, 0.2, 0.1), 1),
        ((0.1, 0.3, 0.2), 2),
        ((0.1, 0.2, 0.3), 3),
        ((0.0, 0.0, 0.0), 3),
        ((0.3, 0.3, 0.1), 2),
    ],
)
def test_the_run_ends_with_the_model_of_the_highest_accuracy_the_later_of_equals(
    scores: tuple[float, ...], epoch: int
) -> None:
    experiment = make_experiment(*scores)
    experiment.run.train()

    assert experiment.epoch_of_model == epoch
    assert experiment.epoch_of_file == epoch


def test_the_file_holds_the_weights_of_the_final_model() -> None:
    run = make_experiment(0.1, 0.3, 0.2).run
    run.train()
    weights = torch.load(run.directory.path / "best.pt", weights_only=True)

    assert list(weights) == list(run.model.state_dict())
    assert all(torch.equal(weights[name], each) for name, each in run.model.state_dict().items())


def test_all_ways_of_reading_the_weights_give_the_same() -> None:
    run = make_experiment(0.1, 0.3, 0.2).run
    run.train()
    path = run.directory.path

    for weights in (
        load_weights(path / "best.pt"),
        safetensors.torch.load_file(path / "best.safetensors"),
    ):
        assert weights.keys() == run.model.state_dict().keys()
        pairs = [(weights[name], each) for name, each in run.model.state_dict().items()]
        assert all(torch.equal(read, own) for read, own in pairs)


def test_the_best_model_is_the_one_that_is_tested() -> None:
    experiment = make_experiment(0.1, 0.3, 0.2)
    tested: list[int] = []
    experiment.run.evaluators["test"].add_event_handler(
        Events.STARTED, lambda: tested.append(experiment.epoch_of_model)
    )
    experiment.run.train()

    assert tested == [2]


def test_the_kept_weights_are_copies() -> None:
    best = Best()
    experiment = make_experiment(0.3, 0.2, best=best)
    experiment.run.train()

    assert best.weights is not None
    assert experiment.epoch_of(best.weights) == 1


def test_the_file_is_there_as_soon_as_something_was_measured() -> None:
    experiment = make_experiment(0.1, 0.3, 0.2)
    epochs_of_file: list[int] = []
    experiment.run.trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda: epochs_of_file.append(experiment.epoch_of_file)
    )
    experiment.run.train()

    assert epochs_of_file == [1, 2, 2]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_weights_that_are_not_finite_are_never_kept(value: str) -> None:
    experiment = make_experiment(0.1, 0.9, before=(Poison(epoch=2, value=value),))
    experiment.run.train()

    assert experiment.epoch_of_model == 1
    assert experiment.epoch_of_file == 1


def test_an_accuracy_that_is_not_a_number_is_never_the_best() -> None:
    experiment = make_experiment(float("nan"), 0.2, 0.1)
    experiment.run.train()

    assert experiment.epoch_of_model == 2


def test_the_best_model_survives_a_run_that_diverges() -> None:
    experiment = make_experiment(0.1, 0.9, epochs=5, before=(Poison(epoch=2),))
    with pytest.raises(DivergedError):
        experiment.run.train()

    summary = read_summary(experiment.run)
    assert experiment.epoch_of_file == 1
    assert summary["status"] == "diverged"
    assert summary["plugins"]["best"] == {
        "accuracy": 0.1,
        "epoch": 1,
        "split": "train",
        "file": "best.pt",
    }


def test_the_summary_says_which_model_was_kept() -> None:
    summary = make_experiment(0.1, 0.3, 0.2).run.train()

    assert summary["plugins"]["best"] == {
        "accuracy": 0.3,
        "epoch": 2,
        "split": "train",
        "file": "best.pt",
    }
    assert "best.pt" in summary["files"]


def test_follows_the_split_that_accuracy_measures() -> None:
    # The fourth score is that of the final test.
    experiment = make_experiment(0.1, 0.3, 0.2, 0.0, epochs=3, split="test")
    experiment.run.train()

    assert experiment.epoch_of_model == 2


def test_the_final_test_changes_nothing() -> None:
    experiment = make_experiment(0.1, 0.3, 0.2, 1.0, epochs=3, split="test")
    summary = experiment.run.train()

    assert summary["test"]["accuracy"] != 0.3
    assert summary["plugins"]["best"]["accuracy"] == 0.3
    assert experiment.epoch_of_model == 2
    assert experiment.epoch_of_file == 2


class MeasuresTest(Plugin):
    """Measures the test split after each epoch."""

    def attach(self, run: Run) -> None:
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: run.evaluate("test"))


class StandsIn(MeasuresTest):
    """Does so in the place of the plugin 'accuracy'."""

    name = "accuracy"


def test_can_watch_a_split_that_somebody_else_measures() -> None:
    diary = Diary()
    scores = make_scores(0.1, 0.3, 0.2, 0.0, split="test")
    run = make_run(
        diary, scores, MeasuresTest(), Accuracy(every=1, split="train"), Best(split="test")
    )
    run.train()

    assert Experiment(run, diary).epoch_of_model == 2
    assert len([each for each in run.history.measurements if each.split == "test"]) == 4


def test_what_is_held_out_is_watched_by_default() -> None:
    diary = Diary()
    run = make_run(diary, make_scores(0.1, 0.3, 0.2, split="valid"), "best")
    summary = run.train()

    assert Experiment(run, diary).epoch_of_model == 2
    assert summary["plugins"]["best"]["split"] == "valid"


def test_warns_where_nothing_was_measured_and_leaves_the_last_model(
    caplog: pytest.LogCaptureFixture,
) -> None:
    diary = Diary()
    run = make_run(diary, StandsIn(), Best(split="valid"))
    experiment = Experiment(run, diary)
    summary = run.train()

    messages = [each.getMessage() for each in caplog.records if each.name == "ignite_threenet.best"]
    assert messages == [
        "best: nothing was measured, so the run ends with its last model",
    ]
    assert experiment.epoch_of_model == 3
    assert summary["plugins"]["best"] == {}


def test_ends_with_the_best_model_also_when_training_is_terminated() -> None:
    experiment = make_experiment(0.3, 0.2, epochs=9)
    trainer = experiment.run.trainer
    trainer.add_event_handler(Events.EPOCH_COMPLETED(once=2), lambda: trainer.terminate())
    experiment.run.train()

    assert experiment.epoch_of_model == 1


def test_the_file_is_written_for_the_cpu() -> None:
    run = make_experiment(0.1).run
    run.train()
    weights = torch.load(run.directory.path / "best.pt", weights_only=True)

    assert {str(each.device) for each in weights.values()} == {"cpu"}


@pytest.mark.parametrize(("scores", "epoch"), [((0.3, 0.1, 0.2), 1), ((0.1, 0.2, 0.3), 3)])
def test_a_resumed_run_remembers_the_best_model(scores: tuple[float, ...], epoch: int) -> None:
    def plugins() -> list[str | Plugin]:
        return [diary, make_scores(*scores), Accuracy(every=1, split="train"), "best", "checkpoint"]

    diary = Diary()
    run = train_until(make_run(*plugins()), Events.EPOCH_COMPLETED(once=2))
    first, diary = diary.weights, Diary()
    resumed = Run.resume(run.directory.path, plugins=plugins(), loaders=run.loaders)
    summary = resumed.train()
    diary.weights |= first

    experiment = Experiment(resumed, diary)
    assert experiment.epoch_of_model == epoch
    assert experiment.epoch_of_file == epoch
    assert summary["plugins"]["best"] == {
        "accuracy": 0.3,
        "epoch": epoch,
        "split": "train",
        "file": "best.pt",
    }


def test_where_nothing_was_measured_there_is_no_model_to_remember() -> None:
    best, other = Best(), Best()
    make_experiment(0.1, best=best)
    make_experiment(0.1, best=other)

    other.load_state_dict(best.state_dict())

    assert (other.weights, other.accuracy, other.epoch) == (None, float("-inf"), 0)
