"""Keeps the model at its highest accuracy."""

import copy
import logging
from collections.abc import Mapping
from typing import Any, Literal

from ignite.engine import Engine, Events
from ignite_threenet_plugins.accuracy import watched_evaluator
from torch import nn

from ignite_threenet import Plugin, Run, option

logger = logging.getLogger("ignite_threenet.best")


class Best(Plugin):
    """Keep the model at its highest accuracy, and end the run with it."""

    requires = ("accuracy",)
    split: Literal["train", "valid", "test"] | None = option(
        None, help="split whose accuracy counts; by default the one that 'accuracy' measures"
    )

    def attach(self, run: Run) -> None:
        self._run = run
        self.model: nn.Module | None = None
        self.accuracy, self.epoch = float("-inf"), 0
        evaluator: Engine = watched_evaluator(run, self.split, self, logger)
        self._listener = evaluator.add_event_handler(Events.COMPLETED, self.compare, run)
        run.trainer.add_event_handler(Events.COMPLETED, self.restore, run)

    def compare(self, evaluator: Engine, run: Run) -> None:
        """Keep the model if it is at least as good as any before, and finite."""
        accuracy = evaluator.state.metrics["accuracy"]
        if accuracy < self.accuracy or not _is_finite(run.model):
            return
        self.model = copy.deepcopy(run.model)
        self.accuracy, self.epoch = accuracy, run.trainer.state.epoch
        run.directory.write_weights(self.name, self.model)

    def restore(self, run: Run) -> None:
        """Let the run end with the best model."""
        self._listener.remove()
        if self.model is None:
            logger.warning(
                "%s: nothing was measured, so the run ends with its last model", self.name
            )
        else:
            run.model.load_state_dict(self.model.state_dict())

    def state_dict(self) -> Mapping[str, Any]:
        model = dict(self.model.state_dict()) if self.model is not None else None
        return {"model": model, "accuracy": self.accuracy, "epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.accuracy, self.epoch = state["accuracy"], state["epoch"]
        if state["model"] is not None:
            self.model = copy.deepcopy(self._run.model)
            self.model.load_state_dict(state["model"])

    def summary(self) -> Mapping[str, Any]:
        if self.model is None:
            return {}
        return {"accuracy": self.accuracy, "epoch": self.epoch, "file": f"{self.name}.pt"}


def _is_finite(model: nn.Module) -> bool:
    # Infinities have their place in a buffer, such as a mask.
    weights_are = all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    return weights_are and not any(bool(buffer.isnan().any()) for buffer in model.buffers())
