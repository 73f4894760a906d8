"""Tests of the plugin `ema`."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from helpers import make_run, make_scores, train_until
from ignite.engine import Engine, Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.best import Best
from ignite_threenet_plugins.ema import Ema
from torch import Tensor, nn

from ignite_threenet import OptionError, Plugin, Run
from ignite_threenet.testing import tiny_loaders
from ignite_threenet.training.engines import Batch

DECAY = 0.8  # low, so that an average of twelve iterations is far from where it began


def weights_of(model: nn.Module) -> Tensor:
    """Copy all of a model's numbers into one row."""
    return torch.cat([each.detach().flatten() for each in model.state_dict().values()])


def average_by_hand(weights: Sequence[Tensor], decay: float = DECAY, every: int = 1) -> Tensor:
    average, *rest = weights
    for count, own in enumerate(rest[every - 1 :: every]):
        share = min(decay, (1 + count) / (10 + count))
        average = share * average + (1 - share) * own
    return average


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


class Diary(Plugin):
    """Keeps the training's own weights: the first ones, and those after each iteration."""

    def attach(self, run: Run) -> None:
        self.weights = [weights_of(run.model)]
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED, self._note, run)

    def _note(self, trainer: Engine, run: Run) -> None:
        self.weights.append(weights_of(run.model))


class Witness(Plugin):
    """Keeps the weights that each measurement was made of, and that its listeners found."""

    def attach(self, run: Run) -> None:
        self.measured: list[tuple[str, int, Tensor]] = []
        self.found: list[tuple[str, int, Tensor]] = []
        for split, evaluator in run.evaluators.items():
            for event, notes in (
                (Events.ITERATION_COMPLETED(once=1), self.measured),
                (Events.COMPLETED, self.found),
            ):
                evaluator.add_event_handler(event, self._note, run, split, notes)

    def _note(
        self, evaluator: Engine, run: Run, split: str, notes: list[tuple[str, int, Tensor]]
    ) -> None:
        notes.append((split, run.trainer.state.iteration, weights_of(run.model)))


class MeasureAll(Plugin):
    """Measures every split in the middle of an epoch, and at its end."""

    def attach(self, run: Run) -> None:
        event = Events.ITERATION_COMPLETED(every=3) | Events.EPOCH_COMPLETED
        run.trainer.add_event_handler(event, self._measure, run)

    def _measure(self, run: Run) -> None:
        for split in run.evaluators:
            run.evaluate(split)


# What is measured


def test_every_measurement_and_its_listeners_see_the_average() -> None:
    diary, witness = Diary(), Witness()

    make_run(diary, Ema(decay=DECAY), MeasureAll(), witness).train()

    iterations = [3, 4, 6, 8, 9, 12, 12]
    expected = [(split, each) for each in iterations for split in ("train", "valid", "test")]
    for notes in (witness.measured, witness.found):
        assert [note[:2] for note in notes] == [*expected, ("test", 12)]
        for _, iteration, seen in notes:
            assert_close(seen, average_by_hand(diary.weights[: iteration + 1]))


