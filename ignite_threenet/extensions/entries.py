"""Finding what others bring, by name or by file, without importing any of it.

Plugins, models and datasets are found alike: under an entry-point group of installed
distributions, or in a Python file.
"""

import hashlib
import importlib.metadata
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import UnknownNameError, describe_error, nearest
from .importing import LoadFailedError, find_module, first_line, import_file
from .reference import Reference

logger = logging.getLogger("ignite_threenet")

# The distributions that cannot be read, of which a process tells once.
_TOLD: set[str] = set()


@dataclass(frozen=True)
class Entry:
    """Something installed, not imported.

    Attributes:
        name: the entry point's name.
        value: what it points to, as ``module:Class``.
        distribution: the distribution's name.
        version: the distribution's version.
    """

    name: str
    value: str
    distribution: str
    version: str

    @property
    def origin(self) -> str:
        """The distribution with its version."""
        return f"{self.distribution} {self.version}".strip()

    @property
    def file_digest(self) -> str:
        """The SHA-256 digest of the file of its module, without importing it; "" if it has none."""
        spec = find_module(self.value.partition(":")[0])
        return digest_of(Path(spec.origin)) if spec is not None and spec.origin else ""

    def describe(self) -> str:
        """Give the first line of the docstring, without importing anything."""
        module, _, attribute = self.value.partition(":")
        spec = find_module(module.strip()) if attribute else None
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return ""
        return first_line(Path(spec.origin), attribute.strip())

    def load(self, is_wanted: Callable[[object], bool], what: str) -> Any:
        """Import it.

        Args:
            is_wanted: whether an object is one of the kind that is looked for.
            what: what messages call that kind.

        Raises:
            LoadFailedError: the import fails, or what it brings is of another kind.
        """
        entry_point = importlib.metadata.EntryPoint(self.name, self.value, "")
        try:
            loaded = entry_point.load()
        except (Exception, SystemExit) as error:
            problem = f"cannot be imported from {self.value}: {describe_error(error)}"
            raise LoadFailedError(problem) from error
        if not is_wanted(loaded):
            raise LoadFailedError(f"is not {what}: {self.value}")
        return loaded


@dataclass(frozen=True)
class FileEntry:
    """Something in a Python file, not imported.

    Attributes:
        path: the file.
        attribute: its name in the file, or "" for the only one of its kind there.
    """

    path: Path
    attribute: str = ""

    @property
    def name(self) -> str:
        """The file's name, as that of a plugin."""
        return self.path.stem.replace("_", "-")

    @property
    def distribution(self) -> str:
        """The file's name, in place of a distribution's."""
        return self.path.name

    @property
    def version(self) -> str:
        """The beginning of the SHA-256 digest of the file's content; "" if there is none."""
        return self.file_digest[:8]

    @property
    def file_digest(self) -> str:
        """The SHA-256 digest of the file's content; "" if there is none."""
        return digest_of(self.path)

    @property
    def value(self) -> str:
        """The file, with the name in it."""
        return f"{self.path}:{self.attribute}" if self.attribute else str(self.path)

    @property
    def origin(self) -> str:
        """The file's name and the beginning of its digest."""
        return f"{self.distribution} {self.version}".strip()

    def describe(self) -> str:
        """Give the first line of the docstring, without importing anything."""
        return first_line(self.path, self.attribute)

    def load(self, is_wanted: Callable[[object], bool], what: str) -> Any:
        """Import it; see Entry.load(). Without a name in it, the file's only class of the kind."""
        module = import_file(self.path)
        if self.attribute:
            return self._take(module, is_wanted, what)
        found = _classes_of(module, is_wanted)
        if not found:
            raise LoadFailedError(f"holds no class that is {what}")
        if len(found) > 1:
            choices = " or ".join(f"{self.path}:{name}" for name in found)
            raise LoadFailedError(f"holds several; choose {choices}")
        return next(iter(found.values()))

    def list_names(self, is_wanted: Callable[[object], bool]) -> list[str]:
        """Import it, and name its classes of the kind.

        Raises:
            LoadFailedError: the import fails.
        """
        return [*_classes_of(import_file(self.path), is_wanted)]

    def _take(self, module: ModuleType, is_wanted: Callable[[object], bool], what: str) -> Any:
        if not hasattr(module, self.attribute):
            raise LoadFailedError(_absent(self.path, self.attribute, module))
        if not is_wanted(getattr(module, self.attribute)):
            raise LoadFailedError(f"is not {what}: {self.value}")
        return getattr(module, self.attribute)


def digest_of(file: Path) -> str:
    """Give the SHA-256 digest of a file in hexadecimal; "" if it cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
    except OSError:
        return ""


def _classes_of(module: ModuleType, is_wanted: Callable[[object], bool]) -> dict[str, type]:
    """Give the classes of a kind that a module defines by itself, by their names there."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and is_wanted(value)
    }


