"""Tests of the plugin `schedule`."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from conftest import Batches, MakeBatches, MakeConfig
from ignite.engine import Engine, Events
from ignite_threenet_plugins.checkpoint import Checkpoint
from ignite_threenet_plugins.schedule import Schedule
from torch import nn

from ignite_threenet import OptionError, Plugin, PluginFailedError, Run, RunInterruptedError

PEAK = 0.1
KINDS = ("one-cycle", "cosine", "linear", "step", "constant")

RatesOf = Callable[..., list[float]]
RatesAfter = Callable[..., list[float]]

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
        self.of_groups: list[list[float]] = []
        run.trainer.add_event_handler(Events.ITERATION_STARTED, self._note, run)

    def _note(self, trainer: Engine, run: Run) -> None:
        self.of_groups.append([group["lr"] for group in run.optimizer.param_groups])


@pytest.fixture
def rates_of(make_batches: MakeBatches, make_config: MakeConfig) -> RatesOf:
    """Run a schedule, and give the rate of each iteration."""

    def rates_of(
        schedule: Schedule, *, epochs: int = 6, length: int = 4, **options: Any
    ) -> list[float]:
        rates = Rates()
        config = make_config(epochs=epochs, lr=PEAK, **options)
        model = nn.Sequential(nn.Linear(784, 10), nn.LogSoftmax(dim=1))
        loaders = {"train": make_batches(length)}
        Run(config, [schedule, rates], model=model, loaders=loaders).train()
        assert all(len(set(groups)) == 1 for groups in rates.of_groups)
        return [groups[0] for groups in rates.of_groups]

    return rates_of


@pytest.fixture
def rates_after(make_batches: MakeBatches, make_config: MakeConfig) -> RatesAfter:
    """Interrupt a run after an iteration, and give the rates that it has when it is resumed."""

    def rates_after(
        iteration: int, schedule: Schedule, *, longer: int | None = None, **options: Any
    ) -> list[float]:
        def model() -> nn.Module:
            return nn.Sequential(nn.Linear(784, 10), nn.LogSoftmax(dim=1))

        loaders = {"train": make_batches()}
        config = make_config(lr=PEAK, **options)
        plugins = [schedule, Rates(), Checkpoint()]
        run = Run(config, plugins, model=model(), loaders=loaders)
        event = Events.ITERATION_COMPLETED(once=iteration)
        run.trainer.add_event_handler(event, lambda: run.interrupt())
        with pytest.raises(RunInterruptedError):
            run.train()
        resumed_plugins = [dataclasses.replace(schedule), rates := Rates(), Checkpoint()]
        path = run.directory.path
        Run.resume(
            path, epochs=longer, plugins=resumed_plugins, model=model(), loaders=loaders
        ).train()
        assert all(len(set(groups)) == 1 for groups in rates.of_groups)
        return [groups[0] for groups in rates.of_groups]

    return rates_after


def test_one_cycle_climbs_to_the_peak_and_falls_to_almost_nothing(rates_of: RatesOf) -> None:
    rates = rates_of(Schedule(warmup=0.25))

    assert rates[0] == pytest.approx(PEAK / 25)
    assert rates[5] == pytest.approx(PEAK)
    assert all(one < next_one for one, next_one in pairwise(rates[:6]))
    assert all(one > next_one for one, next_one in pairwise(rates[5:]))
    assert 0 < rates[-1] < PEAK / 1000


@pytest.mark.parametrize(("warmup", "climb"), [(0.0, 0), (0.25, 6), (0.5, 12), (0.3, 7)])
@pytest.mark.parametrize("kind", AFTER_THE_WARMUP)
def test_the_rate_climbs_in_a_line_and_then_goes_on_by_its_kind(
    rates_of: RatesOf, kind: Any, warmup: float, climb: int
) -> None:
    rates = rates_of(Schedule(kind=kind, warmup=warmup, gamma=0.5))

    rest = 24 - climb
    expected = [0.001 + 0.999 * index / climb for index in range(climb)]
    expected += [AFTER_THE_WARMUP[kind](index, rest) for index in range(rest)]
    assert rates == pytest.approx([PEAK * share for share in expected])


@pytest.mark.parametrize("warmup", [0.0, 0.25])
@pytest.mark.parametrize("kind", KINDS)
def test_the_highest_rate_is_the_runs(rates_of: RatesOf, kind: Any, warmup: float) -> None:
    assert max(rates_of(Schedule(kind=kind, warmup=warmup))) == pytest.approx(PEAK)


@pytest.mark.parametrize(("drops", "epochs"), [(1, 3), (2, 1), (3, 3), (4, 3), (5, 2)])
def test_step_drops_as_often_as_it_is_told(rates_of: RatesOf, drops: int, epochs: int) -> None:
    rates = rates_of(Schedule(kind="step", warmup=0.0, drops=drops, gamma=0.5), epochs=epochs)

    expected = [PEAK * 0.5**drop for drop in range(drops + 1)]
    assert list(dict.fromkeys(rates)) == pytest.approx(expected)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
@pytest.mark.parametrize("kind", ["one-cycle", "cosine"])
def test_the_rates_are_the_same_for_every_optimizer(
    rates_of: RatesOf, kind: Any, optimizer: str
) -> None:
    rates = rates_of(Schedule(kind=kind), optimizer=optimizer, out="other")

    assert rates == rates_of(Schedule(kind=kind))


@pytest.mark.parametrize(("epochs", "length"), [(1, 12), (3, 4), (12, 1)])
def test_the_schedule_spans_all_iterations_of_all_epochs(
    rates_of: RatesOf, epochs: int, length: int
) -> None:
    rates = rates_of(Schedule(kind="linear", warmup=0.0), epochs=epochs, length=length)

    assert rates == pytest.approx([PEAK * (1 - index / 12) for index in range(12)])


@pytest.mark.parametrize(
    ("iterations", "warmup"),
    [(1, 0.0), (1, 0.3), (1, 0.9), (2, 0.5), (4, 0.25), (4, 0.9)],
)
@pytest.mark.parametrize("kind", KINDS)
def test_few_iterations_are_enough(
    rates_of: RatesOf, kind: Any, iterations: int, warmup: float
) -> None:
    rates = rates_of(Schedule(kind=kind, warmup=warmup), epochs=1, length=iterations)

    assert len(rates) == iterations
    assert all(0 < rate <= PEAK * 1.000001 for rate in rates)


def test_a_constant_rate_without_warmup_changes_no_weight(
    make_batches: MakeBatches, make_config: MakeConfig
) -> None:
    def weights(*plugins: Plugin) -> list[torch.Tensor]:
        run = Run(make_config(force=True), plugins, loaders={"train": make_batches()})
        run.train()
        return list(run.model.parameters())

    pairs = zip(weights(Schedule(kind="constant", warmup=0.0)), weights(), strict=True)

    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_loader_without_a_length_is_refused(
    make_batches: MakeBatches, make_config: MakeConfig
) -> None:
    batches: Batches = make_batches()

    class Stream:
        def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            return iter(batches)

    run = Run(make_config(), [Schedule()], loaders={"train": Stream()})

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
    rates_of: RatesOf, rates_after: RatesAfter, kind: Any, optimizer: str, iteration: int
) -> None:
    rates = rates_after(iteration, Schedule(kind=kind), epochs=6, optimizer=optimizer)

    assert rates == rates_of(Schedule(kind=kind), out="whole", optimizer=optimizer)[iteration:]


def test_a_run_that_became_longer_has_the_rates_of_the_longer_one(
    rates_of: RatesOf, rates_after: RatesAfter
) -> None:
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
