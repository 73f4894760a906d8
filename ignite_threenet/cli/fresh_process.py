"""Calls in fresh processes, which are trusted by what they say at their end alone.

Whatever a plugin does in such a process, the caller learns of it: an exit code proves nothing, for
a plugin may end the process by itself. So the process says over a pipe which phase it is in, and
gives a verdict at its end; where that does not come, the phase tells who is to blame.
"""

import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import util
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from ..errors import describe_error
from ..run.attachment import call_watcher

# By their names, because they come after this one.
_PRELOADED = ("ignite_threenet.cli.preloaded", "ignite_threenet.testing.look")
_TO_END_S = 5.0
_AT_ONCE = ("attach", "close")


class Line:
    """The fresh process's end of the pipe.

    Args:
        connection: the pipe.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._process = os.getpid()
        self._last: tuple[str, str] = ("", "")

    def tell(self, **message: Any) -> None:
        """Tell the caller something, as JSON; a process that a plugin forked tells nothing."""
        if os.getpid() == self._process:
            self._connection.send_bytes(json.dumps(message).encode())

    def enter(self, phase: str, place: str = "") -> None:
        """Tell that a phase begins, or where it is."""
        if (phase, place) != self._last:
            self._last = phase, place
            self.tell(phase=phase, place=place)

    def follow_plugins(self) -> None:
        """Tell from now on which plugin is called, and where."""
        call_watcher.set(self._enter_plugin)

    def _enter_plugin(self, plugin: str, where: str) -> None:
        phase = where if where in _AT_ONCE else "close" if where == "summary" else "run"
        self.enter(phase, f"{where} of plugin {plugin!r}")


Work = Callable[..., Any]
"""What is done: called with the line and its arguments, it gives the verdict, as plain values."""


@dataclass(frozen=True)
class Surroundings:
    """Where a fresh process works.

    Attributes:
        directory: its current directory.
        environment: its environment variables.
        prepare: called first, if anything.
    """

    directory: Path = field(default_factory=Path.cwd)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    prepare: Callable[[], object] | None = None


@dataclass
class Ending:
    """How a fresh process ended.

    Attributes:
        verdict: what its work gave; None if it ended before.
        failure: why there is no verdict; "" if there is one.
        phase: the last phase that it entered.
        said: the lines that it printed.
    """

    verdict: Any = None
    failure: str = ""
    phase: str = ""
    said: list[str] = field(default_factory=list)


def call_afresh(
    work: Work,
    *arguments: Any,
    surroundings: Surroundings | None = None,
    timeout_s: float | None = None,
    hear: Callable[[Mapping[str, Any]], object] = lambda message: None,
) -> Ending:
    """Do some work in a fresh process, and end that with all that it has started.

    Args:
        work: a function of a module.
        *arguments: what it is called with, after its line.
        surroundings: where it works; as here if None.
        timeout_s: seconds that each phase may take.
        hear: called with each message that is no phase and no verdict.
    """
    context = _fresh_processes()
    surroundings = surroundings if surroundings is not None else Surroundings()
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as scratch, receiver:
        log = Path(scratch, "log")
        process = context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(sender, surroundings, log, work, arguments)
        )
        process.start()
        sender.close()
        try:
            ending = _listen(receiver, process, timeout_s, hear)
        finally:
            _kill_all(process)
            process.join()
        if log.exists():
            ending.said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return ending


def _listen(
    receiver: Connection,
    process: Any,
    timeout_s: float | None,
    hear: Callable[[Mapping[str, Any]], object],
) -> Ending:
    ending, place, started = Ending(phase="start"), "", time.monotonic()
    sources: list[Any] = [receiver, process.sentinel]
    while True:
        left = None if timeout_s is None else started + timeout_s - time.monotonic()
        ready = wait(sources, left)
        if not ready:
            ending.failure = f"takes more than {timeout_s:g} s in {_spell(ending.phase, place)}"
            return ending
        if receiver not in ready:
            process.join()
            end = _describe_exit(process.exitcode)
            ending.failure = f"{end} in {_spell(ending.phase, place)}, before it was done"
            return ending
        try:
            message = json.loads(receiver.recv_bytes())
        except (EOFError, OSError, ValueError):
            sources.remove(receiver)
            continue
        if "verdict" in message:
            ending.verdict = message["verdict"]
            wait([process.sentinel], _TO_END_S)
            return ending
        if "error" in message:
            ending.failure = f"fails in {_spell(ending.phase, place)}: {message['error']}"
            return ending
        if "phase" in message:
            if message["phase"] != ending.phase:
                started = time.monotonic()
            ending.phase, place = message["phase"], message["place"]
        else:
            hear(message)


def _spell(phase: str, place: str) -> str:
    return f"{phase} ({place})" if place and not place.startswith(f"{phase} ") else place or phase


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"ends the process by {signal.Signals(-code).name}"
    return f"ends the process with exit code {code}"


def _kill_all(process: Any) -> None:
    """Kill a process, and all that it has started."""
    pid: int = process.pid
    if process.is_alive():
        for each in [*_descendants(pid), pid]:
            with suppress(OSError):
                os.kill(each, signal.SIGKILL)
    if hasattr(os, "killpg"):
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """List a process's children and theirs, where the system tells."""
    found = list_children(pid)
    return [*found, *(each for child in found for each in _descendants(child))]


def list_children(pid: int) -> list[int]:
    """List a process's children, where the system tells."""
    children: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            children += [int(word) for word in path.read_text().split()]
    return children


def _fresh_processes() -> BaseContext:
    """Give processes that have imported torch and this package, and nothing of the user's."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOADED])
    return context


def _serve(
    sender: Connection,
    surroundings: Surroundings,
    log: Path,
    work: Work,
    arguments: tuple[Any, ...],
) -> None:
    if hasattr(os, "setsid"):
        os.setsid()
    os.environ.clear()
    os.environ.update(surroundings.environment)
    tempfile.tempdir = None
    os.chdir(surroundings.directory)
    with log.open("w", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    if surroundings.prepare is not None:
        surroundings.prepare()
    line = Line(sender)
    line.follow_plugins()
    try:
        line.tell(verdict=work(line, *arguments))
    except BaseException as error:  # whatever a plugin raises
        line.tell(error=describe_error(error))
    util._run_finalizers()  # type: ignore[attr-defined]
    # Not as usual: Python would wait for the threads that a plugin has left running.
    os._exit(0)