def test_the_average_is_far_from_the_last_weights() -> None:
    diary = Diary()

    run = make_run(diary, Ema(decay=DECAY))
    run.train()

    assert (weights_of(run.model) - diary.weights[-1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    "plugins",
    [
        ("accuracy", "ema"),
        ("ema", "accuracy"),
        ("accuracy", "best", "ema"),
        ("accuracy", "ema", "best"),
        ("ema", "accuracy", "best"),
    ],
    ids=",".join,
)
def test_the_measurement_after_the_last_epoch_sees_the_average_in_any_order(
    plugins: tuple[str, ...],
) -> None:
    diary, witness = Diary(), Witness()
    by_name = {"accuracy": Accuracy(every=2), "best": Best(), "ema": Ema(decay=DECAY)}

    make_run(diary, *(by_name[name] for name in plugins), witness).train()

    split, iteration, seen = witness.measured[-2]
    assert (split, iteration) == ("train", 12)
    assert_close(seen, average_by_hand(diary.weights))


@pytest.mark.parametrize("every", [1, 3, 5, 12, 13])
def test_the_average_is_updated_every_so_many_iterations(every: int) -> None:
    diary = Diary()

    run = make_run(diary, Ema(decay=DECAY, every=every))
    run.train()

    assert_close(weights_of(run.model), average_by_hand(diary.weights, every=every))


def test_a_measurement_inside_another_sees_the_average_too() -> None:
    class MeasureTestToo(Plugin):
        def attach(self, run: Run) -> None:
            run.evaluators["train"].add_event_handler(Events.COMPLETED, self.measure, run)

        def measure(self, evaluator: Engine, run: Run) -> None:
            run.evaluate("test")

    witness, without = Witness(), Diary()

    make_run(MeasureTestToo(), Accuracy(every=1, split="train"), Ema(decay=DECAY), witness).train()
    make_run(without, force=True).train()

    assert [note[:2] for note in witness.measured[:4]] == [
        ("train", 4),
        ("test", 4),
        ("train", 8),
        ("test", 8),
    ]
    for _, iteration, seen in witness.measured:
        assert_close(seen, average_by_hand(without.weights[: iteration + 1]))


# What is trained


def test_training_goes_on_with_its_own_weights_bit_for_bit() -> None:
    with_ema, without = Diary(), Diary()

    make_run(with_ema, Ema(decay=DECAY), MeasureAll()).train()
    make_run(without, force=True).train()

    pairs = zip(with_ema.weights, without.weights, strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_buffers_are_the_trainings_own_too() -> None:
    def model() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(784, 10), nn.BatchNorm1d(10), nn.LogSoftmax(dim=1))

    with_ema, without = Diary(), Diary()

    make_run(with_ema, Ema(decay=DECAY, every=5), MeasureAll(), model=model()).train()
    make_run(without, force=True, model=model()).train()

    pairs = zip(with_ema.weights, without.weights, strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_measurement_that_fails_leaves_the_training_its_own_weights(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class FailsOnce:
        passes = 0

        def __iter__(self) -> Iterator[Batch]:
            self.passes += 1
            # In the first one the run has tried out a batch.
            if self.passes == 2:
                raise OSError("unplugged")
            return iter(tiny_loaders()["test"])

        def __len__(self) -> int:
            return 4

    class Show(Plugin):
        on_error = "detach"

        def attach(self, run: Run) -> None:
            run.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), self.measure, run)

        def measure(self, run: Run) -> None:
            run.evaluate("test")

    caplog.set_level(logging.CRITICAL)
    with_ema, without = Diary(), Diary()

    run = make_run(
        with_ema, Ema(decay=DECAY), Show(), loaders=tiny_loaders() | {"test": FailsOnce()}
    )
    summary = run.train()
    make_run(without, force=True).train()

    assert "unplugged" in summary["detached"]["show"]
    pairs = zip(with_ema.weights, without.weights, strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert_close(weights_of(run.model), average_by_hand(without.weights))


# What the run ends with


def test_the_run_ends_with_the_average_which_is_tested() -> None:
    diary, witness = Diary(), Witness()

    run = make_run(diary, Ema(decay=DECAY), witness)
    run.train()

    average = average_by_hand(diary.weights)
    ((split, _, tested),) = witness.measured
    assert split == "test"
    assert_close(weights_of(run.model), average)
    assert_close(tested, average)


def test_a_run_that_is_terminated_ends_with_the_average() -> None:
    diary = Diary()
    run = make_run(diary, Ema(decay=DECAY))
    trainer = run.trainer
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=6), lambda: trainer.terminate())

    run.train()

    assert len(diary.weights) == 7
    assert_close(weights_of(run.model), average_by_hand(diary.weights))


def test_weights_that_two_layers_share_are_averaged_too() -> None:
    first, second = nn.Linear(10, 10), nn.Linear(10, 10)
    second.weight = first.weight
    model = nn.Sequential(nn.Linear(784, 10), first, nn.Tanh(), second, nn.LogSoftmax(dim=1))
    diary = Diary()

    make_run(diary, Ema(decay=DECAY), model=model).train()

    assert_close(weights_of(model), average_by_hand(diary.weights))


@pytest.mark.parametrize("names", [("best", "ema"), ("ema", "best")], ids=",".join)
def test_with_best_the_file_and_the_final_model_are_the_average_of_the_best_epoch(
    names: tuple[str, str],
) -> None:
    diary, best = Diary(), Best()
    plugins = {"best": best, "ema": Ema(decay=DECAY)}

    run = make_run(
        *(diary, make_scores(0.1, 0.3, 0.2), Accuracy(every=1, split="train")),
        *(plugins[name] for name in names),
    )
    run.train()

    average = average_by_hand(diary.weights[:9])
    kept = torch.load(run.directory.path / "best.pt", weights_only=True)
    assert best.epoch == 2
    assert_close(weights_of(run.model), average)
    assert_close(torch.cat([each.flatten() for each in kept.values()]), average)


class StandsIn(Plugin):
    """Stands in for the plugin 'accuracy', and measures nothing."""

    name = "accuracy"

    def attach(self, run: Run) -> None:
        pass


def test_where_best_had_nothing_to_choose_from_the_run_ends_with_the_average(
    caplog: pytest.LogCaptureFixture,
) -> None:
    diary = Diary()

    run = make_run(diary, StandsIn(), Best(split="valid"), Ema(decay=DECAY))
    run.train()

    assert "best: nothing was measured, so the run ends with its last model" in caplog.messages
    assert_close(weights_of(run.model), average_by_hand(diary.weights))


@pytest.mark.parametrize(("every", "iteration"), [(1, 6), (5, 6), (5, 8), (1, 12)])
def test_a_resumed_run_ends_with_the_average_of_one_that_was_never_stopped(
    every: int, iteration: int
) -> None:
    whole = make_run(Accuracy(every=1), Ema(decay=DECAY, every=every), out="whole")
    whole.train()
    run = make_run(Accuracy(every=1), Ema(decay=DECAY, every=every), "checkpoint")
    train_until(run, Events.ITERATION_COMPLETED(once=iteration))

    resumed = Run.resume(run.directory.path, loaders=run.loaders)
    resumed.train()

    assert torch.equal(weights_of(resumed.model), weights_of(whole.model))


# Options


@pytest.mark.parametrize("options", [{"decay": 0.0}, {"decay": 1.0}, {"decay": 1.5}, {"every": 0}])
def test_a_value_that_no_average_can_have_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as raised:
        Ema(**options)

    (name,) = options
    assert raised.value.where == f"Ema.{name}"
    assert raised.value.problem == "is out of range"
