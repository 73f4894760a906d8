"""The directory that a run writes into."""

import io
import json
import logging
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
from .contents import (
    CHECKPOINT,
    LOCK,
    MANIFEST,
    METRICS,
    OWNER,
    SUMMARY,
    check_usable,
    is_free,
    is_manifest,
    remove_run,
)
from .files import (
    append_text,
    is_regular,
    make_directory,
    plain_names,
    read_json,
    remove_temporaries,
    sync_file,
    write_atomically,
)
from .lock import DirectoryLock
from .torch_file import encode_for_torch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("ignite_threenet")
_DEFAULT_PARENT = Path("runs")


class RunDirectory:
    """A directory with the files of one run, which its manifest lists.

    It is a path: ``directory / "notes.txt"``, ``os.fspath(directory)``.

    Attributes:
        path: where it is, or will be.
        files: names of the files that this run wrote, in the order of their first writing.
    """

    def __init__(self, path: Path, *, is_made: bool = True, force: bool = False) -> None:
        # Absolute, because a handler may change the current directory while the run goes on.
        self._lead_to(path)
        self.files = [MANIFEST]
        self._is_made, self._force = is_made, force
        self._is_reserved = True
        self._passed_over: set[str] = set()
        self._manifest: Mapping[str, Any] = {
            "versions": {"ignite_threenet": version("ignite-threenet")}
        }

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
        directory = cls(path, is_made=False, force=force)
        directory._is_reserved = out is not None
        return directory

    def make(self) -> None:
        """Make the directory, unless that was done; never over another run, unless told to.

        Raises:
            DirectoryError: it holds a run or other files, or cannot be written.
        """
        if self._is_made:
            return
        try:
            self._reserve()
            make_directory(self._at)
            self._lock.acquire()
            # Again, because another run may have come and gone in between.
            check_usable(self._at, force=self._force)
            remove_temporaries(self._at)
            if self._force:
                remove_run(self._at)
            self._is_made = True
            self.write_manifest(self._manifest)
        except BaseException as error:
            self._is_made = False
            self.release()
            if isinstance(error, OSError):
                raise DirectoryError(self.path, f"cannot be written: {error.strerror}") from error
            raise

    def _reserve(self) -> None:
        """Make a directory whose name nobody chose; another run may have the same name in mind."""
        first = self.path
        number = 1
        while not self._is_reserved:
            try:
                make_directory(self._at.parent)
                self._at.mkdir()
                self._is_reserved = True
            except FileExistsError:
                number += 1
                self._lead_to(first.with_name(f"{first.name}-{number}"))

    def _lead_to(self, path: Path) -> None:
        self.path, self._at = path, path.absolute()
        self._lock = DirectoryLock(self._at / LOCK, self._at / OWNER, path)

    def __truediv__(self, name: str) -> Path:
        """Give the path of a file in it, which is made first: whoever asks will write."""
        self.make()
        return self._at / name

    def __fspath__(self) -> str:
        return str(self / "")

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """Take the directory of a run that is to go on.

        Raises:
            DirectoryError: it holds no run, or another process is using it.
        """
        manifest = read_json(path / MANIFEST)
        if not is_manifest(manifest):
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
        return read_json(self._at / SUMMARY)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write what the run is made from; the list of its files is added."""
        self._manifest = manifest
        self._write_json(MANIFEST, {**manifest, "files": self.files})

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write how the run ended, when the lines before it are on the disk too."""
        if (self._at / METRICS).exists():
            sync_file(self._at / METRICS)
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
        path = self._at / name
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
        name = f"checkpoint-{iteration:08}.safetensors"
        path = self.path / name
        try:
            write_atomically(self._at / name, content)
        except OSError as error:
            raise CheckpointError(path, f"cannot be written: {error.strerror}") from error
        self._passed_over.discard(path.name)
        for old in self.checkpoints()[keep:]:
            _remove_checkpoint(self._at / old.name)
        return path

    def checkpoints(self) -> list[Path]:
        """List the checkpoints, the one with the most iterations first."""
        names = [entry.name for entry in self._at.iterdir() if is_regular(entry)]
        found = [each for each in names if CHECKPOINT.fullmatch(each)]
        known = [self.path / each for each in found if each not in self._passed_over]
        return sorted(known, key=_iteration_of, reverse=True)

    def pass_over(self, checkpoint: Path) -> None:
        """Remove a checkpoint that cannot be read; if it cannot be removed, never count it."""
        self._passed_over.add(checkpoint.name)
        _remove_checkpoint(self._at / checkpoint.name)

    def last_saved_iteration(self) -> int | None:
        """Tell how many iterations the newest checkpoint has, by its name."""
        return next(map(_iteration_of, self.checkpoints()), None)

    def remove(self, name: str) -> None:
        """Remove a file of the run, if it is there."""
        (self._at / name).unlink(missing_ok=True)

    def existing_files(self) -> list[str]:
        """Name the files of the run that are there, in the order of their first writing."""
        return [name for name in self.files if (self._at / name).exists()]

    def rewrite_lines(self, name: str, lines: list[str]) -> None:
        """Replace a file of lines."""
        self._note(name)
        write_atomically(self._at / name, "".join(f"{line}\n" for line in lines).encode())

    def make_folder(self, name: str) -> Path:
        """Make a folder of the run, for what writes its files by itself.

        Raises:
            ValueError: name is not a plain name, or is one that the run itself writes.
        """
        self._check_free(name)
        self._note(f"{name}/")
        path = self._at / name
        if path.is_symlink():
            raise DirectoryError(path, "is a link; expected a folder of this run")
        path.mkdir(exist_ok=True)
        return path

    def append_line(self, name: str, line: str) -> None:
        """Add a line to a file of the run, in one piece."""
        self._note(name)
        append_text(self._at / name, f"{line}\n")

    def _check_free(self, name: str) -> None:
        if not is_free(name):
            raise ValueError(f"{name!r} is not a plain name that is free in a run's directory")

    def _note(self, name: str) -> None:
        """List a file before it is written, so that none is ever left unlisted."""
        self.make()
        if name not in self.files:
            self.files.append(name)
            self.write_manifest(self._manifest)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, indent=2, allow_nan=False)
        write_atomically(self._at / name, f"{text}\n".encode())


def _iteration_of(checkpoint: Path) -> int:
    match = CHECKPOINT.fullmatch(checkpoint.name)
    return int(match[1]) if match else -1


def _remove_checkpoint(path: Path) -> None:
    """Remove one that is no longer needed; where that fails, the run can go on."""
    try:
        path.unlink()
    except OSError as error:
        logger.warning("%s: cannot be removed: %s", path, error.strerror)


def _unused_path(dataset: str) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    path = _DEFAULT_PARENT / f"{stamp}-{dataset}"
    number = 2
    while path.exists():
        path = _DEFAULT_PARENT / f"{stamp}-{dataset}-{number}"
        number += 1
    return path
