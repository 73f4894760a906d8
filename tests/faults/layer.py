"""A layer between a run and its disk, where a fault can be put at each single step."""

import builtins
import io
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from unittest import mock

_LOCK = ".lock"
# A file without a name, by which filelock finds out what locks there are; it takes no for an
# answer, and nothing of the run is in it.
_NAMELESS = getattr(os, "O_TMPFILE", -1)


class Step(NamedTuple):
    """One thing that was asked of the disk.

    Attributes:
        number: from 1.
        action: open, write, fsync, replace, unlink or mkdir.
        path: the file or the directory.
        target: where replace moves it.
        data: what write adds to the file.
        creates: whether open may make the file.
    """

    number: int
    action: str
    path: Path
    target: Path | None = None
    data: bytes = b""
    creates: bool = False

    def __str__(self) -> str:
        return f"step {self.number}, {self.action} {self.path.name}"


class Layer:
    """While it is entered, counts what is asked of the disk below a directory, and hears of it.

    The lock is left out, which the operating system keeps. Each file is written in two pieces.
    """

    def __init__(self, root: Path) -> None:
        self.steps = 0
        self._root = str(root)
        self._paths: dict[int, Path] = {}
        self._begun: set[int] = set()
        self._patches = ExitStack()

    def before(self, step: Step) -> None:
        """Hear of a step that is not done yet; raise what shall fail."""

    def after(self, step: Step) -> None:
        """Hear of a step that is done."""

    def __enter__(self) -> Self:
        self._real_open, self._real_write, self._real_fsync = os.open, os.write, os.fsync
        self._real_close, self._real_io_open = os.close, io.open
        replaced: dict[str, Callable[..., Any]] = {
            "open": self._open,
            "write": self._write,
            "fsync": self._fsync,
            "close": self._close,
            "replace": self._wrap("replace", os.replace),
            "unlink": self._wrap("unlink", os.unlink),
            "mkdir": self._wrap("mkdir", os.mkdir),
        }
        for name, function in replaced.items():
            self._patches.enter_context(mock.patch.object(os, name, function))
        for module in (io, builtins):
            self._patches.enter_context(mock.patch.object(module, "open", self._open_file))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._patches.close()

    def _do(self, function: Callable[[], Any], action: str, path: Path, **facts: Any) -> Any:
        self.steps += 1
        step = Step(self.steps, action, path, **facts)
        self.before(step)
        done = function()
        self.after(step)
        return done

    def _is_below(self, path: Any) -> bool:
        if not isinstance(path, str | os.PathLike):
            return False
        text = str(path)
        return text.startswith(self._root) and Path(text).name != _LOCK

    def _open(self, path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        def really() -> int:
            return self._real_open(path, flags, *args, **kwargs)

        if not self._is_below(path) or flags & _NAMELESS == _NAMELESS:
            return really()
        descriptor: int = self._do(really, "open", Path(path), creates=bool(flags & os.O_CREAT))
        self._paths[descriptor] = Path(path)
        return descriptor

    def _write(self, descriptor: int, data: Any) -> int:
        if descriptor not in self._paths:
            return self._real_write(descriptor, data)
        piece = bytes(data)
        if descriptor not in self._begun:
            self._begun.add(descriptor)
            piece = piece[: (len(piece) + 1) // 2]
        written: int = self._do(
            lambda: self._real_write(descriptor, piece),
            "write",
            self._paths[descriptor],
            data=piece,
        )
        return written

    def _fsync(self, descriptor: int) -> None:
        if descriptor not in self._paths:
            return self._real_fsync(descriptor)
        self._do(lambda: self._real_fsync(descriptor), "fsync", self._paths[descriptor])
        return None

    def _close(self, descriptor: int) -> None:
        self._paths.pop(descriptor, None)
        self._begun.discard(descriptor)
        self._real_close(descriptor)

    def _wrap(self, action: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(path: Any, *args: Any, **kwargs: Any) -> Any:
            is_there = action == "mkdir" and Path(path).exists()
            if is_there or not self._is_below(path):
                return real(path, *args, **kwargs)
            facts = {"target": Path(args[0])} if action == "replace" else {}
            return self._do(lambda: real(path, *args, **kwargs), action, Path(path), **facts)

        return wrapped

    def _open_file(self, path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        def really() -> Any:
            return self._real_io_open(path, mode, *args, **kwargs)

        if "r" in mode or not self._is_below(path):
            return really()
        return _File(self._do(really, "open", Path(path), creates=True), Path(path), self._do)


class _File:
    """A file opened to write or to append."""

    def __init__(self, file: Any, path: Path, do: Callable[..., Any]) -> None:
        self._file, self._path, self._do = file, path, do

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def write(self, content: Any) -> int:
        half = (len(content) + 1) // 2
        for piece in (content[:half], content[half:]):
            data = piece.encode() if isinstance(piece, str) else bytes(piece)
            self._do(partial(self._put, piece), "write", self._path, data=data)
        return len(content)

    def _put(self, piece: Any) -> None:
        self._file.write(piece)
        self._file.flush()
