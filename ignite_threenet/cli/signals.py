"""What the program does on SIGINT and SIGTERM."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, Protocol

from ..errors import RunInterruptedError


class Interruptible(Protocol):
    """A run."""

    def interrupt(self) -> bool:
        """Ask it to end; tell whether it will."""


class TerminatedError(BaseException):
    """SIGTERM arrived; the run closes as it does at Ctrl-C."""


def stop_at_once(signum: int, frame: FrameType | None) -> NoReturn:
    """End the program, through everything that closes on its way."""
    if signum == signal.SIGTERM:
        raise TerminatedError("terminated")
    raise KeyboardInterrupt


@contextmanager
def signals_interrupt(the_run: Interruptible) -> Iterator[None]:
    """Let SIGINT and SIGTERM end a run after its iteration; a second one stops it at once."""
    received: list[int] = []

    def interrupt(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        if len(received) > 1 or not the_run.interrupt():
            stop_at_once(signum, frame)

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except RunInterruptedError as error:
        if received:
            error.exit_code = 128 + received[0]
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
