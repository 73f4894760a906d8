"""The directory that a run writes into."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from .errors import DirectoryError
from .files import write_atomically

MANIFEST = "manifest.json"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"

_DEFAULT_PARENT = Path("runs")


class RunDirectory:
    """A directory with the files of one run.

    Attributes:
        path: where it is.
        files: names of the files that this run wrote, in the order of their first writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: list[str] = []

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
            for name in _files_of_run(path):
                (path / name).unlink(missing_ok=True)
            # Exclusively, so that of two runs that start at once only one has the directory.
            (path / MANIFEST).open("x").close()
        except FileExistsError as error:
            raise DirectoryError(path, "another run took it just now; choose another") from error
        except OSError as error:
            raise DirectoryError(path, f"cannot be written: {error.strerror}") from error
        return directory

    def write(self, name: str, content: bytes) -> Path:
        """Write a file of the run, whole or not at all.

        Args:
            name: the file's name, without a directory.
            content: what it holds from now on.

        Returns:
            The file's path.
        """
        path = self.path / name
        write_atomically(path, content)
        self._note(name)
        return path

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write a file of JSON."""
        text = json.dumps(content, indent=2, allow_nan=False, default=str)
        return self.write(name, f"{text}\n".encode())

    def append_line(self, name: str, line: str) -> None:
        """Add a line to a file of the run, in one piece."""
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        self._note(name)

    def _note(self, name: str) -> None:
        if name not in self.files:
            self.files.append(name)


def check_usable(path: Path, *, force: bool = False) -> None:
    """Make sure that a run can use a directory, without changing anything.

    Raises:
        DirectoryError: it holds a run and force is not given, or files that are no run's, or
            is not a directory.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise DirectoryError(path, "is not a directory; choose another --out")
    if _files_of_run(path):
        if not force:
            raise DirectoryError(
                path, "holds a run; choose another --out, or replace it by --force"
            )
    elif any(path.iterdir()):
        raise DirectoryError(path, "is not empty and holds no run; choose another --out")


def _files_of_run(path: Path) -> list[str]:
    """List the files that a run wrote into a directory; none where it holds no run."""
    manifest = _read_json(path / MANIFEST)
    if "ignite_threenet" not in manifest.get("versions", {}):
        return []
    written = _read_json(path / SUMMARY).get("files", [])
    names = [MANIFEST, METRICS, SUMMARY, *written]
    # Only names, so that no summary can point outside the directory.
    return [name for name in dict.fromkeys(names) if name == Path(name).name]


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
