"""The directory that a run writes into."""

import json
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .errors import DirectoryError
from .files import write_atomically

MANIFEST = "manifest.json"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"

_DEFAULT_PARENT = Path("runs")


class RunDirectory:
    """A directory with the files of one run, which its manifest lists.

    Attributes:
        path: where it is.
        files: names of the files that this run wrote, in the order of their first writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = [MANIFEST]
        self._manifest: Mapping[str, Any] = {
            "versions": {"ignite_threenet": version("ignite-threenet")}
        }

    @classmethod
    def create(cls, out: Path | None, dataset: str, *, force: bool = False) -> "RunDirectory":
        """Make the directory; never over another run, unless force says so.

        Args:
            out: where, or None for ``runs/<date-time>-<dataset>``.
            dataset: the dataset's name.
            force: remove the files of the run that the directory holds.

        Raises:
            DirectoryError: it holds a run or other files, or cannot be written.
        """
        path = out if out is not None else _unused_path(dataset)
        check_usable(path, force=force)
        directory = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if force:
                _remove_run(path)
            directory._claim()
        except OSError as error:
            raise DirectoryError(path, f"cannot be written: {error.strerror}") from error
        return directory

    def _claim(self) -> None:
        """Write the first manifest exclusively: of two runs that start at once, one wins."""
        try:
            with (self.path / MANIFEST).open("x", encoding="utf-8") as file:
                json.dump(self._manifest, file)
        except FileExistsError as error:
            raise DirectoryError(self.path, "another run took it just now") from error

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write what the run is made from; the list of its files is added."""
        self._manifest = manifest
        self._write_json(MANIFEST, {**manifest, "files": self.files})

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write how the run ended."""
        self._note(SUMMARY)
        self._write_json(SUMMARY, summary)

    def write(self, name: str, content: bytes) -> Path:
        """Write a file of the run, whole or not at all.

        Args:
            name: the file's name, without a directory.
            content: what it holds from now on.

        Returns:
            The file's path.

        Raises:
            ValueError: name is not a plain file name, or is one that the run itself writes.
        """
        if name != Path(name).name or name in (MANIFEST, METRICS, SUMMARY):
            raise ValueError(f"{name!r} is not a plain name that is free in a run's directory")
        self._note(name)
        path = self.path / name
        write_atomically(path, content)
        return path

    def append_line(self, name: str, line: str) -> None:
        """Add a line to a file of the run, in one piece."""
        self._note(name)
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def _note(self, name: str) -> None:
        """List a file before it is written, so that none is ever left unlisted."""
        if name not in self.files:
            self.files.append(name)
            self.write_manifest(self._manifest)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, indent=2, allow_nan=False)
        write_atomically(self.path / name, f"{text}\n".encode())


def check_usable(path: Path, *, force: bool = False) -> None:
    """Make sure that a run can use a directory, without changing anything.

    Raises:
        DirectoryError: it holds a run and force is not given, or files that are no run's, or
            is not a directory, or cannot be read.
    """
    if path.is_symlink() and not path.exists():
        raise DirectoryError(path, "is a link that leads nowhere; choose another --out")
    try:
        names = [entry.name for entry in path.iterdir()] if path.exists() else []
    except NotADirectoryError as error:
        raise DirectoryError(path, "is not a directory; choose another --out") from error
    except OSError as error:
        raise DirectoryError(path, f"cannot be read: {error.strerror}") from error
    if _holds_run(path):
        if not force:
            raise DirectoryError(
                path, "holds a run; choose another --out, or replace it by --force"
            )
    elif names:
        raise DirectoryError(path, "is not empty and holds no run; choose another --out")


def _holds_run(path: Path) -> bool:
    versions = _read_json(path / MANIFEST).get("versions")
    return isinstance(versions, dict) and "ignite_threenet" in versions


def _remove_run(path: Path) -> None:
    """Remove the files that a run's manifest lists, itself the last."""
    listed = _read_json(path / MANIFEST).get("files")
    names = listed if isinstance(listed, list) else []
    for name in names:
        # A plain name in this directory: no manifest may point elsewhere.
        is_plain = isinstance(name, str) and name == Path(name).name and name != MANIFEST
        if is_plain and (path / name).is_file():
            (path / name).unlink()
    (path / MANIFEST).unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _unused_path(dataset: str) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    path = _DEFAULT_PARENT / f"{stamp}-{dataset}"
    number = 2
    while path.exists():
        path = _DEFAULT_PARENT / f"{stamp}-{dataset}-{number}"
        number += 1
    return path
