"""Children that a fault may kill, forked from a process that has torch imported already.

POSIX alone has os.fork(), and torch's autograd does not survive it where the parent has run it on
an accelerator; WHY_NOT says so. A child computes in one thread, as DataLoader's workers do.
"""

import mmap
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

WHY_NOT = (
    "needs os.fork(), which POSIX alone has"
    if not hasattr(os, "fork")
    else "autograd's threads of an accelerator do not survive os.fork()"
    if torch.accelerator.is_available()
    else ""
)

CRASHED = 70
_HANGS_AFTER_S = 120


def start(work: Callable[[], object], log: Path) -> int:
    """Fork a child that works, with its output in a file; it ends by itself should it hang."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Of threads in the parent, which do no harm: the child does not use them.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _be_child(work, log)
    return pid


def _be_child(work: Callable[[], object], log: Path) -> None:
    code = CRASHED
    try:
        signal.alarm(_HANGS_AFTER_S)
        torch.set_num_threads(1)
        with log.open("w", encoding="utf-8") as stream:
            sys.stdout = sys.stderr = stream
            code = _run(work)
    finally:
        os._exit(code)


def _run(work: Callable[[], object]) -> int:
    try:
        work()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0
    except BaseException:
        traceback.print_exc()
        return CRASHED
    return 0


def wait(pid: int) -> int:
    """Give a child's exit code, or the number of the signal that killed it, below 0."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def has_ended(pid: int) -> bool:
    """Tell whether a child has ended; wait() still gives how."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def run(work: Callable[[], object], log: Path) -> int:
    """Let a child work, and give its exit code."""
    return wait(start(work, log))


def result(work: Callable[[], Any], log: Path) -> Any:
    """Let a child work, and give what it returns.

    Raises:
        RuntimeError: it failed; the message is its output.
    """
    place = log.with_suffix(".pickle")
    code = run(lambda: place.write_bytes(pickle.dumps(work())), log)
    if code != 0:
        raise RuntimeError(f"exit code {code}: {log.read_text(encoding='utf-8')}")
    return pickle.loads(place.read_bytes())


class Board:
    """A few numbers that a child writes and its parent reads, also when the child is dead."""

    _SIZE = 8

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def __getitem__(self, place: int) -> int:
        at = place * self._SIZE
        return int.from_bytes(self._memory[at : at + self._SIZE], "little")

    def __setitem__(self, place: int, value: int) -> None:
        at = place * self._SIZE
        self._memory[at : at + self._SIZE] = value.to_bytes(self._SIZE, "little")
