"""Tests of who attached which handler, what it costs, and who is to blame."""

import functools
import logging
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from conftest import Clock, MakeBatches, MakeConfig
from ignite.engine import Engine, Events
from ignite.handlers import HandlersTimeProfiler

from ignite_threenet import ConfigError, Plugin, PluginFailedError, Run
from ignite_threenet.run.attachment import Attachment, Stopwatch
from ignite_threenet.training.tracked_engine import Registration, TrackedEngine, describe_event

Handler = Callable[..., Any]


@pytest.fixture
def run(make_config: MakeConfig, make_batches: MakeBatches) -> Run:
    return Run(make_config(), loaders={"train": make_batches()})


@pytest.fixture
def engine() -> TrackedEngine:
    return TrackedEngine(lambda engine, batch: None, name="trainer")


class Watcher(Plugin):
    """Stops the run when it fails."""

    name = "x"
    distribution = "dist 1.0"


class Decoration(Plugin):
    """Is removed when it fails."""

    name = "y"
    on_error = "detach"

    closed_with: ClassVar[object] = "not closed"

    def close(self, error: BaseException | None) -> None:
        self.__dict__["closed_with"] = error


def attach(plugin: Plugin, *, epoch: int = 2, strict: bool = False) -> Attachment:
    return Attachment(plugin, Stopwatch(), current_epoch=lambda: epoch, strict=strict)


def register(
    attachment: Attachment, engine: Engine, event: Any, handler: Handler, *args: Any, **kwargs: Any
) -> Any:
    """Add a handler in the plugin's name, as its attach() would."""
    return attachment.call("attach", engine.add_event_handler, event, handler, *args, **kwargs)


def fail() -> None:
    raise ValueError("broken")


def observe() -> None:
    pass


# Registrations


def test_a_handler_is_noted_with_its_engine_event_and_owner(engine: TrackedEngine) -> None:
    register(attach(Watcher()), engine, Events.EPOCH_COMPLETED, observe)

    assert engine.registrations == [Registration("trainer", "EPOCH_COMPLETED", "observe", "x")]


def test_a_handler_of_no_plugin_has_no_owner(engine: TrackedEngine) -> None:
    engine.add_event_handler(Events.EPOCH_COMPLETED, observe)

    assert engine.registrations == [Registration("trainer", "EPOCH_COMPLETED", "observe", None)]


def test_a_handler_added_by_the_decorator_is_noted_too(engine: TrackedEngine) -> None:
    engine.on(Events.COMPLETED)(observe)

    assert engine.registrations == [Registration("trainer", "COMPLETED", "observe", None)]


def test_each_event_of_a_list_is_noted_once(engine: TrackedEngine) -> None:
    register(attach(Watcher()), engine, Events.STARTED | Events.EPOCH_COMPLETED(every=3), observe)

    assert engine.registrations == [
        Registration("trainer", "STARTED", "observe", "x"),
        Registration("trainer", "EPOCH_COMPLETED(every=3)", "observe", "x"),
    ]


def test_a_handler_that_a_plugins_handler_adds_is_the_plugins_too(
    engine: TrackedEngine,
) -> None:
    def add() -> None:
        engine.add_event_handler(Events.COMPLETED, observe)

    register(attach(Watcher()), engine, Events.STARTED, add)
    engine.run([0])

    assert engine.registrations[-1] == Registration("trainer", "COMPLETED", "observe", "x")


def test_after_a_plugins_handler_nobody_owns_what_is_added(engine: TrackedEngine) -> None:
    register(attach(Watcher()), engine, Events.STARTED, observe)
    engine.add_event_handler(
        Events.STARTED, lambda: engine.add_event_handler(Events.COMPLETED, observe)
    )
    engine.run([0])

    assert engine.registrations[-1].owner is None


def test_ownership_ends_also_with_an_error(engine: TrackedEngine) -> None:
    with pytest.raises(PluginFailedError):
        attach(Watcher()).call("attach", fail)
    engine.add_event_handler(Events.STARTED, observe)

    assert engine.registrations[-1].owner is None


