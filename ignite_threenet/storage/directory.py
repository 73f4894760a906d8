"""The directory that a run writes into."""

import io
import json
import logging
import re
import shutil
import warnings
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
from torch import nn

from ..errors import CheckpointError, DirectoryError
from .checkpoint_file import copy_weights
from .files import (
    is_plain,
    is_temporary,
    make_directory,
    naming,
    plain_names,
    read_json,
    sync_file,
    write_atomically,
)
from .lock import DirectoryLock
from .torch_file import encode_for_torch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("ignite_threenet")
MANIFEST, METRICS, SUMMARY = "manifest.json", "metrics.jsonl", "summary.json"
LOCK, OWNER = ".lock", ".owner"
_CHECKPOINT = re.compile(r"checkpoint-(\d{8,})\.safetensors")

# Earlier versions wrote .pt, which is no longer read; the names are still a run's.
_ANY_CHECKPOINT = re.compile(r"checkpoint-\d{8,}\.(safetensors|pt)")
_RESERVED = (MANIFEST, METRICS, SUMMARY, LOCK, OWNER)
_DEFAULT_PARENT = Path("runs")


class RunDirectory:
    """A directory with the files of one run, which its manifest lists.

    It is a path: ``directory / "notes.txt"``, ``os.fspath(directory)``.

    Attributes:
        path: where it is, or will be.
        files: names of the files that this run wrote, in the order of their first writing.
    """

    def __init__(self, path: Path, *, is_made: bool = True, force: bool = False) -> None:
        self.path = path
        self.files = [MANIFEST]
        self._is_made, self._force = is_made, force
        self._manifest: Mapping[str, Any] = {
            "versions": {"ignite_threenet": version("ignite-threenet")}
        }
        self._lock = DirectoryLock(path / LOCK, path / OWNER)

    @classmethod
    def plan(cls, out: Path | None, dataset: str, *, force: bool = False) -> "RunDirectory":
        """Choose the directory; it is made when something is first written.

        Args:
            out: where, or None for ``runs/<date-time>-<dataset>``.
            dataset: the dataset's name.
            force: when it is made, remove the files of the run that it holds.

        Raises:
            DirectoryError: it holds a run or other files.
        """
        path = out if out is not None else _unused_path(dataset)
        check_usable(path, force=force)
        return cls(path, is_made=False, force=force)

    def make(self) -> None:
        """Make the directory, unless that was done; never over another run, unless told to.

        Raises:
            DirectoryError: it holds a run or other files, or cannot be written.
        """
        if self._is_made:
            return
        try:
            make_directory(self.path)
            self._lock.acquire()
            # Again, because another run may have come and gone in between.
            check_usable(self.path, force=self._force)
            if self._force:
                _remove_run(self.path)
            self._is_made = True
            self.write_manifest(self._manifest)
        except BaseException as error:
            self._is_made = False
            self.release()
            if isinstance(error, OSError):
                raise DirectoryError(self.path, f"cannot be written: {error.strerror}") from error
            raise

    def __truediv__(self, name: str) -> Path:
        """Give the path of a file in it, which is made first: whoever asks will write."""
        self.make()
        return self.path / name

    def __fspath__(self) -> str:
        return str(self / "")

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """Take the directory of a run that is to go on.

        Raises:
            DirectoryError: it holds no run, or another process is using it.
        """
        manifest = read_json(path / MANIFEST)
        if not _is_manifest(manifest):
            raise DirectoryError(path, "holds no run")
        directory = cls(path)
        try:
            directory._lock.acquire()
        except OSError as error:
            raise DirectoryError(path, f"cannot be written: {error.strerror}") from error
        listed = manifest.get("files")
        own = (MANIFEST, SUMMARY)
        directory.files += [name for name in plain_names(listed) if name not in own]
        directory._manifest = {key: manifest[key] for key in manifest if key != "files"}
        return directory

    def release(self) -> None:
        """Let other runs use the directory."""
        self._lock.release()

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the run is made from, as the directory says."""
        return self._manifest

    def read_summary(self) -> Mapping[str, Any]:
        """Read how the run ended; empty where it did not, or where that cannot be read."""
        return read_json(self.path / SUMMARY)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write what the run is made from; the list of its files is added."""
        self._manifest = manifest
        self._write_json(MANIFEST, {**manifest, "files": self.files})

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write how the run ended, when the lines before it are on the disk too."""
        if (self.path / METRICS).exists():
            sync_file(self.path / METRICS)
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
        self._check_free(name)
        self._note(name)
        path = self.path / name
        write_atomically(path, content)
        return path

    def write_figure(self, figure: "Figure", name: str) -> Path:
        """Write a figure of matplotlib, whole or not at all.

        Args:
            figure: the figure.
            name: the file's name, without a directory; its ending says the kind of picture.

        Returns:
            The file's path.

        Raises:
            ValueError: name is not free, as for write(), or its ending is not a kind of picture.
        """
        picture = io.BytesIO()
        with warnings.catch_warnings():
            # A letter that the font lacks is drawn as a box; each would be told, several times.
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            figure.savefig(picture, format=Path(name).suffix.removeprefix("."))
        return self.write(name, picture.getvalue())

    def write_weights(self, stem: str, model: nn.Module) -> None:
        """Write a model's weights as ``stem.pt``, for torch, and ``stem.safetensors``."""
        weights = copy_weights(model)
        self.write(f"{stem}.pt", encode_for_torch(weights))
        self.write(f"{stem}.safetensors", safetensors.torch.save(weights))

    def write_checkpoint(self, iteration: int, content: bytes, keep: int) -> Path:
        """Write a checkpoint, and only then remove the oldest ones.

        Args:
            iteration: iterations done by then.
            content: the checkpoint.
            keep: checkpoints that are kept, this one included; at least 1.

        Raises:
            CheckpointError: it cannot be written; the earlier ones are still there.
        """
        path = self.path / f"checkpoint-{iteration:08}.safetensors"
        try:
            write_atomically(path, content)
        except OSError as error:
            raise CheckpointError(path, f"cannot be written: {error.strerror}") from error
        for old in self.checkpoints()[keep:]:
            _remove_checkpoint(old)
        return path

    def checkpoints(self) -> list[Path]:
        """List the checkpoints, the one with the most iterations first."""
        found = (entry for entry in self.path.iterdir() if _CHECKPOINT.fullmatch(entry.name))
        return sorted(found, key=_iteration_of, reverse=True)

    def last_saved_iteration(self) -> int | None:
        """Tell how many iterations the newest checkpoint has, by its name."""
        return next(map(_iteration_of, self.checkpoints()), None)

    def rewrite_lines(self, name: str, lines: list[str]) -> None:
        """Replace a file of lines."""
        self._note(name)
        write_atomically(self.path / name, "".join(f"{line}\n" for line in lines).encode())

    def make_folder(self, name: str) -> Path:
        """Make a folder of the run, for what writes its files by itself.

        Raises:
            ValueError: name is not a plain name, or is one that the run itself writes.
        """
        self._check_free(name)
        self._note(f"{name}/")
        path = self.path / name
        path.mkdir(exist_ok=True)
        return path

    def append_line(self, name: str, line: str) -> None:
        """Add a line to a file of the run, in one piece."""
        self._note(name)
        path = self.path / name
        with naming(path), path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def _check_free(self, name: str) -> None:
        if not is_plain(name) or name in _RESERVED or _ANY_CHECKPOINT.fullmatch(name):
            raise ValueError(f"{name!r} is not a plain name that is free in a run's directory")

    def _note(self, name: str) -> None:
        """List a file before it is written, so that none is ever left unlisted."""
        self.make()
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
    if _is_manifest(read_json(path / MANIFEST)):
        if not force:
            raise DirectoryError(
                path, "holds a run; choose another --out, or replace it by --force"
            )
    elif any(name not in (LOCK, OWNER) and not is_temporary(name) for name in names):
        raise DirectoryError(path, "is not empty and holds no run; choose another --out")


