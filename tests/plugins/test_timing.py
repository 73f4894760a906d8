"""Tests of the plugin `timing`."""

import logging
from collections.abc import Callable

import pytest
from conftest import Clock
from helpers import SlowLoader, make_run
from ignite.engine import Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.timing import Timing

from ignite_threenet import Plugin, Run
from ignite_threenet.testing import tiny_loaders

TimedRun = Callable[..., Run]


class Slow(Plugin):
    """Takes its time at each of its steps."""

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.seconds: dict[str, float] = {}

    def attach(self, run: Run) -> None:
        self._take("attach")
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self._take, "epoch")

    def close(self, error: BaseException | None) -> None:
        self._take("close")

    def _take(self, step: str) -> None:
        self.clock.take(self.seconds.get(step, 0.0))


@pytest.fixture
def timed_run(clock: Clock) -> TimedRun:
    """Make a run of 3 epochs that train for 4 s, and measure for 10 s at epochs 2 and 3."""

    def make(**seconds: float) -> Run:
        slow = Slow()
        slow.clock, slow.seconds = clock, seconds
        batches = tiny_loaders()
        loaders = {
            "train": SlowLoader(batches["train"], clock, 1.0),
            "test": SlowLoader(batches["test"], clock, 2.5),
        }
        return make_run(Timing(), slow, Accuracy(every=2, split="test"), loaders=loaders)

    return make


def test_time_is_split_among_training_measuring_and_plugins(timed_run: TimedRun) -> None:
    facts = timed_run(epoch=100.0).train()["plugins"]["timing"]

    assert facts["seconds"] == 3 * 4 + 3 * 10 + 3 * 100
    assert facts["seconds_by_part"] == {
        "training": 12.0,
        "measuring": 30.0,
        "timing": 0.0,
        "slow": 300.0,
        "accuracy": 0.0,
    }


def test_time_counts_from_the_start_of_the_training(timed_run: TimedRun, clock: Clock) -> None:
    run = timed_run()
    clock.take(1000.0)
    facts = run.train()["plugins"]["timing"]

    assert facts["seconds"] == 42.0


@pytest.mark.parametrize("step", ["attach", "close"])
def test_what_a_plugin_does_outside_of_the_training_is_not_taken_from_it(
    timed_run: TimedRun, step: str
) -> None:
    facts = timed_run(**{step: 1000.0}).train()["plugins"]["timing"]

    assert facts["seconds_by_part"]["training"] == 12.0


@pytest.mark.parametrize("step", ["attach", "close"])
def test_the_parts_sum_to_the_whole(timed_run: TimedRun, step: str) -> None:
    facts = timed_run(**{step: 1000.0}).train()["plugins"]["timing"]

    assert sum(facts["seconds_by_part"].values()) == facts["seconds"]


def test_a_plugin_that_closes_after_timing_takes_nothing_from_the_training(clock: Clock) -> None:
    slow = Slow()
    slow.clock, slow.seconds = clock, {"close": 1000.0}
    loaders = {"train": SlowLoader(tiny_loaders()["train"], clock, 1.0)}
    facts = make_run(slow, Timing(), loaders=loaders).train()["plugins"]["timing"]

    assert facts["seconds_by_part"]["training"] == 12.0


def test_facts_of_an_epoch_and_of_a_measurement_are_medians(timed_run: TimedRun) -> None:
    facts = timed_run(epoch=100.0).train()["plugins"]["timing"]

    assert facts["epoch_seconds"] == 4.0
    assert facts["measurement_seconds"] == 10.0
    assert facts["samples_per_second"] == 16.0


def test_reports_two_lines_at_the_end(
    timed_run: TimedRun, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ignite_threenet.timing")
    timed_run(epoch=26.0).train()

    messages = [each.getMessage() for each in caplog.records if "timing" in each.name]
    assert messages == [
        "timing: 4.000 s an epoch, 16 samples/s; 3 measurements of 10.000 s; 120.0 s in all",
        "timing: training 10.0%, measuring 25.0%, timing 0.0%, slow 65.0%, accuracy 0.0%",
    ]


def test_reports_a_run_without_measurements(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="ignite_threenet.timing")
    loaders = {"train": SlowLoader(tiny_loaders()["train"], clock, 1.0)}
    facts = make_run(Timing(), loaders=loaders).train()["plugins"]["timing"]

    assert facts["measurement_seconds"] is None
    assert [each.getMessage() for each in caplog.records if "timing" in each.name] == [
        "timing: 4.000 s an epoch, 16 samples/s; 12.0 s in all",
        "timing: training 100.0%, measuring 0.0%, timing 0.0%",
    ]


def test_reports_also_a_run_that_was_interrupted(
    timed_run: TimedRun, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    caplog.set_level(logging.INFO, logger="ignite_threenet.timing")
    run = timed_run()
    run.trainer.add_event_handler(Events.EPOCH_STARTED(once=2), interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.train()

    assert "timing: 4.000 s an epoch, 16 samples/s; 4.0 s in all" in caplog.text


def test_says_nothing_of_a_run_without_an_epoch(
    timed_run: TimedRun, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    caplog.set_level(logging.INFO, logger="ignite_threenet.timing")
    run = timed_run()
    run.trainer.add_event_handler(Events.STARTED, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.train()

    assert run.plugins["timing"].summary() == {}
    assert [each for each in caplog.records if each.name == "ignite_threenet.timing"] == []