def test_the_inner_plugin_owns_what_is_added_while_two_are_at_work(
    engine: TrackedEngine,
) -> None:
    outer, inner = attach(Watcher()), attach(Decoration())
    outer.call("attach", register, inner, engine, Events.STARTED, observe)

    assert engine.registrations[-1].owner == "y"


def test_a_registration_that_ignite_refuses_is_not_noted(engine: TrackedEngine) -> None:
    with pytest.raises(ValueError, match="is not a valid event"):
        engine.add_event_handler("no_such_event", observe)

    assert engine.registrations == []


class Observer:
    def look(self) -> None:
        pass

    def __call__(self) -> None:
        pass


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        (observe, "observe"),
        (Observer().look, "Observer.look"),
        (Observer(), "Observer"),
        (functools.partial(observe), "partial"),
    ],
)
def test_a_handler_is_called_by_its_name(
    engine: TrackedEngine, handler: Handler, name: str
) -> None:
    engine.add_event_handler(Events.STARTED, handler)

    assert engine.registrations[0].handler == name


# Handlers of a plugin behave as Ignite's


def takes_nothing() -> list[object]:
    return []


def takes_engine(engine: Engine) -> list[object]:
    return [engine]


def takes_a_default(value: object = 1) -> list[object]:
    return [value]


def takes_anything(*args: object, **kwargs: object) -> list[object]:
    return [*args, *kwargs.items()]


def takes_two(engine: Engine, value: object) -> list[object]:
    return [engine, value]


def takes_one_by_name(engine: Engine, *, value: object) -> list[object]:
    return [engine, value]


class Taker:
    def take(self, engine: Engine) -> list[object]:
        return [engine]


@pytest.mark.parametrize(
    ("handler", "args", "kwargs"),
    [
        (takes_nothing, (), {}),
        (takes_engine, (), {}),
        (takes_engine, ("own",), {}),
        (takes_a_default, (), {}),
        (takes_anything, ("own",), {"key": 2}),
        (takes_two, ("own",), {}),
        (takes_one_by_name, (), {"value": "own"}),
        (Taker().take, (), {}),
        (functools.partial(takes_two, value=3), (), {}),
    ],
)
@pytest.mark.parametrize("event", [Events.STARTED, Events.ITERATION_COMPLETED(every=2)])
def test_a_plugins_handler_gets_the_arguments_that_ignite_passes(
    engine: TrackedEngine,
    handler: Callable[..., list[object]],
    args: tuple[object, ...],
    kwargs: dict[str, object],
    event: Any,
) -> None:
    def arguments_passed(some_engine: Engine, add: Handler) -> list[list[object]]:
        """List what the handler receives, with a name in the engine's place."""

        @functools.wraps(handler)
        def noted(*received_args: Any, **received_kwargs: Any) -> None:
            arguments = handler(*received_args, **received_kwargs)
            received.append(["engine" if each is some_engine else each for each in arguments])

        received: list[list[object]] = []
        add(some_engine, event, noted, *args, **kwargs)
        some_engine.run([0, 1])
        return received

    plain = Engine(lambda engine, batch: None)
    expected = arguments_passed(plain, Engine.add_event_handler)
    assert len(expected) == 1
    assert arguments_passed(engine, functools.partial(register, attach(Watcher()))) == expected


def test_a_handler_with_a_wrong_signature_is_refused_by_its_name(engine: TrackedEngine) -> None:
    def takes_three(engine: Engine, one: object, two: object) -> None:
        pass

    with pytest.raises(
        PluginFailedError, match=r"takes_three.* takes parameters \['engine', 'one'"
    ):
        register(attach(Watcher()), engine, Events.STARTED, takes_three)


EVENTS = (
    Events.EPOCH_COMPLETED,
    Events.EPOCH_COMPLETED(every=2),
    Events.STARTED | Events.EPOCH_COMPLETED(every=2),
)
HANDLERS = (observe, Observer().look, Observer())


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("event", EVENTS)
def test_a_handle_removes_a_plugins_handler(
    engine: TrackedEngine, event: Any, handler: Handler
) -> None:
    handle = register(attach(Watcher()), engine, event, handler)
    assert engine.has_event_handler(handler)
    handle.remove()

    assert not engine.has_event_handler(handler)


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("event", EVENTS[:2])
def test_a_plugins_handler_is_removed_by_its_own_name(
    engine: TrackedEngine, event: Any, handler: Handler
) -> None:
    register(attach(Watcher()), engine, event, handler)
    assert engine.has_event_handler(handler, event)
    engine.remove_event_handler(handler, event)

    assert not engine.has_event_handler(handler, event)


