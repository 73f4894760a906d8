"""Plugins that watch a run, or make it fail where they are told to."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from ignite.engine import Engine, Events

from ignite_threenet import Plugin, Run

from .forks import Board

DONE, ENDED = 0, 1  # places on the board


class Tell(Plugin):
    """Tell the parent process how far the run is."""

    board: ClassVar[Board]

    def attach(self, run: Run) -> None:
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED, self.tell, run)
        run.trainer.add_event_handler(Events.COMPLETED, self.tell_end)

    def tell(self, run: Run) -> None:
        self.board[DONE] = run.trainer.state.iteration

    def tell_end(self) -> None:
        self.board[ENDED] = 1


class CountIterations(Plugin):
    """Count the iterations that are really done."""

    def attach(self, run: Run) -> None:
        self.count = 0
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED, self.add)

    def add(self) -> None:
        self.count += 1


WHERE, HOW, NOTES = "FAULTS_WHERE", "FAULTS_HOW", "FAULTS_NOTES"

TRAINER_EVENTS = (
    Events.STARTED,
    Events.EPOCH_STARTED,
    Events.ITERATION_STARTED,
    Events.ITERATION_COMPLETED,
    Events.EPOCH_COMPLETED,
    Events.COMPLETED,
    Events.INTERRUPT,
)
METHODS = ("attach", "state_dict", "load_state_dict", "summary", "close")
MEASURING = "measuring"


class Faulty(Plugin):
    """Fail at the event or in the method that the environment names; first note the epoch."""

    def attach(self, run: Run) -> None:
        self._run = run
        self._fail("attach")
        for event in TRAINER_EVENTS:
            run.trainer.add_event_handler(event, self._handler(event.name))
        run.evaluators["train"].add_event_handler(Events.COMPLETED, self._handler(MEASURING))

    def state_dict(self) -> Mapping[str, Any]:
        self._fail("state_dict")
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._fail("load_state_dict")

    def summary(self) -> Mapping[str, Any]:
        self._fail("summary")
        return {}

    def close(self, error: BaseException | None) -> None:
        note(f"closed {self.name}")
        self._fail("close")

    def _handler(self, place: str) -> Callable[[], None]:
        def handle() -> None:
            if place == "ITERATION_STARTED" and os.environ.get(WHERE) == "INTERRUPT":
                self._run.interrupt()
            self._fail(place)

        return handle

    def _fail(self, place: str) -> None:
        if os.environ.get(WHERE) != place:
            return
        note(f"epoch {self._run.trainer.state.epoch}")
        if os.environ[HOW] == "exit":
            sys.exit(0)
        raise RuntimeError("on purpose")


class Witness(Plugin):
    """Note that it was closed."""

    def close(self, error: BaseException | None) -> None:
        note(f"closed {self.name}")


def note(line: str) -> None:
    with Path(os.environ[NOTES]).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


class PlantNan(Plugin):
    """Make a weight NaN after an event."""

    iteration: ClassVar[int] = 0
    event: ClassVar[Events] = Events.ITERATION_COMPLETED

    def attach(self, run: Run) -> None:
        run.trainer.add_event_handler(self.event, self.plant, run)

    def plant(self, trainer: Engine, run: Run) -> None:
        if trainer.state.iteration >= self.iteration:
            with torch.no_grad():
                next(run.model.parameters()).view(-1)[0] = float("nan")
