"""Shows how far the run is."""

import os
import sys
import time
import warnings
from collections.abc import Mapping, Sized
from contextlib import suppress
from typing import Any

from ignite.engine import Engine, Events
from tqdm import tqdm

from ignite_threenet import Plugin, Run, option

# As often as tqdm redraws a bar: reading the loss more often would only hold up the device.
_SECONDS_BETWEEN_REDRAWS = 0.1

# What a line shows of a bar that is too wide for the terminal, from the most to the least.
_NARROW = (
    "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]",
    "{desc}: {n_fmt}/{total_fmt} [{remaining}{postfix}]",
    "{desc}: {n_fmt}/{total_fmt}{postfix}",
)
_NARROWEST_BAR = 5
# Of a terminal that does not say how wide it is.
_USUAL_COLUMNS = 80


class Progress(Plugin):
    """Show bars on a terminal or in a notebook, and a plain line now and then elsewhere."""

    on_error = "detach"
    quiet = True
    interval_s: float = option(
        10.0, help="seconds between two lines if there is no terminal", min=0
    )

    def attach(self, run: Run) -> None:
        self._run = run
        self._loss: dict[str, str] = {}
        self._accuracies: dict[str, str] = {}
        bar = _choose_bar()
        self._display: _Bars | _Lines = _Lines(self.interval_s) if bar is None else _Bars(bar)
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
        self._display.go_on(self._run.recorder.steps, _epoch_length(self._run.trainer))
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


class _TerminalBar(tqdm):  # type: ignore[type-arg]
    """A bar that never takes more than a line, and leaves out what is too wide for it."""

    def __str__(self) -> str:
        columns = _columns_of(self.fp)
        if columns is None:
            return str(super().__str__())
        facts = {**self.format_dict, "ncols": None}
        whole = self.format_meter(**{**facts, "bar_format": "{l_bar}{r_bar}"})
        # The last column is left free: there some terminals begin another line.
        if len(whole) + _NARROWEST_BAR < columns:
            return self.format_meter(**{**facts, "ncols": columns - 1})
        for bar_format in _NARROW:
            line = self.format_meter(**{**facts, "bar_format": bar_format})
            if len(line) < columns:
                return line
        return self._shortest(columns)

    def _shortest(self, columns: int) -> str:
        """Give the count, and as many of the facts as there is room for."""
        line = f"{self.n}/{self.total if self.total is not None else '?'}"
        for fact in filter(None, str(self.postfix or "").split(", ")):
            if len(line) + len(fact) + 2 >= columns:
                break
            line = f"{line}, {fact}"
        return line[: columns - 1]


def _columns_of(stream: Any) -> int | None:
    """Tell how wide a terminal is; None if it is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS
    except (AttributeError, OSError, ValueError):
        return None


def _choose_bar() -> "type[tqdm[Any]] | None":
    """Choose the kind of bars; None where there can be none."""
    if sys.stderr is not None and sys.stderr.isatty():
        return _TerminalBar
    if "ipykernel" not in sys.modules:
        return None
    # tqdm warns where a notebook has no widgets: there lines are shown.
    with warnings.catch_warnings(action="ignore"):
        from tqdm.auto import tqdm as automatic
        from tqdm.notebook import tqdm_notebook
    return automatic if issubclass(automatic, tqdm_notebook) else None


class _Bars:
    """A bar of epochs, and below it one of the epoch in hand.

    Args:
        bar: the kind of bars.
    """

    def __init__(self, bar: "type[tqdm[Any]]") -> None:
        self._bar = bar
        self._epochs: tqdm[Any] | None = None
        self._iterations: tqdm[Any] | None = None
        self._next_redraw = 0.0

    def start(self, trainer: Engine) -> None:
        state = trainer.state
        # What was done before does not count in the pace.
        self._epochs = self._bar(
            total=state.max_epochs, initial=state.epoch, unit="epoch", desc="training"
        )

    def start_epoch(self, trainer: Engine) -> None:
        length = _epoch_length(trainer)
        if self._iterations is None:
            self._iterations = self._bar(total=length, unit="batch", leave=False)
        self._iterations.initial = 0
        self._iterations.reset(total=length)
        self._iterations.set_description(f"epoch {trainer.state.epoch}", refresh=False)

    def go_on(self, steps: int, length: int | None) -> None:
        """Count iterations of the epoch in hand that were done before."""
        if self._iterations is not None:
            self._iterations.n = self._iterations.last_print_n = self._iterations.initial = steps
            self._iterations.refresh()

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
        self._done_before = 0.0  # epochs
        self._is_in_epoch = False
        self._last_shown: int | None = None

    def start(self, trainer: Engine) -> None:
        self._start = time.monotonic()
        self._done_before = trainer.state.epoch

    def start_epoch(self, trainer: Engine) -> None:
        self._is_in_epoch = True

    def go_on(self, steps: int, length: int | None) -> None:
        """Count a part of the epoch in hand that was done before."""
        if self._is_in_epoch and length:
            self._done_before += steps / length

    def show(self, facts: Mapping[str, str]) -> None:
        self._facts = facts

    def finish_epoch(self, trainer: Engine) -> None:
        epoch, last = trainer.state.epoch, trainer.state.max_epochs
        is_time = time.monotonic() >= self._next_line and epoch != last
        if self._last_shown is None or is_time:
            self._print(trainer)

    def complete(self, trainer: Engine) -> None:
        if trainer.state.epoch > 1 or self._last_shown is None:
            self._print(trainer)

    def _print(self, trainer: Engine) -> None:
        now, epoch, last = time.monotonic(), trainer.state.epoch, trainer.state.max_epochs or 0
        self._next_line, self._last_shown = now + self._interval_s, epoch
        parts = [f"{name} {value}" for name, value in self._facts.items()]
        done = epoch - self._done_before
        if done > 0:
            seconds = (now - self._start) / done
            rest = tqdm.format_interval((last - epoch) * seconds)
            parts += [f"{seconds:.2f} s an epoch", f"{rest} left"]
        text = f"epoch {epoch}/{last}: {', '.join(parts)}" if parts else f"epoch {epoch}/{last}"
        _write(f"{text}\n")

    def close(self) -> None:
        pass


def _write(text: str) -> None:
    """Write to standard error; if nobody reads that any more, the run goes on all the same."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def _epoch_length(trainer: Engine) -> int | None:
    if trainer.state.epoch_length is not None:
        return trainer.state.epoch_length
    return len(trainer.state.dataloader) if isinstance(trainer.state.dataloader, Sized) else None
