"""Tests of what is measured and where it is noted."""

import json
import math

import numpy as np
import pytest
import torch
from conftest import Clock
from ignite.engine import Engine, Events
from torch import Tensor

from ignite_threenet import DivergedError, EpochRecord, History, Measurement
from ignite_threenet.storage import checkpoint_file as checkpoint
from ignite_threenet.training import recorders
from ignite_threenet.training.recorders import EpochRecorder, MeasurementRecorder

LossAndTargets = tuple[Tensor, range]


def with_loss(loss: float, size: int = 1) -> LossAndTargets:
    """Make a batch that comes out with this loss."""
    return torch.tensor(loss), range(size)


def make_trainer(record_in: History) -> Engine:
    trainer = Engine(lambda engine, batch: batch[0])
    EpochRecorder(record_in).attach(trainer)
    return trainer


def train(*batches: LossAndTargets, epochs: int = 1) -> History:
    recorded = History()
    make_trainer(recorded).run(batches, max_epochs=epochs)
    return recorded


def measured(
    accuracy: float, epoch: int = 1, split: str = "train", *, final: bool = False
) -> Measurement:
    return Measurement(split, epoch, {"accuracy": accuracy}, seconds=0.5, final=final)


def finished(epoch: int) -> EpochRecord:
    return EpochRecord(epoch, 4 * epoch, loss=0.5, last_loss=0.25, seconds=1.5, samples=64)


def history_of(*measurements: Measurement) -> History:
    filled = History()
    for measurement in measurements:
        filled.add_measurement(measurement)
    return filled


# EpochRecorder


def test_an_epochs_loss_is_the_mean_over_its_samples() -> None:
    (epoch,) = train(with_loss(1.0, size=4), with_loss(2.0, size=4), with_loss(6.0, size=2)).epochs

    assert epoch.loss == 2.4
    assert epoch.last_loss == 6.0
    assert epoch.samples == 10


def test_iterations_are_counted_over_the_run_and_samples_over_the_epoch() -> None:
    epochs = train(with_loss(1.0, size=3), with_loss(1.0, size=2), epochs=3).epochs

    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    assert [epoch.iteration for epoch in epochs] == [2, 4, 6]
    assert [epoch.samples for epoch in epochs] == [5, 5, 5]


def test_an_epoch_begins_with_nothing_of_the_one_before() -> None:
    losses = iter([1.0, 3.0, 10.0, 30.0])
    recorded = History()
    trainer = Engine(lambda engine, batch: torch.tensor(next(losses)))
    EpochRecorder(recorded).attach(trainer)
    trainer.run([with_loss(0.0), with_loss(0.0)], max_epochs=2)

    assert [epoch.loss for epoch in recorded.epochs] == [2.0, 20.0]


@pytest.mark.parametrize("iterations", [999, 1000, 1001, 2500])
def test_an_epoch_may_have_more_iterations_than_are_kept(iterations: int) -> None:
    (epoch,) = train(*[with_loss(float(number)) for number in range(iterations)]).epochs

    assert epoch.loss == (iterations - 1) / 2
    assert epoch.last_loss == iterations - 1
    assert epoch.samples == iterations


def test_losses_are_fetched_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[int] = []
    fetch = Tensor.cpu

    def noted(tensor: Tensor) -> Tensor:
        fetched.append(len(tensor))
        return fetch(tensor)

    monkeypatch.setattr(Tensor, "cpu", noted)
    train(*[with_loss(1.0)] * 5, epochs=2)

    assert fetched == [5, 5]


def test_an_epochs_seconds_end_before_what_handlers_do_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0

    def take(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr("time.perf_counter", lambda: now)
    recorded = History()
    trainer = make_trainer(recorded)
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda: take(2.0))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: take(100.0))
    trainer.run([with_loss(1.0)] * 3, max_epochs=2)

    assert [epoch.seconds for epoch in recorded.epochs] == [6.0, 6.0]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_ends_the_run(loss: float) -> None:
    batches = [with_loss(1.0), with_loss(1.0), with_loss(loss), with_loss(1.0)]
    recorded = History()
    with pytest.raises(DivergedError) as caught:
        make_trainer(recorded).run(batches, max_epochs=2)

    assert (caught.value.epoch, caught.value.iteration) == (1, 3)
    assert str(caught.value.loss) == str(loss)
    assert str(caught.value) == (
        f"the loss became {loss} at epoch 1, iteration 3; "
        "a smaller learning rate (--lr) usually helps"
    )
    assert recorded.epochs == []


