"""Changes the learning rate while training goes on."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from ignite.engine import Engine, Events
from torch.optim.lr_scheduler import LambdaLR

from ignite_threenet import ConfigError, Plugin, Run, option

# What a warm-up starts from, as a share of the peak.
_WARMUP_START = 1e-3

# The first and the last rate of one cycle, as shares of the peak: those of torch's OneCycleLR,
# after Smith and Topin, "Super-Convergence" (2018).
_CYCLE_START = 1 / 25
_CYCLE_END = _CYCLE_START / 1e4


class Schedule(Plugin):
    """Change the learning rate from iteration to iteration; its peak is --lr."""

    changes_training = True
    kind: Literal["one-cycle", "cosine", "linear", "step", "constant"] = option(
        "one-cycle", help="how the rate goes on after the warm-up"
    )
    warmup: float = option(
        0.3, help="share of the iterations in which the rate climbs to its peak", min=0, max=0.9
    )
    drops: int = option(2, help="drops of the kind 'step', spread evenly", min=1)
    gamma: float = option(0.1, help="what a drop of the kind 'step' multiplies by", above=0, max=1)

    def attach(self, run: Run) -> None:
        run.trainer.add_event_handler(Events.STARTED, self.start, run)
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED, self.step)

    def start(self, trainer: Engine, run: Run) -> None:
        """Plan the rates of all iterations, whose number is known by now."""
        length = trainer.state.epoch_length
        if length is None:
            raise ConfigError("schedule: needs a loader whose length is known")
        iterations = length * run.config.epochs
        self._scheduler = LambdaLR(run.optimizer, partial(self._share, iterations=iterations))

    def step(self) -> None:
        """Set the rate of the next iteration."""
        self._scheduler.step()

    def state_dict(self) -> Mapping[str, Any]:
        return {"iteration": self._scheduler.last_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        scheduler, iteration = self._scheduler, state["iteration"]
        scheduler.last_epoch = iteration
        # The peak that the run began with, which another plugin may have chosen.
        scheduler.base_lrs = [group["initial_lr"] for group in scheduler.optimizer.param_groups]
        # Anew, because a run that became longer has other rates.
        groups = zip(scheduler.optimizer.param_groups, scheduler.base_lrs, strict=True)
        for (group, peak), share in zip(groups, scheduler.lr_lambdas, strict=True):
            group["lr"] = peak * share(iteration)

    def _share(self, iteration: int, iterations: int) -> float:
        """Give the rate of an iteration, counted from 0, as a share of the peak."""
        climb = min(round(self.warmup * iterations), iterations - 1)
        if self.kind == "one-cycle":
            return _one_cycle(iteration, max(climb - 1, 0), iterations - 1)
        if iteration < climb:
            return _line(_WARMUP_START, 1.0, iteration / climb)
        return self._decay(iteration - climb, iterations - climb)

    def _decay(self, iteration: int, iterations: int) -> float:
        """Give the share after the warm-up, both counted from its end."""
        if self.kind == "cosine":
            return _wave(1.0, 0.0, iteration / iterations)
        if self.kind == "linear":
            return _line(1.0, 0.0, iteration / iterations)
        if self.kind == "step":
            drops = (self.drops + 1) * iteration // iterations
            return float(self.gamma**drops)
        return 1.0


def _one_cycle(iteration: int, peak: int, last: int) -> float:
    if iteration < peak:
        return _wave(_CYCLE_START, 1.0, iteration / peak)
    return _wave(1.0, _CYCLE_END, min((iteration - peak) / max(last - peak, 1), 1.0))


def _line(start: float, end: float, way: float) -> float:
    return start + (end - start) * way


def _wave(start: float, end: float, way: float) -> float:
    return _line(start, end, (1 - math.cos(math.pi * way)) / 2)
