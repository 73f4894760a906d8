"""Changes the learning rate while training goes on."""

from typing import Literal

from ignite.engine import Engine, Events
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
    StepLR,
)

from ignite_threenet import ConfigError, Plugin, Run, option

# What a warm-up starts from, as a share of the peak: small, and torch takes no zero.
_WARMUP_START = 1e-3


class Schedule(Plugin):
    """Change the learning rate from iteration to iteration, by torch's schedulers."""

    kind: Literal["one-cycle", "cosine", "linear", "step", "constant"] = option(
        "one-cycle", help="how the rate goes on after the warm-up, whose peak is --lr"
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
        self._scheduler = self._create(run.optimizer, length * run.config.epochs)

    def step(self) -> None:
        """Set the rate of the next iteration."""
        self._scheduler.step()

    def _create(self, optimizer: Optimizer, iterations: int) -> LRScheduler:
        if self.kind == "one-cycle":
            peaks = [group["lr"] for group in optimizer.param_groups]
            return OneCycleLR(
                optimizer,
                peaks,
                total_steps=iterations,
                pct_start=self.warmup,
                cycle_momentum=False,
            )
        climb = round(self.warmup * iterations)
        # Built before the warm-up, which would show it a rate that is not the peak.
        rest = self._create_rest(optimizer, iterations - climb)
        if climb == 0:
            return rest
        warmup = LinearLR(optimizer, start_factor=_WARMUP_START, total_iters=climb)
        return SequentialLR(optimizer, [warmup, rest], milestones=[climb])

    def _create_rest(self, optimizer: Optimizer, iterations: int) -> LRScheduler:
        if self.kind == "cosine":
            return CosineAnnealingLR(optimizer, T_max=iterations)
        if self.kind == "linear":
            return LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=iterations)
        if self.kind == "step":
            return StepLR(optimizer, step_size=-(-iterations // (self.drops + 1)), gamma=self.gamma)
        return LinearLR(optimizer, start_factor=1.0, total_iters=0)