def test_divergence_is_dated_by_the_iteration_of_the_whole_run() -> None:
    losses = iter([1.0, 1.0, 1.0, 1.0, math.nan, math.nan])
    recorded = History()
    trainer = Engine(lambda engine, batch: torch.tensor(next(losses)))
    EpochRecorder(recorded).attach(trainer)
    with pytest.raises(DivergedError) as caught:
        trainer.run([with_loss(0.0)] * 3, max_epochs=2)

    assert (caught.value.epoch, caught.value.iteration) == (2, 5)
    assert [epoch.epoch for epoch in recorded.epochs] == [1]


@pytest.mark.parametrize("iteration", [4, 5, 8, 9])
def test_divergence_is_dated_rightly_on_both_sides_of_a_reading(
    monkeypatch: pytest.MonkeyPatch, iteration: int
) -> None:
    monkeypatch.setattr(recorders, "_ITERATIONS_BETWEEN_READS", 4)
    batches = [with_loss(1.0)] * 10
    batches[iteration - 1] = with_loss(math.nan)
    with pytest.raises(DivergedError) as caught:
        train(*batches)

    assert caught.value.iteration == iteration


def test_divergence_in_a_long_epoch_is_seen_before_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorders, "_ITERATIONS_BETWEEN_READS", 4)
    trainer = make_trainer(History())
    with pytest.raises(DivergedError):
        trainer.run([with_loss(math.nan)] * 100)

    assert trainer.state.iteration == 4


def test_an_epoch_goes_on_in_another_recorder(clock: Clock) -> None:
    first, second = History(), History()
    stopped, resumed = EpochRecorder(first), EpochRecorder(second)
    trainer = Engine(lambda engine, batch: batch[0])
    stopped.attach(trainer)
    clock.take(2.0)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), trainer.interrupt)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: clock.take(1.0))
    trainer.run([with_loss(1.0, size=4), with_loss(2.0, size=4), with_loss(6.0, size=2)])

    saved = checkpoint.decode(checkpoint.encode(stopped.state_dict()))
    clock.take(100.0)
    trainer = Engine(lambda engine, batch: batch[0])
    resumed.attach(trainer)
    trainer.add_event_handler(
        Events.EPOCH_STARTED, lambda: resumed.load_state_dict(saved, torch.device("cpu"))
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: clock.take(1.0))
    trainer.run([with_loss(6.0, size=2)])

    (epoch,) = second.epochs
    assert (epoch.loss, epoch.last_loss, epoch.samples, epoch.seconds) == (2.4, 6.0, 10, 3.0)


@pytest.mark.parametrize("between_reads", [1, 2, 1000])
def test_a_recorder_that_has_read_some_losses_goes_on_too(
    monkeypatch: pytest.MonkeyPatch, between_reads: int
) -> None:
    monkeypatch.setattr(recorders, "_ITERATIONS_BETWEEN_READS", between_reads)
    recorded = History()
    recorder = EpochRecorder(recorded)

    def save_and_load() -> None:
        saved = checkpoint.decode(checkpoint.encode(recorder.state_dict()))
        recorder.load_state_dict(saved, torch.device("cpu"))

    trainer = Engine(lambda engine, batch: batch[0])
    recorder.attach(trainer)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, save_and_load)
    trainer.run([with_loss(1.0, size=4), with_loss(2.0, size=4), with_loss(6.0, size=2)])

    assert (recorded.epochs[0].loss, recorded.epochs[0].samples) == (2.4, 10)


# MeasurementRecorder


@pytest.fixture
def evaluator() -> Engine:
    def evaluate(engine: Engine, batch: float) -> None:
        engine.state.metrics["accuracy"] = batch

    return Engine(evaluate)