def test_removing_a_handler_leaves_the_others(engine: TrackedEngine) -> None:
    calls: list[str] = []
    attachment = attach(Watcher())
    kept, removed = functools.partial(calls.append, "kept"), functools.partial(calls.append, "gone")
    register(attachment, engine, Events.STARTED, kept)
    register(attachment, engine, Events.STARTED, removed).remove()
    engine.run([0])

    assert calls == ["kept"]


def test_removing_a_handler_that_is_not_there_is_an_error(engine: TrackedEngine) -> None:
    register(attach(Watcher()), engine, Events.STARTED, observe)
    with pytest.raises(ValueError, match="is not found among registered event handlers"):
        engine.remove_event_handler(fail, Events.STARTED)


def test_ignites_profiler_knows_a_plugins_handler_by_its_name(engine: TrackedEngine) -> None:
    register(attach(Watcher()), engine, Events.EPOCH_COMPLETED, observe)
    profiler = HandlersTimeProfiler()
    profiler.attach(engine)
    engine.run([0])

    assert list(profiler.event_handlers_times[Events.EPOCH_COMPLETED]) == ["observe"]


# Stopwatch


def test_the_stopwatch_adds_up_a_parts_seconds(clock: Clock) -> None:
    stopwatch = Stopwatch()
    for seconds in (1.0, 2.5):
        with stopwatch.measure("plot"):
            clock.take(seconds)
        clock.take(100.0)

    assert stopwatch.seconds == {"plot": 3.5}


def test_a_nested_part_is_not_counted_in_the_outer_one(clock: Clock) -> None:
    stopwatch = Stopwatch()
    with stopwatch.measure("accuracy"):
        clock.take(1.0)
        with stopwatch.measure("measuring"):
            clock.take(10.0)
            with stopwatch.measure("best"):
                clock.take(100.0)
        with stopwatch.measure("best"):
            clock.take(200.0)
        clock.take(3.0)

    assert stopwatch.seconds == {"accuracy": 4.0, "measuring": 10.0, "best": 300.0}


def test_a_part_nested_in_itself_is_counted_once(clock: Clock) -> None:
    stopwatch = Stopwatch()
    with stopwatch.measure("plot"):
        clock.take(1.0)
        with stopwatch.measure("plot"):
            clock.take(2.0)

    assert stopwatch.seconds == {"plot": 3.0}


def test_the_stopwatch_counts_also_what_ends_with_an_error(clock: Clock) -> None:
    def fail_slowly() -> None:
        clock.take(2.0)
        fail()

    stopwatch = Stopwatch()
    with pytest.raises(ValueError, match="broken"), stopwatch.measure("plot"):
        fail_slowly()
    with stopwatch.measure("best"):
        clock.take(5.0)

    assert stopwatch.seconds == {"plot": 2.0, "best": 5.0}


def test_a_plugins_handlers_are_timed_under_its_name(engine: TrackedEngine, clock: Clock) -> None:
    stopwatch = Stopwatch()
    attachment = Attachment(Watcher(), stopwatch, current_epoch=lambda: 0, strict=False)
    register(attachment, engine, Events.ITERATION_COMPLETED, lambda: clock.take(1.5))
    engine.run([0, 1])

    assert stopwatch.seconds == {"x": 3.0}


# Errors of a plugin


def test_a_failing_handler_is_blamed_on_its_plugin(engine: TrackedEngine) -> None:
    register(attach(Watcher(), epoch=2), engine, Events.EPOCH_COMPLETED, fail)
    with pytest.raises(PluginFailedError) as caught:
        engine.run([0])

    error = caught.value
    assert str(error) == (
        "plugin 'x' (dist 1.0) failed at EPOCH_COMPLETED, epoch 2: ValueError: broken"
    )
    assert (error.plugin, error.distribution) == ("x", "dist 1.0")
    assert (error.where, error.epoch) == ("EPOCH_COMPLETED", 2)


