"""Shows how far the run is."""

import sys
import time
from collections.abc import Mapping, Sized
from typing import Any

from ignite.engine import Engine, Events
from tqdm import tqdm

from ignite_threenet import Plugin, Run, option

# As often as tqdm redraws a bar: reading the loss more often would only hold up the device.
_SECONDS_BETWEEN_REDRAWS = 0.1


class Progress(Plugin):
    """Show bars on a terminal, and a plain line now and then elsewhere."""

    on_error = "detach"
    quiet = True
    interval_s: float = option(
        10.0, help="seconds between two lines if there is no terminal", min=0
    )

    def attach(self, run: Run) -> None:
        self._loss: dict[str, str] = {}
        self._accuracies: dict[str, str] = {}
        self._display: _Bars | _Lines = _Bars() if sys.stderr.isatty() else _Lines(self.interval_s)
        trainer = run.trainer
        trainer.add_event_handler(Events.STARTED, self._display.start)
        trainer.add_event_handler(Events.EPOCH_STARTED, self._display.start_epoch)
        if isinstance(self._display, _Bars):
            trainer.add_event_handler(Events.ITERATION_COMPLETED, self._display.advance)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._finish_epoch, run)
        trainer.add_event_handler(Events.COMPLETED, self._display.complete)
        for split, evaluator in run.evaluators.items():
            evaluator.add_event_handler(Events.COMPLETED, self._note, split)

    def state_dict(self) -> Mapping[str, Any]:
        return {"loss": self._loss, "accuracies": self._accuracies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._loss.update(state["loss"])
        self._accuracies.update(state["accuracies"])
        self._display.show(self._loss | self._accuracies)

    def close(self, error: BaseException | None) -> None:
        self._display.close()

    def _note(self, evaluator: Engine, split: str) -> None:
        self._accuracies[f"{split} accuracy"] = f"{evaluator.state.metrics['accuracy']:.3%}"
        self._display.show(self._loss | self._accuracies)

    def _finish_epoch(self, trainer: Engine, run: Run) -> None:
        self._loss["loss"] = f"{run.history.epochs[-1].loss:.4f}"
        self._display.show(self._loss | self._accuracies)
        self._display.finish_epoch(trainer)


class _Bars:
    """A bar of epochs, and below it one of the epoch in hand."""

    def __init__(self) -> None:
        self._epochs: tqdm[Any] | None = None
        self._iterations: tqdm[Any] | None = None
        self._next_redraw = 0.0

    def start(self, trainer: Engine) -> None:
        self._epochs = tqdm(total=trainer.state.max_epochs, unit="epoch", desc="training")

    def start_epoch(self, trainer: Engine) -> None:
        length = _epoch_length(trainer)
        if self._iterations is None:
            self._iterations = tqdm(total=length, unit="batch", leave=False)
        self._iterations.reset(total=length)
        self._iterations.set_description(f"epoch {trainer.state.epoch}", refresh=False)

    def advance(self, trainer: Engine) -> None:
        if self._iterations is None:
            return
        now = time.monotonic()
        if now >= self._next_redraw:
            self._next_redraw = now + _SECONDS_BETWEEN_REDRAWS
            self._iterations.set_postfix(loss=f"{float(trainer.state.output):.4f}", refresh=False)  # type: ignore[arg-type]
        self._iterations.update()

    def show(self, facts: Mapping[str, str]) -> None:
        if self._epochs is not None:
            self._epochs.set_postfix(facts)

    def finish_epoch(self, trainer: Engine) -> None:
        if self._epochs is not None:
            self._epochs.update()

    def complete(self, trainer: Engine) -> None:
        pass

    def close(self) -> None:
        for bar in (self._iterations, self._epochs):
            if bar is not None:
                bar.close()


class _Lines:
    """A line at the first epoch, at the end, and now and then between them."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._start = self._next_line = time.monotonic()
        self._facts: Mapping[str, str] = {}

    def start(self, trainer: Engine) -> None:
        self._start = time.monotonic()

    def start_epoch(self, trainer: Engine) -> None:
        pass

    def show(self, facts: Mapping[str, str]) -> None:
        self._facts = facts

    def finish_epoch(self, trainer: Engine) -> None:
        epoch, last = trainer.state.epoch, trainer.state.max_epochs
        if epoch == 1 or (time.monotonic() >= self._next_line and epoch != last):
            self._print(trainer)

    def complete(self, trainer: Engine) -> None:
        if trainer.state.epoch > 1:
            self._print(trainer)

    def _print(self, trainer: Engine) -> None:
        now, epoch, last = time.monotonic(), trainer.state.epoch, trainer.state.max_epochs or 0
        self._next_line = now + self._interval_s
        seconds = (now - self._start) / epoch
        spelled = ", ".join(f"{name} {value}" for name, value in self._facts.items())
        rest = tqdm.format_interval((last - epoch) * seconds)
        print(
            f"epoch {epoch}/{last}: {spelled}, {seconds:.2f} s an epoch, {rest} left",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        pass


def _epoch_length(trainer: Engine) -> int | None:
    if trainer.state.epoch_length is not None:
        return trainer.state.epoch_length
    return len(trainer.state.dataloader) if isinstance(trainer.state.dataloader, Sized) else None