def test_a_measurement_has_the_trainers_epoch(evaluator: Engine) -> None:
    recorded, trainer = History(), Engine(lambda engine, batch: None)
    MeasurementRecorder(recorded, "valid", trainer).attach(evaluator)
    trainer.add_event_handler(Events.EPOCH_COMPLETED(every=2), lambda: evaluator.run([0.25]))
    trainer.run([0], max_epochs=4)

    assert [each.epoch for each in recorded.measurements] == [2, 4]
    assert {each.split for each in recorded.measurements} == {"valid"}


def test_a_measurement_keeps_its_metrics_when_the_next_one_is_made(evaluator: Engine) -> None:
    recorded = History()
    MeasurementRecorder(recorded, "test", Engine(lambda engine, batch: None)).attach(evaluator)
    evaluator.run([0.25])
    evaluator.run([0.75])

    assert [each.metrics for each in recorded.measurements] == [
        {"accuracy": 0.25},
        {"accuracy": 0.75},
    ]


def test_measurements_after_the_training_are_final(evaluator: Engine) -> None:
    recorded = History()
    MeasurementRecorder(recorded, "test", Engine(lambda engine, batch: None)).attach(evaluator)
    evaluator.run([0.25])
    recorded.end_training()
    evaluator.run([0.75])

    assert [each.final for each in recorded.measurements] == [False, True]