def is_kept_for_resuming(name: str) -> bool:
    """Tell whether a file of a run's directory only serves to go on from it."""
    is_checkpoint = _ANY_CHECKPOINT.fullmatch(name) is not None
    return name in (LOCK, OWNER) or is_checkpoint or is_temporary(name)


def _is_manifest(content: Mapping[str, Any]) -> bool:
    versions = content.get("versions")
    return isinstance(versions, dict) and "ignite_threenet" in versions


def _iteration_of(checkpoint: Path) -> int:
    match = _CHECKPOINT.fullmatch(checkpoint.name)
    return int(match[1]) if match else -1


def _remove_checkpoint(path: Path) -> None:
    """Remove one that is no longer needed; where that fails, the run can go on."""
    try:
        path.unlink()
    except OSError as error:
        logger.warning("%s: cannot be removed: %s", path, error.strerror)


def _remove_run(path: Path) -> None:
    """Remove a run's checkpoints and the files that its manifest lists, itself the last."""
    names = [entry.name for entry in path.iterdir()]
    checkpoints = [name for name in names if _ANY_CHECKPOINT.fullmatch(name)]
    listed = plain_names(read_json(path / MANIFEST).get("files"))
    for name in [*checkpoints, *listed]:
        entry = path / name
        if name in (MANIFEST, LOCK, OWNER):
            continue
        if name.endswith("/") and entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.is_file():
            entry.unlink()
    (path / MANIFEST).unlink(missing_ok=True)


def _unused_path(dataset: str) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    path = _DEFAULT_PARENT / f"{stamp}-{dataset}"
    number = 2
    while path.exists():
        path = _DEFAULT_PARENT / f"{stamp}-{dataset}-{number}"
        number += 1
    return path
