"""What a run's directory holds: the names of its files, and whether a run can use it."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DirectoryError
from .files import is_plain, is_regular, is_temporary, plain_names, read_json

MANIFEST, METRICS, SUMMARY = "manifest.json", "metrics.jsonl", "summary.json"
LOCK, OWNER = ".lock", ".owner"
CHECKPOINT = re.compile(r"checkpoint-(\d{8,})\.safetensors")

# Earlier versions wrote .pt, which is no longer read; the names are still a run's.
_ANY_CHECKPOINT = re.compile(r"checkpoint-\d{8,}\.(safetensors|pt)")
_RESERVED = (MANIFEST, METRICS, SUMMARY, LOCK, OWNER)


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
    if is_manifest(read_json(path / MANIFEST)):
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


def is_manifest(content: Mapping[str, Any]) -> bool:
    """Tell whether values are those of a run's manifest."""
    versions = content.get("versions")
    return isinstance(versions, dict) and "ignite_threenet" in versions


def remove_run(path: Path) -> None:
    """Remove a run's checkpoints and the files that its manifest lists, itself the last.

    Raises:
        DirectoryError: something of it cannot be removed; nothing was.
    """
    names = [entry.name for entry in path.iterdir()]
    checkpoints = [name for name in names if _ANY_CHECKPOINT.fullmatch(name)]
    listed = plain_names(read_json(path / MANIFEST).get("files"))
    own = [name for name in [*checkpoints, *listed] if name not in (MANIFEST, LOCK, OWNER)]
    # All are looked at before the first is removed.
    folders = [path / name for name in own if name.endswith("/") and _is_folder(path / name)]
    files = [path / name for name in own if not name.endswith("/") and is_regular(path / name)]
    for folder in folders:
        _check_removable(folder)
    if not os.access(path, os.W_OK):
        raise DirectoryError(path, "cannot be written")
    for folder in folders:
        shutil.rmtree(folder)
    for file in files:
        file.unlink(missing_ok=True)
    (path / MANIFEST).unlink(missing_ok=True)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _check_removable(folder: Path) -> None:
    """Refuse a folder that holds another file system, or what this user may not remove."""
    for place, _, _ in os.walk(folder):
        if os.path.ismount(place):
            raise DirectoryError(place, "is a mounted file system; nothing was removed")
        if not os.access(place, os.W_OK | os.X_OK):
            raise DirectoryError(place, "cannot be removed; nothing was")


def is_free(name: str) -> bool:
    """Tell whether a name is plain, and none that the run itself writes."""
    return is_plain(name) and name not in _RESERVED and not _ANY_CHECKPOINT.fullmatch(name)
