"""Measures the accuracy while training goes on."""

import logging
from collections.abc import Mapping
from typing import Any, Literal

from ignite.engine import Engine, Events

from ignite_threenet import Plugin, Run, option


class Accuracy(Plugin):
    """Measure the accuracy every few epochs, and once more at the end."""

    every: int = option(20, help="epochs between two measurements", min=1)
    split: Literal["train", "valid", "test"] = option("train", help="split that is measured")

    def attach(self, run: Run) -> None:
        run.require_split(self.split, f"{self.name}.split")
        self._measured_epoch = 0
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED(every=self.every), self.measure, run)
        run.trainer.add_event_handler(Events.COMPLETED, self.measure_last, run)

    def state_dict(self) -> Mapping[str, Any]:
        return {"measured_epoch": self._measured_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._measured_epoch = state["measured_epoch"]

    def measure(self, trainer: Engine, run: Run) -> None:
        """Measure the split; whoever wants the result listens to its evaluator."""
        run.evaluate(self.split)
        self._measured_epoch = trainer.state.epoch

    def measure_last(self, trainer: Engine, run: Run) -> None:
        """Measure the last epoch, unless that was done."""
        if self._measured_epoch != trainer.state.epoch:
            self.measure(trainer, run)


def watched_evaluator(
    run: Run, split: str | None, watcher: Plugin, logger: logging.Logger
) -> Engine:
    """Give the evaluator of the split whose accuracy a plugin watches.

    Args:
        run: the run, with a plugin ``accuracy``, which may be another one than this.
        split: the plugin's own choice; if None, what ``accuracy`` measures.
        watcher: the plugin, for messages.
        logger: where it is said that ``accuracy`` does not measure the split.

    Raises:
        ConfigError: this run has no such split.
    """
    accuracy = run.plugins["accuracy"]
    chosen: str = split if split is not None else getattr(accuracy, "split", "train")
    evaluator = run.require_split(chosen, f"{watcher.name}.split")
    if chosen != getattr(accuracy, "split", chosen):
        logger.warning("%s: watches %r, which 'accuracy' does not measure", watcher.name, chosen)
    return evaluator
