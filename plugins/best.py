"""Keeps the model at its highest accuracy."""

import copy
import logging
from collections.abc import Mapping
from typing import Any, Literal

from ignite.engine import Engine, Events
from ignite_threenet_plugins.accuracy import watched_evaluator
from torch import Tensor, nn

from ignite_threenet import Plugin, Run, option

logger = logging.getLogger("ignite_threenet.best")


class Best(Plugin):
    """Keep the model at its highest accuracy, and end the run with it."""

    requires = ("accuracy",)
    split: Literal["train", "valid", "test"] | None = option(
        None,
        help="split whose accuracy counts; by default valid if it is measured, else what "
        "'accuracy' measures",
    )

    def attach(self, run: Run) -> None:
        self.weights: dict[str, Any] | None = None
        self.accuracy, self.epoch = float("-inf"), 0
        evaluator: Engine = watched_evaluator(run, self.split, f"{self.name}.split")
        self._split = next(key for key, each in run.evaluators.items() if each is evaluator)
        self._listener = evaluator.add_event_handler(Events.COMPLETED, self.compare, run)
        run.trainer.add_event_handler(Events.COMPLETED, self.restore, run)

    def compare(self, evaluator: Engine, run: Run) -> None:
        """Keep the model if it is at least as good as any before, and finite."""
        accuracy = evaluator.state.metrics["accuracy"]
        if accuracy < self.accuracy or not _is_finite(run.model):
            return
        self.weights = _copy_state(run.model)
        self.accuracy, self.epoch = accuracy, run.trainer.state.epoch
        run.directory.write_weights(self.name, run.model)

    def restore(self, run: Run) -> None:
        """Let the run end with the best model."""
        self._listener.remove()
        if self.weights is None:
            logger.warning(
                "%s: nothing was measured, so the run ends with its last model", self.name
            )
        else:
            run.model.load_state_dict(self.weights)

    def state_dict(self) -> Mapping[str, Any]:
        return {"model": self.weights, "accuracy": self.accuracy, "epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.accuracy, self.epoch = state["accuracy"], state["epoch"]
        self.weights = state["model"]

    def summary(self) -> Mapping[str, Any]:
        if self.weights is None:
            return {}
        return {
            "accuracy": self.accuracy,
            "epoch": self.epoch,
            "split": self._split,
            "file": f"{self.name}.pt",
        }


def _copy_state(model: nn.Module) -> dict[str, Any]:
    """Copy the tensors of a model, and what else it counts as its state; not the model itself."""
    return {
        name: each.detach().clone() if isinstance(each, Tensor) else copy.deepcopy(each)
        for name, each in model.state_dict().items()
    }


def _is_finite(model: nn.Module) -> bool:
    # Infinities have their place in a buffer, such as a mask.
    weights_are = all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    return weights_are and not any(bool(buffer.isnan().any()) for buffer in model.buffers())
