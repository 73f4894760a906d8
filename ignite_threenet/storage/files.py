"""Writing files so that a reader finds the old content or the new, never a part."""

import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# No file of anybody else ends so.
_TEMPORARY = re.compile(r"\..+\.ignite-threenet-[0-9a-f]{16}", re.DOTALL)
# Bytes of the name that a temporary file repeats: it must fit where a name of 255 bytes fits.
_REPEATED = 200
_BINARY = getattr(os, "O_BINARY", 0)  # Windows alone has it
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # Windows alone has it not


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file's content at once, and have it on the disk when this returns.

    Raises:
        OSError: the file cannot be written; its old content is still there, and the error names
            the file.
    """
    repeated = os.fsdecode(os.fsencode(path.name)[:_REPEATED])
    temporary = path.with_name(f".{repeated}.ignite-threenet-{secrets.token_hex(8)}")
    with naming(path):
        try:
            _write_new(temporary, content)
            temporary.replace(path)
            _sync_directory(path.parent)
        except BaseException:
            # What cannot even be removed, on a disk that turned read-only, must not hide why.
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the disk name the file that is meant; a descriptor's error names none."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def sync_file(path: Path) -> None:
    """Have what was appended to a file on the disk.

    Raises:
        OSError: that fails; the error names the file.
    """
    with naming(path):
        descriptor = os.open(path, os.O_RDWR | _BINARY | _NO_FOLLOW)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def append_text(path: Path, text: str) -> None:
    """Add text to a file, which may be there, in one piece; never through a link.

    Raises:
        OSError: it cannot be written; the error names the file.
    """
    with naming(path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _BINARY | _NO_FOLLOW
        descriptor = os.open(path, flags, 0o666)
        try:
            _write_all(descriptor, text.encode())
        finally:
            os.close(descriptor)


def is_regular(path: Path) -> bool:
    """Tell whether a name is that of a file: no link, directory, pipe or device.

    To open a pipe may take for ever.
    """
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def make_directory(path: Path) -> None:
    """Make a directory with its parents, and have their names on the disk; it may be there."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _sync_directory(made.parent)


def is_temporary(name: str) -> bool:
    """Tell whether a file is what write_atomically() leaves where its process was killed."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_temporaries(directory: Path) -> None:
    """Remove what killed processes left; nobody may be writing there."""
    for entry in directory.iterdir():
        if is_temporary(entry.name) and is_regular(entry):
            with suppress(OSError):
                entry.unlink()


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of values by name; empty if it holds something else, or cannot be read."""
    try:
        content = json.loads(path.read_bytes()) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def plain_names(listed: object) -> list[str]:
    """Give those that are plain names in this directory: no manifest may point elsewhere.

    A folder's name ends with a slash.
    """
    names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    return [name for name in names if is_plain(name.removesuffix("/"))]


def is_plain(name: str) -> bool:
    """Tell whether a name is that of an entry of one directory, and leads nowhere else."""
    return name not in ("", ".", "..") and name == Path(name).name


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    try:
        _write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_directory(directory: Path) -> None:
    """Have a renaming on the disk, if directories can be synchronized (not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
