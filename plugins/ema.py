"""Measures, keeps and ends with an average of the weights."""

from collections.abc import Iterator

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from torch import Tensor

from ignite_threenet import Plugin, Run, option


class Ema(Plugin):
    """Train as usual, but measure and end with a moving average of the weights."""

    decay: float = option(0.999, help="share of the average that an update keeps", above=0, max=1)
    every: int = option(1, help="iterations between two updates", min=1)

    def attach(self, run: Run) -> None:
        self._run = run
        self._handler = EMAHandler(run.model, momentum=1 - self.decay)
        event = Events.ITERATION_COMPLETED(every=self.every)
        self._handler.attach(run.trainer, name="ema_momentum", event=event)
        run.trainer.add_event_handler(Events.STARTED, self.start)
        self._listeners = [
            evaluator.add_event_handler(Events.STARTED, self.swap_in)
            for evaluator in run.evaluators.values()
        ]

    def start(self, trainer: Engine) -> None:
        """Be the last to hear of the end, after whoever still measures then."""
        trainer.add_event_handler(Events.COMPLETED, self.end)

    def swap_in(self, evaluator: Engine) -> None:
        """Let the evaluator, and whoever listens to it, see the average."""
        self._swap()
        # Registered only now, and so the last to hear of the end of this measurement.
        self._end_of_measurement = evaluator.add_event_handler(Events.COMPLETED, self.swap_out)

    def swap_out(self) -> None:
        """Give the training its own weights back."""
        self._end_of_measurement.remove()
        self._swap()

    def end(self) -> None:
        """Let the run end with the average; where 'best' runs, that has chosen among averages."""
        for listener in self._listeners:
            listener.remove()
        if "best" not in self._run.plugins:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for own, average in self._pairs():
            kept = own.clone()
            own.copy_(average)
            average.copy_(kept)

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        average = self._handler.ema_model.state_dict()
        return zip(self._run.model.state_dict().values(), average.values(), strict=True)
