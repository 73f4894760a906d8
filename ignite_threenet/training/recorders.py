"""Handlers that fill the history."""

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor
from torch.optim import Optimizer

from ..errors import DataError, DivergedError
from .history import EpochRecord, History, Measurement

# Losses wait on the device this long, so that the host seldom waits for the device, and their
# number stays bounded in an epoch of any length.
_ITERATIONS_BETWEEN_READS = 1000


class EpochRecorder:
    """Sums up each epoch of a trainer whose output is the batch's mean loss.

    Losses stay on the device until the epoch ends, so that the loop never waits for one.

    Attributes:
        iteration: iterations that were completed since the run began. Ignite's own counter is one
            ahead while an iteration goes on.
        steps: those of them that belong to the epoch in hand, or to the last one.
    """

    def __init__(self, history: History, optimizer: Optimizer | None = None) -> None:
        self._history = history
        self._optimizer = optimizer
        self._learning_rate: float | None = None
        self.iteration = 0
        self._start()

    def attach(self, trainer: Engine) -> None:
        """Listen to a trainer."""
        trainer.add_event_handler(Events.EPOCH_STARTED, self._start)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._record)
        # What an epoch that was cut short has left.
        trainer.add_event_handler(Events.TERMINATE, self._read)
        trainer.add_event_handler(Events.COMPLETED, self._read)

    def _start(self) -> None:
        self._start_time = time.perf_counter()
        self._losses: list[Tensor] = []
        self._batch_sizes: list[int] = []
        self.steps = 0
        self._loss_sum, self._samples, self._last_loss = 0.0, 0, math.nan

    def state_dict(self) -> dict[str, Any]:
        """Give what an epoch in progress has summed up so far."""
        return {
            "iteration": self.iteration,
            "learning_rate": self._learning_rate,
            "steps": self.steps,
            "losses": torch.stack(self._losses) if self._losses else None,
            "batch_sizes": list(self._batch_sizes),
            "loss_sum": self._loss_sum,
            "samples": self._samples,
            "last_loss": self._last_loss,
            "seconds": time.perf_counter() - self._start_time,
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Take back what state_dict() gave, for a trainer whose losses are on a device."""
        self.iteration, self.steps = state["iteration"], state["steps"]
        self._learning_rate = state["learning_rate"]
        losses: Tensor | None = state["losses"]
        self._losses[:] = losses.to(device).unbind() if losses is not None else []
        self._batch_sizes[:] = state["batch_sizes"]
        self._loss_sum, self._samples = state["loss_sum"], state["samples"]
        self._last_loss = state["last_loss"]
        self._start_time = time.perf_counter() - state["seconds"]

    def _collect(self, trainer: Engine) -> None:
        self._losses.append(trainer.state.output)  # type: ignore[arg-type]
        self._batch_sizes.append(len(trainer.state.batch[1]))  # type: ignore[index]
        self.iteration, self.steps = trainer.state.iteration, self.steps + 1
        if self._optimizer is not None:
            # Before a schedule sets the rate of the next step.
            self._learning_rate = float(self._optimizer.param_groups[0]["lr"])
        if len(self._losses) == _ITERATIONS_BETWEEN_READS:
            self._read(trainer)

    def _read(self, trainer: Engine) -> None:
        """Fetch the losses collected so far.

        Raises:
            DivergedError: one of them is not finite.
        """
        if not self._losses:
            return
        losses = torch.stack(self._losses).cpu().double()
        finite = losses.isfinite()
        if not finite.all():
            first = int(finite.logical_not().nonzero()[0])
            iteration = trainer.state.iteration - len(losses) + first + 1
            raise DivergedError(trainer.state.epoch, iteration, losses[first].item())
        self._loss_sum += losses.dot(torch.tensor(self._batch_sizes).double()).item()
        self._samples += sum(self._batch_sizes)
        self._last_loss = losses[-1].item()
        self._losses, self._batch_sizes = [], []

    def _record(self, trainer: Engine) -> None:
        self._read(trainer)
        if self._samples == 0:
            raise DataError("the loader of the split 'train' gave no samples")
        self._history.add_epoch(
            EpochRecord(
                epoch=trainer.state.epoch,
                iteration=trainer.state.iteration,
                loss=self._loss_sum / self._samples,
                last_loss=self._last_loss,
                seconds=time.perf_counter() - self._start_time,
                samples=self._samples,
                learning_rate=self._learning_rate,
            )
        )


class MeasurementRecorder:
    """Notes each pass of an evaluator, with the trainer's epoch: an evaluator's own is always 1."""

    def __init__(self, history: History, split: str, trainer: Engine) -> None:
        self._history = history
        self._split = split
        self._trainer = trainer
        self._start_time = 0.0

    def attach(self, evaluator: Engine) -> None:
        """Listen to an evaluator, after its metrics."""
        evaluator.add_event_handler(Events.STARTED, self._start)
        evaluator.add_event_handler(Events.COMPLETED, self._record)

    def _start(self, evaluator: Engine) -> None:
        self._start_time = time.perf_counter()
        # Ignite leaves the old values there, also of a metric that is computed later than this.
        evaluator.state.metrics.clear()

    def _record(self, evaluator: Engine) -> None:
        self._history.add_measurement(
            Measurement(
                split=self._split,
                epoch=self._trainer.state.epoch,
                metrics={
                    # NumPy's numbers are float's children, but not plain values.
                    name: float(value) if isinstance(value, float) else value
                    for name, value in evaluator.state.metrics.items()
                    if isinstance(value, int | float)
                },
                seconds=time.perf_counter() - self._start_time,
                final=self._history.training_ended,
            )
        )
