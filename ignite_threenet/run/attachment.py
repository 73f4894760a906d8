"""A plugin in a run: what it costs, and who is to blame."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

from ..errors import ConfigError, DivergedError, PluginFailedError, message_of
from ..extensions.plugin import Plugin
from ..storage.tree import pack
from ..training.tracked_engine import current_owner
from ..training.tracked_hooks import count_hooks, guard_hooks
from .plugin_summary import plain_summary

logger = logging.getLogger("ignite_threenet")
call_watcher: ContextVar[Callable[[str, str], object]] = ContextVar(
    "call_watcher", default=lambda plugin, where: None
)
"""Called with a plugin's name and the event or method, before that runs: so a check looks on."""


class Stopwatch:
    """Splits a run's time among its parts: nested parts are not counted in the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._nested: list[float] = []

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time spent in the block to a part."""
        self._nested.append(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            own = elapsed - self._nested.pop()
            self.seconds[part] = self.seconds.get(part, 0.0) + own
            if self._nested:
                self._nested[-1] += elapsed


class Attachment:
    """One plugin in one run.

    Attributes:
        plugin: the plugin.
        failure: why it was detached, or None while it works.
        summary: what it adds to summary.json, once it was asked.
    """

    def __init__(
        self, plugin: Plugin, stopwatch: Stopwatch, current_epoch: Callable[[], int], strict: bool
    ) -> None:
        self.plugin = plugin
        self.failure: PluginFailedError | None = None
        self.summary: Mapping[str, Any] = {}
        self._is_attached = False
        self._run: Any = None
        self._stopwatch = stopwatch
        self._current_epoch = current_epoch
        self._may_detach = plugin.on_error == "detach" and not strict

    @property
    def name(self) -> str:
        """The plugin's name in this run."""
        return self.plugin.name

    def call(self, where: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function of the plugin, unless it was detached; time it, and blame its errors.

        Raises:
            PluginFailedError: it raised, and a failure of this plugin stops the run.
        """
        if self.failure is None:
            return self._guard(where, function, *args, **kwargs)
        return None

    def attach(self, run: Any) -> None:
        """Let the plugin register its handlers.

        Args:
            run: the Run that it takes part in.

        Raises:
            PluginFailedError: it raised, and a failure of this plugin stops the run.
        """
        self._run = run
        self.call("attach", self.plugin.attach, run)
        self._is_attached = self.failure is None

    def state(self) -> Mapping[str, Any] | None:
        """Ask the plugin for what a resumed run must remember; None of one that was detached.

        Raises:
            PluginFailedError: it raised, or gives what no checkpoint can hold, and a failure of
                this plugin stops the run.
        """
        state: Mapping[str, Any] | None = self.call("state_dict", self._storable_state)
        return state

    def _storable_state(self) -> dict[str, Any]:
        state = dict(self.plugin.state_dict())
        pack(state, "state_dict()")
        return state

    def close(self, error: BaseException | None) -> None:
        """Let the plugin release what it holds, also if it was detached since it was attached.

        Raises:
            PluginFailedError: it raised, and a failure of this plugin stops the run.
        """
        if self._is_attached:
            self._guard("close", self.plugin.close, error)

    def summarize(self) -> None:
        """Ask the plugin for what it adds to the summary.

        Raises:
            PluginFailedError: it raised, and a failure of this plugin stops the run.
        """
        if self._is_attached:
            self.summary = self.call("summary", self._plain_summary) or {}

    def _plain_summary(self) -> dict[str, Any]:
        return plain_summary(self.plugin.summary())

    def _guard(self, where: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        token, hooks = current_owner.set(self), count_hooks()
        call_watcher.get()(self.name, where)
        try:
            with self._stopwatch.measure(self.name):
                return function(*args, **kwargs)
        except (PluginFailedError, DivergedError):
            raise  # says already who and where
        except (Exception, SystemExit) as error:
            if where == "attach" and isinstance(error, ConfigError):
                raise  # the plugin refuses what the user asked for
            self._fail(where, error)
            return None
        finally:
            current_owner.reset(token)
            if self._run is not None and count_hooks() != hooks:
                guard_hooks(hooks, self, self._run.model, self._run.optimizer)

    def _fail(self, where: str, cause: BaseException) -> None:
        plugin = self.plugin
        failure = PluginFailedError(
            plugin.name, plugin.distribution, where, self._current_epoch(), cause
        )
        failure.__cause__ = cause
        if not self._may_detach:
            raise failure
        self.failure = self.failure or failure
        logger.error("%s; the run goes on without it", failure)
        logger.debug("the traceback of that failure", exc_info=cause)


# The part of a run's time that the evaluators take; no plugin's name has parentheses.
_MEASURING = "(measuring)"


class Attachments:
    """The plugins of a run, as they are attached, in their order.

    Args:
        current_epoch: tells the trainer's epoch, for messages.
        strict: whether the failure of a plugin that only shows something stops the run, too.

    Attributes:
        plugins: the plugins by name.
    """

    def __init__(self, current_epoch: Callable[[], int], *, strict: bool) -> None:
        self.plugins: dict[str, Plugin] = {}
        self._current_epoch = current_epoch
        self._strict = strict
        self._stopwatch = Stopwatch()
        self._attachments: list[Attachment] = []

    def __iter__(self) -> Iterator[Attachment]:
        return iter(self._attachments)

    def attach(self, plugins: Iterable[Plugin], run: Any) -> None:
        """Attach plugins to a run, in this order.

        Raises:
            PluginFailedError: one raised, and its failure stops the run; those before it are
                closed.
        """
        try:
            for plugin in plugins:
                if plugin.required_by is not None:
                    logger.info("%s: required by %s", plugin.name, plugin.required_by)
                attachment = Attachment(plugin, self._stopwatch, self._current_epoch, self._strict)
                self.plugins[plugin.name] = plugin
                self._attachments.append(attachment)
                attachment.attach(run)
        except BaseException as error:
            self.close(error)
            # Which a plugin may have made by now.
            run.directory.release()
            raise

    def check_states(self) -> None:
        """Ask for the states before there is something to lose.

        Raises:
            PluginFailedError: a plugin gives none, or one that no checkpoint can hold.
        """
        for attachment in self._attachments:
            attachment.state()

    def close(self, error: BaseException | None) -> BaseException | None:
        """Close the plugins, the last one first.

        Args:
            error: what ended the run, or None.

        Returns:
            Of several errors the first one, this one included.
        """
        for attachment in reversed(self._attachments):
            try:
                attachment.close(error)
                attachment.summarize()
            except BaseException as failure:
                if error is None:
                    error = failure
                else:
                    logger.error("%s", message_of(failure))
        return error

    def measuring(self) -> AbstractContextManager[None]:
        """Count the time of a block as that of the evaluators."""
        return self._stopwatch.measure(_MEASURING)

    @property
    def plugin_seconds(self) -> dict[str, float]:
        """Seconds spent so far in each plugin's own code, without the measuring it ordered."""
        return {name: self._stopwatch.seconds.get(name, 0.0) for name in self.plugins}

    @property
    def measuring_seconds(self) -> float:
        """Seconds spent so far in the evaluators, without the plugins that listen to them."""
        return self._stopwatch.seconds.get(_MEASURING, 0.0)
