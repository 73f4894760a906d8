"""What the program does on SIGINT, on SIGTERM, and on SIGHUP: a terminal that is gone."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, Protocol

from ..errors import RunInterruptedError


class Interruptible(Protocol):
    """A run."""

    def interrupt(self) -> bool:
        """Ask it to end; tell whether it will."""


class TerminatedError(BaseException):
    """SIGTERM or SIGHUP arrived; the run closes as it does at Ctrl-C."""

    def __init__(self, signum: int) -> None:
        super().__init__("terminated")
        self.signum = signum


# Windows has no SIGHUP.
_TERMINATING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def stop_at_once(signum: int, frame: FrameType | None) -> NoReturn:
    """End the program, through everything that closes on its way."""
    if signum in _TERMINATING:
        raise TerminatedError(signum)
    raise KeyboardInterrupt


def close_when_terminated() -> None:
    """Let signals that end the program close what is open."""
    for each in _heeded(_TERMINATING):
        signal.signal(each, stop_at_once)


def _heeded(signals: Iterable[int]) -> list[int]:
    """Leave out those that are ignored, as nohup and a shell's background jobs ask for."""
    return [each for each in signals if signal.getsignal(each) is not signal.SIG_IGN]


@contextmanager
def signals_interrupt(the_run: Interruptible) -> Iterator[None]:
    """Let these signals end a run after its iteration; a second one stops it at once."""
    received: list[int] = []

    def interrupt(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        if len(received) > 1 or not the_run.interrupt():
            stop_at_once(signum, frame)

    heeded = _heeded([signal.SIGINT, *_TERMINATING])
    before = {each: signal.signal(each, interrupt) for each in heeded}
    try:
        yield
    except RunInterruptedError as error:
        if received:
            error.exit_code = 128 + received[0]
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