def test_the_cause_of_a_failure_is_chained() -> None:
    with pytest.raises(PluginFailedError) as caught:
        attach(Watcher()).call("attach", fail)

    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.__cause__.__traceback__ is not None


def test_a_failure_names_the_event_with_its_filter(engine: TrackedEngine) -> None:
    register(attach(Watcher()), engine, Events.EPOCH_COMPLETED(every=2), fail)
    with pytest.raises(PluginFailedError, match=r"failed at EPOCH_COMPLETED\(every=2\), epoch 2"):
        engine.run([0], max_epochs=2)


def test_a_handler_that_leaves_the_program_is_blamed(engine: TrackedEngine) -> None:
    register(attach(Watcher()), engine, Events.STARTED, lambda: sys.exit(0))
    with pytest.raises(PluginFailedError, match=r"failed at STARTED, epoch 2: SystemExit: 0$"):
        engine.run([0])


def test_a_plugin_may_refuse_at_attach_what_the_user_asked_for(run: Run) -> None:
    class Refusing(Decoration):
        def attach(self, run: Run) -> None:
            raise ConfigError("refusing.split: no such split")

    with pytest.raises(ConfigError, match=r"^refusing\.split: no such split$"):
        attach(Refusing()).attach(run)


def test_an_error_of_this_project_is_blamed_in_a_handler(engine: TrackedEngine) -> None:
    def refuse() -> None:
        raise ConfigError("no such split")

    decoration = attach(Decoration())
    register(decoration, engine, Events.STARTED, refuse)
    engine.run([0])

    assert str(decoration.failure) == (
        "plugin 'y' failed at STARTED, epoch 2: ConfigError: no such split"
    )


@pytest.mark.parametrize("reraises", [False, True])
def test_an_error_goes_on_after_its_handlers_heard_of_it_once_where_that_is_asked_for(
    engine: TrackedEngine, reraises: bool
) -> None:
    heard: list[BaseException] = []
    engine.reraises = reraises
    engine.add_event_handler(Events.EXCEPTION_RAISED, heard.append)
    engine.add_event_handler(Events.ITERATION_COMPLETED, fail)

    if reraises:
        with pytest.raises(ValueError, match="broken"):
            engine.run([0])
    else:
        engine.run([0])

    assert [str(error) for error in heard] == ["broken"]


def test_an_interrupt_passes_and_blames_nobody(engine: TrackedEngine) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    attachment = attach(Decoration())
    register(attachment, engine, Events.STARTED, interrupt)
    with pytest.raises(KeyboardInterrupt):
        engine.run([0])

    assert attachment.failure is None


def test_a_failing_decoration_is_detached_and_the_run_goes_on(engine: TrackedEngine) -> None:
    calls: list[int] = []

    def fail_each_time(engine: Engine) -> None:
        calls.append(engine.state.epoch)
        fail()

    attachment = attach(Decoration())
    register(attachment, engine, Events.EPOCH_COMPLETED, fail_each_time)
    register(attachment, engine, Events.COMPLETED, calls.append, -1)
    state = engine.run([0], max_epochs=3)

    assert state.epoch == 3
    assert calls == [1]
    assert str(attachment.failure) == (
        "plugin 'y' failed at EPOCH_COMPLETED, epoch 2: ValueError: broken"
    )
    assert isinstance(attachment.failure, PluginFailedError)
    assert isinstance(attachment.failure.__cause__, ValueError)


def test_a_detached_plugin_is_reported_once(
    engine: TrackedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    attachment = attach(Decoration())
    register(attachment, engine, Events.EPOCH_COMPLETED, fail)
    engine.run([0], max_epochs=3)

    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [error.getMessage() for error in errors] == [
        "plugin 'y' failed at EPOCH_COMPLETED, epoch 2: ValueError: broken; "
        "the run goes on without it"
    ]


def test_the_traceback_of_a_detached_plugin_is_logged_for_those_who_debug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="ignite_threenet")
    attach(Decoration()).call("attach", fail)

    assert "Traceback (most recent call last)" in caplog.text
    assert 'raise ValueError("broken")' in caplog.text


