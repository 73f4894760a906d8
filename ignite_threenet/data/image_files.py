"""The files of a folder of images: which are read, and which are left out, with the reason."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError

# What is read of what Pillow can read: formats of whole images of 8 bits a channel. Nothing that
# another program has to draw is among them, such as PostScript, which Pillow hands to Ghostscript.
_SUFFIXES = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
}
# What a Pillow may be built without, and its name there.
_OPTIONAL = {"WEBP": "webp", "AVIF": "avif"}

# What are images all the same, in a camera's or another program's format.
_OTHER_SUFFIXES = re.compile(
    r"\.(ai|arw|avci|avcs|cr2|cr3|cur|dcm|dds|dib|dng|eps|exr|fits|hdr|hei[cf]s?|ico|j2[ck]|jp2|jp[fx]"
    r"|jxl|nef|orf|pcx|pdf|pfm|pic|psd?|qoi|raf|raw|rw2|sgi|svgz?|tga|[we]mf|xbm|xcf|xpm)"
)
_OF_SYSTEMS = re.compile(
    r"__macosx|(eh)?thumbs\.db|desktop\.ini|icon\r|@eadir|#recycle|\$recycle\.bin|lost\+found"
    r"|system volume information|__pycache__"
)


class ImageFiles:
    """Finds the images in folders, and counts what it leaves out.

    Attributes:
        formats: Pillow's names of the formats that are read.
        left_out: files, or folders, that are not read, by the reason.
    """

    def __init__(self) -> None:
        served = _served_formats()
        self.formats = tuple(served)
        self.left_out: Counter[str] = Counter()
        self._suffixes = frozenset(suffix for each in served.values() for suffix in each)

    @property
    def suffixes(self) -> str:
        """How the files may end that are read, for messages."""
        return ", ".join(sorted(self._suffixes))

    def sub_folders(self, folder: Path) -> tuple[str, ...]:
        """List the folders in a folder by name; leave out what is of no class, and all files.

        Raises:
            DataError: there is none, or the folder cannot be read.
        """
        names = []
        for entry in _entries(folder):
            if reason := _reason_of_name(entry.name):
                self._leave_out(entry, reason)
            elif entry.is_dir():
                names.append(entry.name)
            else:
                self.left_out["beside the folders of classes"] += 1
        if not names:
            raise DataError(
                f"{show(folder)}: has no sub-folder; expected one for each class, with its images"
            )
        for name in names:
            if not _is_text(name):
                raise DataError(f"{show(folder / name)}: has a name that is no UTF-8")
        return tuple(names)

    def images(self, folder: Path) -> list[Path]:
        """List the images in a folder and in the folders within it, by folder and name."""
        return sorted(self._find(folder, ()), key=lambda path: (str(path.parent), path.name))

    def _find(self, folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
        place = _identity(folder)
        for entry in _entries(folder):
            reason = _reason_of_name(entry.name)
            if reason:
                self._leave_out(entry, reason)
            elif entry.is_dir():
                if Path(entry.name).suffix.lower() in self._suffixes:
                    self.left_out["folder named like an image"] += 1
                if _identity(Path(entry.path)) in (*above, place):
                    self.left_out["link to a folder around it"] += 1
                else:
                    yield from self._find(Path(entry.path), (*above, place))
            elif reason := self._reason_of_file(Path(entry.path)):
                self.left_out[reason] += 1
            else:
                yield Path(entry.path)

    def _reason_of_file(self, path: Path) -> str:
        suffix = path.suffix.lower()
        if suffix in self._suffixes:
            return "" if _may_be_opened(path) else "no regular file"
        if _OTHER_SUFFIXES.fullmatch(suffix) or any(suffix in each for each in _SUFFIXES.values()):
            return f"of a format that is not read ({suffix})"
        return f"no image ({show(suffix) or 'without a suffix'})"

    def _leave_out(self, entry: "os.DirEntry[str]", reason: str) -> None:
        is_folder = entry.is_dir(follow_symlinks=False)
        within = sum(len(files) for _, _, files in os.walk(entry.path)) if is_folder else 1
        self.left_out[reason] += max(within, 1)


def show(text: object) -> str:
    r"""Spell a name that somebody else chose without control characters.

    Example:
        >>> show("a\nb"), show("Käse.png")
        ('a\\nb', 'Käse.png')
    """
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(text))


def _served_formats() -> dict[str, tuple[str, ...]]:
    from PIL import features

    built_in = features.get_supported_modules()
    return {
        name: suffixes
        for name, suffixes in _SUFFIXES.items()
        if name not in _OPTIONAL or _OPTIONAL[name] in built_in
    }


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{show(folder)}: {error.strerror}") from error


def _reason_of_name(name: str) -> str:
    if _OF_SYSTEMS.fullmatch(name.lower()):
        return "of the operating system"
    return "hidden" if name.startswith(".") else ""


def _may_be_opened(path: Path) -> bool:
    """Tell whether opening a file cannot wait for another program; a broken link cannot either."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