def test_a_measurements_seconds_are_those_of_one_pass(
    evaluator: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([10.0, 12.5, 100.0, 101.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    recorded = History()
    MeasurementRecorder(recorded, "test", Engine(lambda engine, batch: None)).attach(evaluator)
    evaluator.run([0.5])
    evaluator.run([0.5])

    assert [each.seconds for each in recorded.measurements] == [2.5, 1.0]


def test_a_metric_that_numpy_computed_is_kept_as_a_plain_number() -> None:
    recorded = History()
    evaluator = Engine(lambda engine, batch: engine.state.metrics.update(roc_auc=np.float64(0.5)))
    MeasurementRecorder(recorded, "test", Engine(lambda engine, batch: None)).attach(evaluator)
    evaluator.run([0])

    # Nothing else goes into a checkpoint.
    assert type(recorded.measurements[0].metrics["roc_auc"]) is float


# History


def test_records_are_points_on_curves_the_epochs_before_the_measurements() -> None:
    recorded = history_of(measured(0.5))
    recorded.add_epoch(EpochRecord(1, 4, 2.0, 1.0, seconds=1.5, samples=64, learning_rate=0.1))
    recorded.add_measurement(measured(0.75, split="test", final=True))

    assert list(recorded.points()) == [
        ("train", 1, {"loss": 2.0, "lr": 0.1}),
        ("measured/train", 1, {"accuracy": 0.5}),
        ("final/test", 1, {"accuracy": 0.75}),
    ]


def test_a_rate_that_is_not_known_is_no_point() -> None:
    recorded = History()
    recorded.add_epoch(finished(1))

    assert list(recorded.points()) == [("train", 1, {"loss": 0.5})]


def test_all_metrics_of_a_measurement_are_points() -> None:
    metrics = {"accuracy": 0.5, "loss": math.nan, "top5": 1}
    recorded = history_of(Measurement("valid", 2, metrics, seconds=0.5, final=False))

    assert list(recorded.points()) == [("measured/valid", 2, metrics)]


def test_who_counts_the_records_gets_each_of_them_once() -> None:
    recorded = History()
    read: list[tuple[str, int]] = []

    def read_new() -> None:
        read.extend((name, epoch) for name, epoch, _ in recorded.points(after=len(read)))

    for epoch in (1, 2):
        recorded.add_measurement(measured(0.25, epoch=epoch, split="test"))
        recorded.add_epoch(finished(epoch))
        read_new()
        recorded.add_measurement(measured(0.5, epoch=epoch))
        read_new()
        read_new()

    assert read == [
        *(("train", 1), ("measured/test", 1), ("measured/train", 1)),
        *(("train", 2), ("measured/test", 2), ("measured/train", 2)),
    ]


def test_best_is_the_measurement_with_the_highest_accuracy() -> None:
    filled = history_of(measured(0.1, epoch=1), measured(0.9, epoch=2), measured(0.5, epoch=3))

    assert filled.best("train") == measured(0.9, epoch=2)


def test_best_of_equals_is_the_later_one() -> None:
    filled = history_of(measured(0.9, epoch=1), measured(0.9, epoch=2), measured(0.5, epoch=3))

    assert filled.best("train") == measured(0.9, epoch=2)


def test_best_looks_at_its_own_split_alone() -> None:
    filled = history_of(measured(0.2, split="train"), measured(0.8, split="test"))

    assert filled.best("train") == measured(0.2, split="train")
    assert filled.best("valid") is None


def test_the_final_test_is_not_among_the_measurements_of_the_training() -> None:
    during, final = measured(0.5, split="test"), measured(0.9, split="test", final=True)
    filled = history_of(during, final)

    assert filled.of_split("test") == [during]
    assert filled.best("test") == during
    assert filled.final_test == final


def test_there_is_no_final_test_before_the_training_has_ended() -> None:
    assert history_of(measured(0.5, split="test")).final_test is None


def test_the_final_test_is_that_of_the_split_test() -> None:
    test = measured(0.9, split="test", final=True)

    assert history_of(test, measured(1.0, split="train", final=True)).final_test == test


def test_each_record_is_written_as_a_line_of_json() -> None:
    lines: list[str] = []
    recorded = History()
    recorded.write_to(lines.append)
    epoch = EpochRecord(3, 12, 0.5, 0.25, seconds=1.5, samples=64, learning_rate=0.1)
    recorded.add_epoch(epoch)
    recorded.add_measurement(measured(0.75, epoch=3))

    assert [json.loads(line) for line in lines] == [
        {
            "record": "epoch",
            "epoch": 3,
            "iteration": 12,
            "loss": 0.5,
            "last_loss": 0.25,
            "seconds": 1.5,
            "samples": 64,
            "learning_rate": 0.1,
        },
        {
            "record": "measurement",
            "split": "train",
            "epoch": 3,
            "metrics": {"accuracy": 0.75},
            "seconds": 0.5,
            "final": False,
        },
    ]
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_json_does_not_know_is_written_as_null(value: float) -> None:
    lines: list[str] = []
    recorded = History()
    recorded.write_to(lines.append)
    recorded.add_measurement(Measurement("train", 1, {"loss": value}, seconds=0.5, final=False))

    assert '"loss": null' in lines[0]


def test_nothing_is_written_where_nobody_asked_for_it() -> None:
    recorded = history_of(measured(0.5))
    lines: list[str] = []
    recorded.write_to(lines.append)

    assert lines == []
    assert recorded.measurements == [measured(0.5)]


def test_the_lines_so_far_are_those_that_were_written() -> None:
    written: list[str] = []
    recorded = History()
    recorded.write_to(written.append)
    for epoch in (1, 2):
        recorded.add_epoch(finished(epoch))
        recorded.add_measurement(measured(0.5, epoch=epoch))
        recorded.add_measurement(measured(0.25, epoch=epoch, split="test"))

    assert recorded.lines() == written


def test_a_measurement_in_mid_epoch_comes_before_the_epochs_line() -> None:
    written: list[str] = []
    recorded = History()
    recorded.write_to(written.append)
    recorded.add_measurement(measured(0.5, epoch=1))
    recorded.add_epoch(finished(1))

    assert recorded.lines() == written


def test_a_history_can_be_saved_and_taken_back() -> None:
    recorded, other = history_of(measured(0.5), measured(0.75, epoch=2)), History()
    recorded.add_epoch(finished(2))
    lines: list[str] = []
    other.write_to(lines.append)

    other.load_state_dict(checkpoint.decode(checkpoint.encode(recorded.state_dict())))

    assert other.epochs == recorded.epochs
    assert other.measurements == recorded.measurements
    assert other.lines() == recorded.lines()
    assert lines == []


def test_what_is_taken_back_replaces_what_was_there() -> None:
    kept, other = history_of(measured(0.5)), history_of(measured(0.75), measured(1.0))
    other.add_epoch(finished(1))

    other.load_state_dict(kept.state_dict())

    assert other.measurements == [measured(0.5)]
    assert other.epochs == []
