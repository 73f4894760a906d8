"""Where the processes of a check work: folders of their own, no network, and an eye on files."""

import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ..cli.fresh_process import Surroundings

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_DOING = {
    "os.remove": "removes",
    "os.rmdir": "removes",
    "shutil.rmtree": "removes",
    "os.rename": "moves",
    "os.mkdir": "makes",
    "os.symlink": "makes",
    "os.link": "makes",
}
_MOST_FILES = 20_000
_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000
_DIE_WITH_PARENT, _BE_PARENT_OF_ORPHANS = 1, 36


@dataclass(frozen=True)
class Sandbox:
    """The folders of one check.

    Attributes:
        scratch: what holds the others, and the directories of runs.
        allows_network: whether a plugin may open connections.
        here: the current directory.
    """

    scratch: Path
    allows_network: bool = False
    here: Path = field(default_factory=Path.cwd)

    @property
    def home(self) -> Path:
        """The home directory."""
        return self.scratch / "home"

    @property
    def temporary(self) -> Path:
        """The directory for temporary files."""
        return self.scratch / "tmp"

    def surroundings(self) -> Surroundings:
        """Make where a process works: here, but with a home and temporary files of its own."""
        for each in (self.home, self.temporary):
            each.mkdir(exist_ok=True)
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        own = {"HOME": str(self.home), "XDG_CACHE_HOME": cache}
        own |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.temporary))
        prepare = partial(shut_in, allows_network=self.allows_network)
        return Surroundings(environment={**os.environ, **own}, prepare=prepare)

    def list_files(self) -> dict[Path, tuple[int, int]]:
        """List the files here, at home and of those that are temporary, with size and time."""
        places = [self.home, self.temporary]
        # There, other programs come and go.
        if self.here not in (Path("/"), Path("/tmp"), Path("/var/tmp")):  # noqa: S108
            places.append(self.here)
        return {path: mark for place in places for path, mark in _walk(place, self.scratch)}

    def may_write(self, path: Path, directory: Path) -> bool:
        """Tell whether a plugin may write there: into its run, to caches and temporary files."""
        caches = [Path(os.environ.get("XDG_CACHE_HOME", self.home / ".cache"))]
        caches += [self.home / name for name in (".cache", ".config", ".matplotlib")]
        inside = (directory, self.temporary, *caches, Path("/dev"), Path("/proc"))
        return "__pycache__" in path.parts or any(path.is_relative_to(each) for each in inside)

    def find_changes(
        self, before: Mapping[Path, tuple[int, int]], told: set[Path]
    ) -> Iterator[tuple[str, Path]]:
        """Say which files were made, removed or changed since, but for those told of already."""
        after = self.list_files()
        for path in sorted(before.keys() | after.keys()):
            if path in told or any(each in path.parents for each in told) or self._is_cache(path):
                continue
            if path not in before:
                yield "leaves behind", path
            elif path not in after:
                yield "removes", path
            elif before[path] != after[path]:
                yield "changes", path

    def _is_cache(self, path: Path) -> bool:
        return self.may_write(path, self.scratch / "run") and not path.is_relative_to(
            self.temporary
        )


def _walk(place: Path, scratch: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    def walk() -> Iterator[tuple[Path, tuple[int, int]]]:
        for folder, folders, names in os.walk(place):
            folders[:] = sorted(each for each in folders if Path(folder, each) != scratch)
            for name in [*folders, *sorted(names)]:
                path = Path(folder, name)
                with suppress(OSError):
                    status = path.lstat()
                    is_folder = name in folders
                    yield path, (0, 0) if is_folder else (status.st_size, status.st_mtime_ns)

    return islice(walk(), _MOST_FILES)


class Listener:
    """Hears what this process does; an audit hook cannot be removed, so there is one.

    Attributes:
        files: what was done to which file, in Python, in order.
        hosts: the hosts to which connections were refused.
    """

    def __init__(self) -> None:
        self.files: list[tuple[str, Path]] = []
        self.hosts: list[str] = []
        self._refuses = False
        self._hears_files = False

    def start(self, *, refuses_network: bool) -> None:
        """Hear from now on."""
        self._refuses = refuses_network
        sys.addaudithook(self._hear)

    def hear_files(self, action: Callable[[], object]) -> None:
        """Do something, and note which files it writes."""
        self._hears_files = True
        try:
            action()
        finally:
            self._hears_files = False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._refuses and event.startswith("socket."):
            host = _host_of(event, arguments)
            if host is not None:
                self.hosts.append(host)
                raise PermissionError(refusal(host))
        if not self._hears_files:
            return
        if event == "open":
            path, _, flags = arguments
            if flags & _WRITING:
                self._note("writes", path)
        elif event in _DOING and all(each in (-1, None) for each in arguments[-1:]):
            self._note(_DOING[event], arguments[1 if event in ("os.symlink", "os.link") else 0])

    def _note(self, doing: str, path: Any) -> None:
        if isinstance(path, str | bytes | os.PathLike):
            self.files.append((doing, Path(os.path.abspath(os.fsdecode(path)))))  # noqa: PTH100


LISTENER = Listener()


def refusal(host: str) -> str:
    """Say that a connection is refused."""
    return f"opens a network connection to {host}, which is refused in the check"


def _host_of(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Name the host that something leads to; None if it leads to none."""
    match event, arguments:
        case (("socket.connect" | "socket.sendto" | "socket.sendmsg"), (_, (host, port, *_))):
            return f"{host}:{port}"
        case "socket.getaddrinfo", (host, port, *_) if host:
            name = os.fsdecode(host)
            return f"{name}:{port}" if port else name
        case "socket.gethostbyname", (host, *_):
            return os.fsdecode(host)
    return None


def shut_in(*, allows_network: bool) -> None:
    """Prepare a process for a plugin: no network, and an end with those that it belongs to."""
    LISTENER.start(refuses_network=not allows_network)
    if not sys.platform.startswith("linux"):
        return
    system = ctypes.CDLL(None, use_errno=True)
    system.prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    system.prctl(_BE_PARENT_OF_ORPHANS, 1, 0, 0, 0)
    if not allows_network:
        _leave_network(system)


def _leave_network(system: Any) -> None:
    """Leave the network behind, for programs that the plugin may start, where that is allowed."""
    user, group = os.getuid(), os.getgid()
    if system.unshare(_NEW_NETWORK) == 0 or system.unshare(_NEW_USER | _NEW_NETWORK) != 0:
        return
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with suppress(OSError):
            Path("/proc/self", name).write_text(content, encoding="utf-8")


def make_scratch() -> tempfile.TemporaryDirectory[str]:
    """Make the folder for a sandbox."""
    return tempfile.TemporaryDirectory(prefix="ignite-threenet-check-", ignore_cleanup_errors=True)
