"""Measures, keeps and ends with an average of the weights."""

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events

from ignite_threenet import Plugin, Run, option

# After n updates the decay is at most (1 + n) / (10 + n), so that a short run forgets what the
# weights began with; as num_updates of TensorFlow's ExponentialMovingAverage.
_WARM_UP = 10


class Ema(Plugin):
    """Train as usual, but measure and end with a moving average of the weights."""

    changes_training = True
    decay: float = option(
        0.999, help="share of the average that an update keeps; less at first", above=0, below=1
    )
    every: int = option(1, help="iterations between two updates", min=1)

    def attach(self, run: Run) -> None:
        self._run = run
        self._averages = [each.detach().clone() for each in run.model.parameters()]
        self._updates = 0
        self._measurements = 0  # that go on, one inside another; from 1 on the average is in place
        event = Events.ITERATION_COMPLETED(every=self.every)
        run.trainer.add_event_handler(event, self.update, run)
        run.trainer.add_event_handler(Events.STARTED, self.start)
        run.trainer.add_event_handler(Events.ITERATION_STARTED, self.resume)
        self._listeners = [
            evaluator.add_event_handler(Events.STARTED, self.begin_measurement)
            for evaluator in run.evaluators.values()
        ]

    @torch.no_grad()
    def update(self, run: Run) -> None:
        """Let the average follow the weights."""
        decay = min(self.decay, (1 + self._updates) / (_WARM_UP + self._updates))
        self._updates += 1
        for average, weight in zip(self._averages, run.model.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)

    def start(self, trainer: Engine) -> None:
        """Register what must be the last to hear of an end, after all who were attached."""
        trainer.add_event_handler(Events.COMPLETED, self.end)
        self._listeners += [
            evaluator.add_event_handler(Events.COMPLETED, self.end_measurement)
            for evaluator in self._run.evaluators.values()
        ]

    def state_dict(self) -> Mapping[str, Any]:
        names = [name for name, _ in self._run.model.named_parameters()]
        average = dict(zip(names, self._averages, strict=True))
        return {"average": average, "updates": self._updates}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._updates = state["updates"]
        for name, average in self.state_dict()["average"].items():
            average.copy_(state["average"][name])

    def begin_measurement(self) -> None:
        """Let the evaluator, and whoever listens to it, see the average."""
        self._measurements += 1
        if self._measurements == 1:
            self._swap()

    def end_measurement(self) -> None:
        """Give the training its own weights back."""
        self._measurements -= 1
        if self._measurements == 0:
            self._swap()

    def resume(self) -> None:
        """Give the training its own weights back also where a measurement failed."""
        if self._measurements > 0:
            self._measurements = 0
            self._swap()

    def end(self) -> None:
        """Let the run end with the average; where 'best' has a model, it chose among averages."""
        for listener in self._listeners:
            listener.remove()
        best = self._run.plugins.get("best")
        if getattr(best, "weights", None) is None:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        # The buffers, such as batch statistics, stay the model's: they are averages already.
        for own, average in zip(self._run.model.parameters(), self._averages, strict=True):
            kept = own.clone()
            own.copy_(average)
            average.copy_(kept)
