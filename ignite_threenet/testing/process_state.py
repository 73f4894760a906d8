"""What of its process a plugin must leave as it found it."""

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from ..cli.fresh_process import list_children

resource: ModuleType | None
try:
    import resource
except ImportError:  # where the system has no such limits
    resource = None

_TIMERS = ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")


def _read_umask() -> str:
    mask = os.umask(0o077)
    os.umask(mask)
    return f"{mask:03o}"


def _read_limits() -> dict[str, Any]:
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    limits = {}
    for name in names:
        with suppress(OSError, ValueError):
            limits[name] = resource.getrlimit(getattr(resource, name))  # type: ignore[union-attr]
    return limits


def _read_timers() -> list[str]:
    found = [name for name in _TIMERS if hasattr(signal, name)]
    return [name for name in found if signal.getitimer(getattr(signal, name))[0] > 0]


def _read_blocked_signals() -> list[str]:
    if not hasattr(signal, "pthread_sigmask"):
        return []
    return sorted(str(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, []))


def _read_processors() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _read_priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0


def _read_cudnn() -> tuple[bool, ...]:
    backend = torch.backends.cudnn
    return backend.enabled, backend.benchmark, backend.deterministic


# What messages call it, and how it is read.
_SETTINGS: Mapping[str, Callable[[], Any]] = {
    "torch's number of threads": torch.get_num_threads,
    "torch's number of interop threads": torch.get_num_interop_threads,
    "torch's deterministic algorithms": lambda: (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    ),
    "torch's grad mode": torch.is_grad_enabled,
    "torch's inference mode": torch.is_inference_mode_enabled,
    "torch's anomaly detection": torch.is_anomaly_enabled,
    "torch's autocast": lambda: torch.is_autocast_enabled("cpu"),
    "torch's default device": lambda: str(torch.get_default_device()),
    "torch's precision of matrix products": torch.get_float32_matmul_precision,
    "torch's settings of cuDNN": _read_cudnn,
    "torch's print options": lambda: dict(vars(torch._tensor_str.PRINT_OPTS)),
    "NumPy's print options": np.get_printoptions,
    "NumPy's handling of errors": np.geterr,
    "the timers": _read_timers,
    "the blocked signals": _read_blocked_signals,
    "the umask": _read_umask,
    "the resource limits": _read_limits,
    "the process's priority": _read_priority,
    "the process's processors": _read_processors,
    "the recursion limit": sys.getrecursionlimit,
    "the garbage collector": lambda: (gc.isenabled(), gc.get_threshold()),
    "the trace function": lambda: (sys.gettrace(), sys.getprofile()),
    "sys.excepthook": lambda: (sys.excepthook, threading.excepthook),
    "the level of logging": lambda: (
        logging.root.manager.disable,
        *(logging.getLogger(name).level for name in (None, "ignite", "ignite_threenet")),
    ),
}


@dataclass
class ProcessState:
    """What a plugin must leave as it found it, as it is at some moment."""

    log_handlers: list[logging.Handler]
    signals: Mapping[int, Any]
    threads: set[threading.Thread]
    children: Mapping[int, str]
    default_dtype: torch.dtype
    directory: str
    environment: Mapping[str, str]
    streams: tuple[Any, ...]
    settings: Mapping[str, Any]

    @classmethod
    def now(cls) -> "ProcessState":
        """Read it all."""
        loggers = [logging.getLogger(name) for name in (None, "ignite", "ignite_threenet")]
        return cls(
            log_handlers=[each for logger in loggers for each in logger.handlers],
            signals={each: signal.getsignal(each) for each in signal.valid_signals()},
            threads=set(threading.enumerate()),
            children={pid: _name_process(pid) for pid in list_children(os.getpid())},
            default_dtype=torch.get_default_dtype(),
            directory=_read_directory(),
            environment=dict(os.environ),
            streams=_read_streams(),
            settings={name: read() for name, read in _SETTINGS.items()},
        )

    def differences(self, before: "ProcessState") -> Iterator[str]:
        """Say what a plugin has left otherwise than it was, and what to do."""
        yield from self.differences_of_import(before)
        if self.log_handlers != before.log_handlers:
            yield "leaves a logging handler behind; remove it in close()"
        if self.threads - before.threads:
            yield "leaves a thread running; end it in close()"
        for pid in self.children.keys() - before.children.keys():
            yield f"leaves a process running ({self.children[pid]}); end it in close()"
        changed = dict(self.environment.items() ^ before.environment.items())
        if changed:
            yield f"changes environment variables ({', '.join(sorted(changed))}); leave them alone"

    def differences_of_import(self, before: "ProcessState") -> Iterator[str]:
        """Say what no import may change; packages set variables and loggers of their own."""
        if self.signals != before.signals:
            yield "leaves a signal handler behind; put the old one back in close()"
        if self.default_dtype != before.default_dtype:
            yield "changes torch's default dtype; put it back in close()"
        if self.directory != before.directory:
            yield "changes the current directory; leave it alone"
        if self.streams != before.streams:
            yield "replaces standard output or error; put it back in close()"
        for name, value in self.settings.items():
            was = before.settings[name]
            if value != was:
                yield f"changes {name} ({_spell_change(was, value)}); put it back in close()"


def _spell_change(before: Any, after: Any) -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [key for key in after if before.get(key) != after[key]]
        return ", ".join(f"{key}: {before.get(key)} -> {after[key]}" for key in keys)
    return f"{before} -> {after}"


def _read_directory() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "gone"


def _read_streams() -> tuple[Any, ...]:
    """Tell streams apart by what they are, whether they are closed, and where they lead to."""
    streams = sys.stdin, sys.stdout, sys.stderr
    return (*streams, *(getattr(each, "closed", None) for each in streams), *map(_file_of, (1, 2)))


def _file_of(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _name_process(pid: int) -> str:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        return " ".join(words).strip()[:60] or str(pid)
    return str(pid)
