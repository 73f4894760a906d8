"""The training of a run, from its first epoch or from where a saved run stopped."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

from ignite.engine import Engine, Events
from ignite.utils import manual_seed

from ..errors import CheckpointError, ThreeNetError, describe_error
from ..training.randomness import get_random_state, set_random_state
from .assembly import Parts
from .first_batch import measure_once
from .saved_run import SavedRun

logger = logging.getLogger("ignite_threenet")


class _StoppedError(Exception):
    """The training was asked to end where no generator can be interrupted."""


class Fit:
    """One training, with the framework's own handlers; they come before those of the plugins.

    Args:
        parts: what is trained, and with what.
        saved: what to go on from, or None.
        restore: puts all that was saved back; called once the trainer has started.
        check: looks whether all could be saved; called before the first iteration.

    Attributes:
        left_epoch: the last epoch that terminate_epoch() ended; 0 at first.
        random_state_of_epoch: the random generators as they were when the epoch began.
        was_interrupted: whether interrupt() has ended the training, or will.
    """

    def __init__(
        self,
        parts: Parts,
        saved: SavedRun | None,
        restore: Callable[[SavedRun], None],
        check: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._saved = saved
        self._restore = restore
        self._check = check
        self._can_interrupt = False
        self._has_completed = False
        self.was_interrupted = False
        self.left_epoch = 0
        self.random_state_of_epoch: Mapping[str, Any] = {}
        trainer = parts.trainer
        trainer.add_event_handler(Events.EPOCH_STARTED, self._choose_order)
        self._trial = trainer.add_event_handler(Events.ITERATION_STARTED, self._try_first_batch)
        trainer.add_event_handler(Events.TERMINATE_SINGLE_EPOCH, self._note_left_epoch)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, trainer.finish_pass)
        trainer.add_event_handler(Events.TERMINATE, self._finish_full_pass)
        parts.recorder.attach(trainer)
        trainer.add_event_handler(Events.COMPLETED, self._end_interruptible_part)

    def run(self) -> None:
        """Train until the epochs are done, a handler ends it, or interrupt() was called."""
        trainer, config = self._parts.trainer, self._parts.config
        manual_seed(config.seed)
        # The last to hear of these two, after all that was attached.
        trainer.add_event_handler(Events.STARTED, self._begin)
        trainer.add_event_handler(Events.COMPLETED, self._note_completed)
        with suppress(_StoppedError):
            if self._saved is None:
                trainer.run(self._parts.data.train_loader, max_epochs=config.epochs)
            elif self._saved.has_ended(config.epochs):
                self._end_as_saved(self._saved)
            else:
                with self._blaming(self._saved):
                    self._go_on(self._saved)
        self._can_interrupt = False
        if self.was_interrupted:
            trainer.abandon()
        elif not self._has_completed:
            logger.warning("a handler ended the training without the event COMPLETED")

    @contextmanager
    def _blaming(self, saved: SavedRun) -> Iterator[None]:
        """Blame what was saved for a failure of the very first step that is taken with it."""
        try:
            yield
        except ThreeNetError:
            raise
        except Exception as error:
            is_first = self._parts.recorder.iteration <= saved.content["iteration"]
            if not (is_first and hasattr(error, "__notes__")):
                raise
            problem = f"does not fit this run: {describe_error(error)}"
            raise CheckpointError(saved.path, problem) from error

    def interrupt(self) -> bool:
        """Ask the training to end after the iteration in hand; a signal handler may call this.

        Returns:
            Whether it will: only while training goes on is there something to end.
        """
        self.was_interrupted = self._can_interrupt
        return self._can_interrupt

    def is_between_iterations(self) -> bool:
        """Tell whether a run that is saved now can go on from here."""
        trainer, recorder = self._parts.trainer, self._parts.recorder
        event, length = trainer.last_event_name, trainer.state.epoch_length
        if event in (Events.EPOCH_COMPLETED, Events.TERMINATE, Events.TERMINATE_SINGLE_EPOCH):
            return True
        # Of an epoch whose end was not yet heard of, nobody would hear when the run goes on.
        epochs = self._parts.history.epochs
        is_recorded = bool(epochs) and epochs[-1].epoch == trainer.state.epoch
        is_at_end = not is_recorded and recorder.steps == length
        return event in (Events.ITERATION_COMPLETED, Events.INTERRUPT) and not is_at_end

    def _begin(self, trainer: Engine) -> None:
        self._check()
        for event in (Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED):
            trainer.add_event_handler(event, self._interrupt_if_asked)
        if self._saved is None:
            trainer.add_event_handler(Events.EPOCH_STARTED, self._note_epoch_start)
        elif self._begins_in_mid_epoch(self._saved):
            self._restore_at_epoch_start(trainer, self._saved)
        else:
            self._restore(self._saved)
            trainer.add_event_handler(Events.EPOCH_STARTED, self._note_epoch_start)
            if self._saved.is_at_epoch_end and not self._saved.has_ended(self._parts.config.epochs):
                # It was terminated at an epoch's last iteration, of whose end nobody has heard.
                trainer.fire_event(Events.EPOCH_COMPLETED)
        self._can_interrupt = True

    def _go_on(self, saved: SavedRun) -> None:
        data, begins_in_mid_epoch = self._parts.data, self._begins_in_mid_epoch(saved)
        self._set_counters(saved)
        loader = data.train_loader
        has_begun = begins_in_mid_epoch and saved.iterations_in_epoch > 0
        self._parts.trainer.run(ResumedLoader(loader, saved) if has_begun else loader)

    def _end_as_saved(self, saved: SavedRun) -> None:
        """Do what was left to do when the training had ended.

        Ignite would take a trainer that is done for a new one, and train it again.
        """
        trainer = self._parts.trainer
        self._set_counters(saved)
        trainer.state.dataloader = self._parts.data.train_loader
        trainer.should_terminate = saved.content["ended"]
        trainer.fire_event(Events.STARTED)
        if trainer.should_terminate != "skip_completed":
            trainer.fire_event(Events.COMPLETED)

    def _begins_in_mid_epoch(self, saved: SavedRun) -> bool:
        """Tell whether iterations of the saved epoch are to come."""
        is_over = saved.is_at_epoch_end or saved.has_ended(self._parts.config.epochs)
        return saved.is_in_mid_epoch and not is_over

    def _set_counters(self, saved: SavedRun) -> None:
        """Set the trainer's counters to those with which the epoch in hand, or the next, began."""
        content, begins_in_mid_epoch = saved.content, self._begins_in_mid_epoch(saved)
        self._parts.trainer.set_counters(
            iteration=content["iteration"],
            epoch=content["epoch"] - begins_in_mid_epoch,
            done=saved.iterations_in_epoch if begins_in_mid_epoch else 0,
            epoch_length=content["epoch_length"],
            max_epochs=self._parts.config.epochs,
        )
        where = f"epoch {content['epoch']}, iteration {content['iteration']}"
        logger.info("going on from %s, %s", saved.path, where)

    def _restore_at_epoch_start(self, trainer: Engine, saved: SavedRun) -> None:
        """Restore after Events.EPOCH_STARTED, which Ignite fires again for the epoch in hand."""

        def restore_once() -> None:
            handle.remove()
            self._restore(saved)
            self.random_state_of_epoch = saved.content["epoch_random"]
            trainer.add_event_handler(Events.EPOCH_STARTED, self._note_epoch_start)

        handle = trainer.add_event_handler(Events.EPOCH_STARTED, restore_once)

    def _note_epoch_start(self) -> None:
        self.random_state_of_epoch = get_random_state(self._parts.data.train_loader)

    def _choose_order(self, trainer: Engine) -> None:
        self._parts.data.set_epoch(trainer.state.epoch)

    def _try_first_batch(self, trainer: Engine) -> None:
        """Measure the batch that is to be trained on first, as a measurement would later."""
        self._trial.remove()
        measure_once(self._parts, "train", trainer.state.batch)  # type: ignore[arg-type]

    def _note_left_epoch(self, trainer: Engine, iter_counter: int) -> None:
        self.left_epoch = trainer.state.epoch

    def _finish_full_pass(self, trainer: Engine) -> None:
        """Let the loader come to its end where training ends at an epoch's last iteration."""
        if self._parts.recorder.steps == trainer.state.epoch_length:
            self._parts.trainer.finish_pass()

    def _interrupt_if_asked(self, trainer: Engine) -> None:
        """Interrupt between iterations, and at an epoch's end only after its handlers."""
        if self.was_interrupted and self.is_between_iterations():
            trainer.interrupt()

    def _end_interruptible_part(self) -> None:
        self._can_interrupt = False
        if self.was_interrupted:
            raise _StoppedError

    def _note_completed(self) -> None:
        self._has_completed = True


class ResumedLoader:
    """A loader whose first pass begins where a saved run stopped in mid-epoch.

    The batches before are fetched and dropped, from the random state that the epoch began with,
    so that any loader which repeats itself goes on with the very batch that was next.
    """

    def __init__(self, loader: Iterable[Any], saved: SavedRun) -> None:
        self._loader = loader
        self._saved: SavedRun | None = saved

    def __iter__(self) -> Iterator[Any]:
        if self._saved is None:
            return iter(self._loader)
        saved, self._saved = self._saved, None
        return self._resume(saved)

    def _resume(self, saved: SavedRun) -> Iterator[Any]:
        set_random_state(saved.content["epoch_random"], self._loader)
        batches = iter(self._loader)
        done = saved.iterations_in_epoch
        found = sum(1 for _ in islice(batches, done))
        if found < done:
            raise CheckpointError(
                saved.path, f"the epoch had {done} iterations, and the loader gives {found}"
            )
        set_random_state(saved.content["random"], self._loader)
        yield from batches
