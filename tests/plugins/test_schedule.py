"""Tests of the plugin `schedule`."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from helpers import make_run, train_until
from ignite.engine import Engine, Events
from ignite_threenet_plugins.schedule import Schedule

from ignite_threenet import OptionError, Plugin, PluginFailedError, Run
from ignite_threenet.testing import assert_observes_only, tiny_loaders
from ignite_threenet.training.engines import Batch

PEAK = 0.1
KINDS = ("one-cycle", "cosine", "linear", "step", "constant")

# What follows the warm-up: the share of the peak, at one of so many iterations.
AFTER_THE_WARMUP: dict[str, Callable[[int, int], float]] = {
    "cosine": lambda index, count: (1 + math.cos(math.pi * index / count)) / 2,
    "linear": lambda index, count: 1 - index / count,
    "step": lambda index, count: 0.5 ** (3 * index // count),
    "constant": lambda index, count: 1.0,
}


class Rates(Plugin):
    """Writes down the rates, one for each group, of each iteration."""

    def attach(self, run: Run) -> None:
        self._of_groups: list[list[float]] = []
        run.trainer.add_event_handler(Events.ITERATION_STARTED, self._note, run)

    def _note(self, trainer: Engine, run: Run) -> None:
        self._of_groups.append([group["lr"] for group in run.optimizer.param_groups])

    @property
    def noted(self) -> list[float]:
        """The rate of each iteration, which all groups have."""
        assert all(len(set(groups)) == 1 for groups in self._of_groups)
        return [groups[0] for groups in self._of_groups]


def rates_of(
    schedule: Schedule, *, epochs: int = 6, length: int = 4, **options: Any
) -> list[float]:
    """Run a schedule, and give the rate of each iteration."""
    rates, loaders = Rates(), tiny_loaders(batches=length)
    make_run(schedule, rates, loaders=loaders, epochs=epochs, lr=PEAK, **options).train()
    return rates.noted


def rates_after(
    iteration: int, schedule: Schedule, *, longer: int | None = None, **options: Any
) -> list[float]:
    """Interrupt a run after an iteration, and give the rates that it has when it is resumed."""
    run = make_run(schedule, Rates(), "checkpoint", lr=PEAK, **options)
    train_until(run, Events.ITERATION_COMPLETED(once=iteration))
    rates = Rates()
    plugins = [dataclasses.replace(schedule), rates, "checkpoint"]
    path, loaders = run.directory.path, run.loaders
    Run.resume(path, epochs=longer, plugins=plugins, loaders=loaders).train()
    return rates.noted


def test_one_cycle_climbs_to_the_peak_and_falls_to_almost_nothing() -> None:
    rates = rates_of(Schedule(warmup=0.25))

    assert rates[0] == pytest.approx(PEAK / 25)
    assert rates[5] == pytest.approx(PEAK)
    assert all(one < next_one for one, next_one in pairwise(rates[:6]))
    assert all(one > next_one for one, next_one in pairwise(rates[5:]))
    assert 0 < rates[-1] < PEAK / 1000


@pytest.mark.parametrize(("warmup", "climb"), [(0.0, 0), (0.25, 6), (0.5, 12), (0.3, 7)])
@pytest.mark.parametrize("kind", AFTER_THE_WARMUP)
def test_the_rate_climbs_in_a_line_and_then_goes_on_by_its_kind(
    kind: Any, warmup: float, climb: int
) -> None:
    rates = rates_of(Schedule(kind=kind, warmup=warmup, gamma=0.5))

    rest = 24 - climb
    expected = [0.001 + 0.999 * index / climb for index in range(climb)]
    expected += [AFTER_THE_WARMUP[kind](index, rest) for index in range(rest)]
    assert rates == pytest.approx([PEAK * share for share in expected])


@pytest.mark.parametrize("warmup", [0.0, 0.25])
@pytest.mark.parametrize("kind", KINDS)
def test_the_highest_rate_is_the_runs(kind: Any, warmup: float) -> None:
    assert max(rates_of(Schedule(kind=kind, warmup=warmup))) == pytest.approx(PEAK)


@pytest.mark.parametrize(("drops", "epochs"), [(1, 3), (2, 1), (3, 3), (4, 3), (5, 2)])
def test_step_drops_as_often_as_it_is_told(drops: int, epochs: int) -> None:
    rates = rates_of(Schedule(kind="step", warmup=0.0, drops=drops, gamma=0.5), epochs=epochs)

    expected = [PEAK * 0.5**drop for drop in range(drops + 1)]
    assert list(dict.fromkeys(rates)) == pytest.approx(expected)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
@pytest.mark.parametrize("kind", ["one-cycle", "cosine"])
def test_the_rates_are_the_same_for_every_optimizer(kind: Any, optimizer: str) -> None:
    rates = rates_of(Schedule(kind=kind), optimizer=optimizer, out="other")

    assert rates == rates_of(Schedule(kind=kind))


@pytest.mark.parametrize(("epochs", "length"), [(1, 12), (3, 4), (12, 1)])
def test_the_schedule_spans_all_iterations_of_all_epochs(epochs: int, length: int) -> None:
    rates = rates_of(Schedule(kind="linear", warmup=0.0), epochs=epochs, length=length)

    assert rates == pytest.approx([PEAK * (1 - index / 12) for index in range(12)])


@pytest.mark.parametrize(
    ("iterations", "warmup"),
    [(1, 0.0), (1, 0.3), (1, 0.9), (2, 0.5), (4, 0.25), (4, 0.9)],
)
@pytest.mark.parametrize("kind", KINDS)
def test_few_iterations_are_enough(kind: Any, iterations: int, warmup: float) -> None:
    rates = rates_of(Schedule(kind=kind, warmup=warmup), epochs=1, length=iterations)

    assert len(rates) == iterations
    assert all(0 < rate <= PEAK * 1.000001 for rate in rates)


def test_a_constant_rate_without_warmup_changes_no_weight() -> None:
    assert_observes_only(lambda: Schedule(kind="constant", warmup=0.0))


def test_a_loader_without_a_length_is_refused() -> None:
    class Stream:
        def __iter__(self) -> Iterator[Batch]:
            return iter(tiny_loaders()["train"])

    run = make_run(Schedule(), loaders={"train": Stream()})

    with pytest.raises(PluginFailedError) as raised:
        run.train()

    assert str(raised.value).startswith("plugin 'schedule' (ignite-threenet ")
    assert str(raised.value).endswith("schedule: needs a loader whose length is known")
    assert " failed at STARTED" in str(raised.value)
    assert run.history.epochs == []


@pytest.mark.parametrize(
    ("kind", "optimizer", "iteration"),
    [("one-cycle", "sgd", 6), ("step", "sgd", 8), ("cosine", "muon", 1)],
)
def test_a_resumed_run_has_the_rates_of_one_that_was_never_stopped(
    kind: Any, optimizer: str, iteration: int
) -> None:
    rates = rates_after(iteration, Schedule(kind=kind), epochs=6, optimizer=optimizer)

    assert rates == rates_of(Schedule(kind=kind), out="whole", optimizer=optimizer)[iteration:]


def test_a_run_that_became_longer_has_the_rates_of_the_longer_one() -> None:
    schedule = Schedule(kind="linear", warmup=0.0)

    rates = rates_after(6, schedule, epochs=3, longer=6)

    longer = rates_of(Schedule(kind="linear", warmup=0.0), epochs=6, out="whole")
    assert rates == longer[6:]


@pytest.mark.parametrize(
    "options", [{"warmup": 0.95}, {"warmup": -0.1}, {"drops": 0}, {"gamma": 0.0}, {"gamma": 1.5}]
)
def test_a_value_that_no_schedule_can_have_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as raised:
        Schedule(**options)

    (name,) = options
    assert raised.value.where == f"Schedule.{name}"
    assert raised.value.problem == "is out of range"


def test_an_unknown_kind_names_the_nearest() -> None:
    kind: Any = "onecycle"

    with pytest.raises(OptionError, match="did you mean 'one-cycle'"):
        Schedule(kind=kind)