def _absent(path: Path, name: str, module: ModuleType) -> str:
    guess = nearest(name, [each for each in vars(module) if not each.startswith("_")])
    return f"has no {name!r} in {path}" + (f"; did you mean {guess!r}?" if guess else "")


def find_entries(group: str) -> dict[str, list[Entry]]:
    """List what is installed under an entry-point group, by name, without importing any of it.

    Returns:
        The entries of each name, sorted; more than one where distributions clash.
    """
    found: dict[str, list[Entry]] = {}
    for entry_point in _find_entry_points(group):
        with suppress(_UnreadableError):
            entry = Entry(entry_point.name, entry_point.value, *_identify(entry_point.dist))
            found.setdefault(entry.name, []).append(entry)
    return {name: sorted(found[name], key=lambda entry: entry.origin) for name in sorted(found)}


class _UnreadableError(Exception):
    """A distribution cannot be read, which was told."""


def _find_entry_points(group: str) -> Iterable[importlib.metadata.EntryPoint]:
    try:
        return importlib.metadata.entry_points(group=group)
    except Exception:
        # One that cannot be read stops Python's own search; the others are there all the same.
        return _search_each_distribution(group)


def _search_each_distribution(group: str) -> Iterator[importlib.metadata.EntryPoint]:
    """Do what Python does, but pass over a distribution that cannot be read."""
    seen = set()
    for distribution in importlib.metadata.distributions():
        place = _place_of(distribution)
        name = Path(place).name.partition("-")[0].replace(".", "_").lower() or place
        if name in seen:
            continue
        seen.add(name)
        try:
            yield from distribution.entry_points.select(group=group)
        except Exception as error:
            _tell(place, error)


def _identify(distribution: importlib.metadata.Distribution | None) -> tuple[str, str]:
    """Give a distribution's name and version; both are "" if there is none.

    Raises:
        _UnreadableError: its metadata is missing or damaged.
    """
    if distribution is None:
        return "", ""
    try:
        name, version = distribution.name, distribution.version
    except Exception as error:
        _tell(_place_of(distribution), error)
        raise _UnreadableError from error
    if not name or not version:
        _tell(_place_of(distribution), ValueError("its METADATA has no name or no version"))
        raise _UnreadableError
    return name, version


def _place_of(distribution: importlib.metadata.Distribution) -> str:
    """Name the folder of a distribution's metadata, which needs nothing in it to be readable."""
    return str(getattr(distribution, "_path", None) or distribution.locate_file(""))


def _tell(place: str, error: Exception) -> None:
    if place not in _TOLD:
        _TOLD.add(place)
        reason = describe_error(error)
        logger.warning("%s: cannot be read, and is left out: %s; install it anew", place, reason)


def find_entry(
    kind: str, word: str, installed: Mapping[str, list[Entry]], where: str = ""
) -> Entry | FileEntry:
    """Find one by its name, or by its file.

    Args:
        kind: what messages call it: plugin, model, dataset.
        word: a name, or ``file.py``, ``file.py:Name``, or ``package.module:Name``.
        installed: what find_entries() gave.
        where: who asks, for the message.

    Raises:
        UnknownNameError: there is none of that name, or no such file.
        LoadFailedError: several distributions bring one of that name.
    """
    reference = Reference.parse(word)
    if reference.is_file:
        return _find_file(kind, reference, where)
    if reference.is_module:
        return _find_in_module(kind, reference, where)
    return find_installed(kind, word, installed, where)


def find_installed(
    kind: str, name: str, installed: Mapping[str, list[Entry]], where: str = ""
) -> Entry:
    """Find an installed one by its name; see find_entry()."""
    entries = installed.get(name)
    if not entries:
        raise UnknownNameError(kind, name, installed, where)
    if len(entries) > 1:
        origins = " and ".join(entry.origin for entry in entries)
        raise LoadFailedError(f"comes from several distributions: {origins}; uninstall all but one")
    return entries[0]


def _find_file(kind: str, reference: Reference, where: str) -> FileEntry:
    if not reference.is_there():
        raise UnknownNameError(f"{kind} file", reference.target, (), where)
    return FileEntry(Path(reference.target), reference.attribute)


def _find_in_module(kind: str, reference: Reference, where: str) -> Entry:
    """Find something by its module; its distribution is known if it has the module's name."""
    if find_module(reference.target) is None:
        raise UnknownNameError(f"{kind} module", reference.target, (), where)
    try:
        distribution = importlib.metadata.distribution(reference.target.partition(".")[0])
        origin = _identify(distribution)
    except (importlib.metadata.PackageNotFoundError, _UnreadableError):
        origin = "", ""
    return Entry(reference.name, reference.value, *origin)