def test_strictly_also_a_decoration_stops_the_run(engine: TrackedEngine) -> None:
    attachment = attach(Decoration(), strict=True)
    register(attachment, engine, Events.EPOCH_COMPLETED, fail)
    with pytest.raises(PluginFailedError, match="plugin 'y' failed at EPOCH_COMPLETED"):
        engine.run([0])

    assert attachment.failure is None


def test_a_plugin_that_could_not_be_attached_is_not_closed(run: Run) -> None:
    class Unattachable(Decoration):
        def attach(self, run: Run) -> None:
            fail()

    plugin = Unattachable()
    attachment = attach(plugin)
    attachment.attach(run)
    attachment.close(None)

    assert plugin.closed_with == "not closed"


def test_a_detached_plugin_is_closed_all_the_same(run: Run) -> None:
    plugin, end = Decoration(), ValueError("the end")
    attachment = attach(plugin)
    attachment.attach(run)
    attachment.call("EPOCH_COMPLETED", fail)
    attachment.close(end)

    assert plugin.closed_with is end


def test_an_error_while_closing_is_blamed(run: Run) -> None:
    class Unclosable(Plugin):
        def close(self, error: BaseException | None) -> None:
            fail()

    attachment = attach(Unclosable())
    attachment.attach(run)
    with pytest.raises(PluginFailedError) as caught:
        attachment.close(None)

    assert str(caught.value) == ("plugin 'unclosable' failed at close, epoch 2: ValueError: broken")


def test_a_call_gives_what_the_function_gives() -> None:
    assert attach(Watcher()).call("summary", lambda number: number + 1, 2) == 3


def test_of_two_nested_plugins_the_inner_one_is_blamed(engine: TrackedEngine) -> None:
    evaluator = TrackedEngine(lambda engine, batch: None, name="evaluators[train]")
    register(attach(Decoration()), engine, Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    register(attach(Watcher()), evaluator, Events.COMPLETED, fail)
    with pytest.raises(
        PluginFailedError, match=r"^plugin 'x' .* failed at evaluators\[train\] COMPLETED"
    ):
        engine.run([0])


# describe_event


def is_odd(engine: Engine, event: int) -> bool:
    return event % 2 == 1


def beyond(limit: int) -> Callable[[Engine, int], bool]:
    def is_beyond(engine: Engine, event: int) -> bool:
        return event > limit

    return is_beyond


class Warmup:
    def __call__(self, engine: Engine, event: int) -> bool:
        return event < 5

    def is_over(self, engine: Engine, event: int) -> bool:
        return event >= 5


@pytest.mark.parametrize(
    ("event", "spelling"),
    [
        (Events.EPOCH_COMPLETED, "EPOCH_COMPLETED"),
        (Events.EPOCH_COMPLETED(every=1), "EPOCH_COMPLETED"),
        (Events.EPOCH_COMPLETED(every=20), "EPOCH_COMPLETED(every=20)"),
        (Events.ITERATION_STARTED(once=3), "ITERATION_STARTED(once=[3])"),
        (Events.ITERATION_STARTED(once=[3, 5]), "ITERATION_STARTED(once=[3, 5])"),
        (Events.EPOCH_STARTED(after=2, before=9), "EPOCH_STARTED(after=2, before=9)"),
        (
            Events.EPOCH_STARTED(every=3, after=2, before=9),
            "EPOCH_STARTED(after=2, before=9, every=3)",
        ),
        (Events.EPOCH_STARTED(event_filter=is_odd), "EPOCH_STARTED(is_odd)"),
        (
            Events.EPOCH_STARTED(event_filter=beyond(3)),
            "EPOCH_STARTED(beyond.<locals>.is_beyond)",
        ),
        (Events.EPOCH_STARTED(event_filter=Warmup().is_over), "EPOCH_STARTED(Warmup.is_over)"),
        (Events.EPOCH_STARTED(event_filter=Warmup()), "EPOCH_STARTED(Warmup)"),
        (Events.EPOCH_STARTED(event_filter=functools.partial(is_odd)), "EPOCH_STARTED(partial)"),
        ("my_event", "my_event"),
    ],
)
def test_an_event_is_spelled_with_its_filter(event: Any, spelling: str) -> None:
    assert describe_event(event) == spelling
