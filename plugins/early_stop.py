"""Ends the training when it no longer gets better."""

import logging
import math
from collections.abc import Mapping
from typing import Any, Literal

from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping
from ignite_threenet_plugins.accuracy import watched_evaluator

from ignite_threenet import Plugin, Run, option

logger = logging.getLogger("ignite_threenet.early-stop")

# Ignite's handler counts aloud, to standard error, whatever the user asked to be shown.
_unheard = logger.getChild("count")
_unheard.setLevel(logging.WARNING)


class EarlyStop(Plugin):
    """End training when the accuracy has not improved for some measurements."""

    requires = ("accuracy",)
    changes_training = True
    split: Literal["train", "valid", "test"] | None = option(
        None,
        help="split whose accuracy counts; by default valid if it is measured, else what "
        "'accuracy' measures",
    )
    patience: int = option(5, help="measurements without improvement before the end", min=1)
    min_delta: float = option(
        0.0,
        help="share of the samples by which the accuracy must exceed the best one",
        min=0,
        max=1,
    )

    def attach(self, run: Run) -> None:
        self._run = run
        self.stopped_epoch: int | None = None
        evaluator: Engine = watched_evaluator(run, self.split, f"{self.name}.split")
        # Cumulative: small steps that add up to more than min_delta are an improvement.
        self._stopping = EarlyStopping(
            self.patience, _score, run.trainer, threshold=self.min_delta, cumulative=True
        )
        self._stopping.logger = _unheard
        # Not by its attach(), which forgets all at each start of the evaluator.
        evaluator.add_event_handler(Events.COMPLETED, self.look)

    def look(self, evaluator: Engine) -> None:
        """Count the measurement, and end training if enough were without improvement."""
        trainer, history = self._run.trainer, self._run.history
        if history.training_ended or trainer.should_terminate:
            return
        self._stopping(evaluator)
        # After the last epoch there is nothing to end.
        if trainer.should_terminate and len(history.epochs) != trainer.state.max_epochs:
            self.stopped_epoch = trainer.state.epoch
            logger.info(
                "%s: ends training at epoch %d; the best accuracy was %.3f%%, %d measurements ago",
                self.name,
                self.stopped_epoch,
                100 * self._best,
                self._stopping.counter,
            )

    def state_dict(self) -> Mapping[str, Any]:
        return {"stopped_epoch": self.stopped_epoch, **self._stopping.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._stopping.load_state_dict(state)
        # Where more epochs are wanted than before, the training goes on.
        ends = self._run.trainer.should_terminate
        self.stopped_epoch = state["stopped_epoch"] if ends else None

    def summary(self) -> Mapping[str, Any]:
        if self.stopped_epoch is None:
            return {}
        return {"stopped_epoch": self.stopped_epoch, "best_accuracy": self._best}

    @property
    def _best(self) -> float:
        best = self._stopping.best_score
        return best if best is not None and best > -math.inf else math.nan


def _score(evaluator: Engine) -> float:
    """Give the accuracy, of which NaN is never an improvement."""
    accuracy: float = evaluator.state.metrics["accuracy"]
    return -math.inf if math.isnan(accuracy) else accuracy
