"""Whose handler is it: what each plugin attached, what it costs, and who is to blame.

A plugin attaches handlers to Ignite engines by Ignite's own means. While it does, and while its
handlers run, it is the current owner, so that each handler it registers is known to be its own:
timed, guarded, and listed in the plan.
"""

import inspect
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Protocol

from ignite.engine import Engine, Events, State, events
from ignite.engine.events import CallableEventWithFilter, EventsList, RemovableEventHandle


@dataclass(frozen=True)
class Registration:
    """One handler at one event of one engine.

    Attributes:
        engine: the engine's name.
        event: the event, with its filter: ``EPOCH_COMPLETED(every=20)``.
        handler: the handler's name, with that of its class.
        owner: the plugin that registered it, or None for the run itself.
    """

    engine: str
    event: str
    handler: str
    owner: str | None


class TrackedEngine(Engine):
    """An Ignite engine that knows which plugin each of its handlers belongs to.

    Attributes:
        name: what errors and plans call it.
        registrations: its handlers, in the order of their registration.
        reraises: whether an error goes on when the handlers of EXCEPTION_RAISED have
            heard of it. Ignite ends it there, and goes on as if nothing had happened.
    """

    def __init__(self, process_function: Callable[[Engine, Any], Any], name: str) -> None:
        super().__init__(process_function)
        self.name = name
        self.registrations: list[Registration] = []
        self.reraises = False
        self._last_error: BaseException | None = None

    def _handle_exception(self, e: BaseException) -> None:
        # Ignite handles an error of an iteration twice: there, and where the run ends.
        if not self.reraises or e is not self._last_error:
            self._last_error = e
            super()._handle_exception(e)
        if self.reraises:
            raise e

    def _setup_dataloader_iter(self) -> None:
        if self.should_terminate_single_epoch:
            # Ignite begins the next pass as it leaves an epoch; what a loader draws then would be
            # drawn before anybody hears that the next epoch starts.
            self._dataloader_iter, self._init_iter = None, 0
        else:
            super()._setup_dataloader_iter()

    def run_anew(self, loader: Any) -> State:
        """Run over a loader, also where the last run failed.

        After a failure, Ignite's next run() only clears that away and returns None.
        """
        state: State | None = self.run(loader)
        return state if state is not None else self.run(loader)

    def set_counters(
        self, *, iteration: int, epoch: int, done: int, epoch_length: int | None, max_epochs: int
    ) -> None:
        """Set the counters with which the next run() begins.

        Ignite would compute them from one another, which takes epochs of one known length.

        Args:
            iteration: iterations done.
            epoch: the epoch before the one that begins, or goes on.
            done: iterations done of that one.
            epoch_length: iterations in an epoch, if they are known.
            max_epochs: epochs in all.
        """
        self.load_state_dict(
            {"epoch_length": epoch_length, "iteration": 0, "max_epochs": max_epochs}
        )
        self.state.iteration, self.state.epoch = iteration, epoch
        self._init_iter = done

    def finish_pass(self) -> None:
        """Let the loader come to its end in the epoch that it has given its batches to.

        Ignite asks for one batch more only in the next epoch; what a loader draws then from its
        generator would be drawn after the checkpoint, and never by a run that goes on from there.
        """
        batches = self._dataloader_iter
        # None: of an epoch that was left early, or was over when the run was saved.
        if batches is not None and (rest := list(islice(batches, 1))):
            self._dataloader_iter = chain(rest, batches)

    def abandon(self) -> None:
        """End an interrupted run for good.

        Ignite keeps it to go on in this process, and reports an error when it is thrown away.
        """
        run, self._internal_run_generator = self._internal_run_generator, None
        if run is None:
            return
        was_disabled, self.logger.disabled = self.logger.disabled, True
        try:
            run.close()
        finally:
            self.logger.disabled = was_disabled

    def add_event_handler(
        self, event_name: Any, handler: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> RemovableEventHandle:
        """Register a handler as Ignite does, and note who registered it."""
        if isinstance(event_name, EventsList):
            # Ignite calls this method again for each event of the list.
            return super().add_event_handler(event_name, handler, *args, **kwargs)
        owner = current_owner.get()
        event = describe_event(event_name)
        where = event if self.name == "trainer" else f"{self.name} {event}"
        guarded = _GuardedHandler(handler, owner, where) if owner else handler
        guarded_event = _guard_filter(event_name, owner, where) if owner else event_name
        handle = super().add_event_handler(guarded_event, guarded, *args, **kwargs)
        self.registrations.append(
            Registration(self.name, event, qualified_name(handler), owner.name if owner else None)
        )
        return handle


class HandlerOwner(Protocol):
    """Whoever registers handlers: a plugin in a run."""

    @property
    def name(self) -> str:
        """What plans call it."""

    def call(self, where: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call one of its functions: timed, and blamed on it where it fails."""


current_owner: ContextVar[HandlerOwner | None] = ContextVar("owner", default=None)
"""Who registers handlers now."""


class _GuardedHandler:
    """A plugin's handler, run under its owner's guard.

    Equal to the handler that it stands for, so that Ignite finds and removes it under that name.
    """

    def __init__(self, handler: Callable[..., Any], owner: HandlerOwner, event: str) -> None:
        self.__wrapped__ = handler  # where Ignite finds the signature, to see what to pass
        self.__qualname__ = qualified_name(handler)  # what Ignite's profiler shows
        self._owner = owner
        self._event = event

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self._owner.call(self._event, self.__wrapped__, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return self is other or self.__wrapped__ == other

    def __hash__(self) -> int:
        return hash(self.__wrapped__)


def _guard_filter(event: Any, owner: HandlerOwner, where: str) -> Any:
    """Give the event with its filter under its owner's guard, if the owner wrote that filter."""
    if not isinstance(event, CallableEventWithFilter) or _is_filter_of_ignite(event):
        return event
    choose: Callable[..., Any] = event.filter  # type: ignore[assignment]

    def is_wanted(engine: Engine, count: int) -> bool:
        return bool(owner.call(where, choose, engine, count))

    return CallableEventWithFilter(event.value, is_wanted, event.name)


def _is_filter_of_ignite(event: CallableEventWithFilter) -> bool:
    return event.filter is None or getattr(event.filter, "__module__", "") == events.__name__


def describe_event(event: Any) -> str:
    """Spell an event with its filter.

    Example:
        >>> from ignite.engine import Events
        >>> describe_event(Events.EPOCH_COMPLETED(every=20))
        'EPOCH_COMPLETED(every=20)'
    """
    if not isinstance(event, CallableEventWithFilter):
        return str(event)
    if event.filter is None:
        return event.name
    if not _is_filter_of_ignite(event):
        return f"{event.name}({qualified_name(event.filter)})"
    # Ignite keeps every=, once=, before= and after= in closures of its own.
    bounds = inspect.getclosurevars(event.filter).nonlocals
    spelled = ", ".join(f"{key.rstrip('_')}={value}" for key, value in bounds.items())
    return f"{event.name}({spelled})"


def qualified_name(function: Callable[..., Any]) -> str:
    """Name a function, with the class that it is a method of; of another callable, its class."""
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", None)
    if owner is not None and name is not None:
        return f"{type(owner).__name__}.{name}"
    return getattr(function, "__qualname__", type(function).__qualname__)


# As Ignite fires them.
_EVENTS_IN_ORDER = (
    Events.STARTED,
    Events.EPOCH_STARTED,
    Events.GET_BATCH_STARTED,
    Events.GET_BATCH_COMPLETED,
    Events.ITERATION_STARTED,
    Events.ITERATION_COMPLETED,
    Events.EPOCH_COMPLETED,
    Events.COMPLETED,
)


def list_handlers(engines: Iterable[TrackedEngine]) -> list[Registration]:
    """List the handlers of engines, by engine and event, in the order in which they run."""
    return [
        registration
        for engine in engines
        for registration in sorted(engine.registrations, key=_place_in_a_run)
    ]


def _place_in_a_run(registration: Registration) -> int:
    """Give the place of a handler's event among those of a run, as Ignite fires them."""
    name = registration.event.partition("(")[0]
    names = [event.name for event in _EVENTS_IN_ORDER]
    return names.index(name) if name in names else len(names)
