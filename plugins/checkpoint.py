"""Saves the run, so that it can go on where it was stopped."""

import time

from ignite.engine import Engine, Events

from ignite_threenet import Plugin, Run, option


class Checkpoint(Plugin):
    """Save all that the run is made of, so that --resume goes on to the last bit."""

    every: int = option(1, help="epochs between two checkpoints", min=1)
    seconds: float = option(5.0, help="seconds between two checkpoints, at least", min=0)
    keep: int = option(2, help="checkpoints that are kept", min=1)

    def attach(self, run: Run) -> None:
        self._run = run
        run.trainer.add_event_handler(Events.STARTED, self.start)
        run.trainer.add_event_handler(Events.INTERRUPT, self.save)

    def start(self, trainer: Engine) -> None:
        """Register what must be the last to hear of an epoch's end, after all who change it."""
        self._saved_at = time.monotonic()
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self.save_now_and_then)
        trainer.add_event_handler(Events.TERMINATE_SINGLE_EPOCH, self.save_left_epoch)
        trainer.add_event_handler(Events.TERMINATE, self.save)

    def save_now_and_then(self, trainer: Engine) -> None:
        """Save when it is time, and after the last epoch."""
        is_last = trainer.state.epoch == trainer.state.max_epochs
        is_due = trainer.state.epoch % self.every == 0
        if is_last or (is_due and time.monotonic() - self._saved_at >= self.seconds):
            self.save()

    def save_left_epoch(self, trainer: Engine, iter_counter: int) -> None:
        """Save at the end of an epoch of which EPOCH_COMPLETED will not tell."""
        if trainer.should_terminate_single_epoch == "skip_epoch_completed":
            self.save_now_and_then(trainer)

    def save(self) -> None:
        """Write a checkpoint of this moment."""
        self._run.save(keep=self.keep)
        self._saved_at = time.monotonic()
