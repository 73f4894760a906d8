"""Where the named datasets come from, and whether their files are the right ones.

Each dataset is four files in torchvision's layout, ``<data-dir>/<Folder>/raw/``, in the IDX
format of http://yann.lecun.com/exdb/mnist/. They are checked against SHA-256 digests whenever
they are read: digests pinned here, or recorded beside them when they were fetched.
"""

import errno
import hashlib
import logging
import shutil
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from torch import Tensor

from ..errors import DataError, UnreachableError
from ..storage.files import write_atomically
from .idx import (
    FILE_NAMES,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    damaged,
    images_to_idx,
    labels_to_idx,
    parse_samples,
)

logger = logging.getLogger("ignite_threenet")

# The digests of the files that http://yann.lecun.com/exdb/mnist/ has published since 1998.
MNIST_SHA256 = {
    TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
RECORD_NAME = "SHA256SUMS"
_DISK_ERRORS = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.EIO)
_REACH_TIMEOUT_S = 6.0  # to learn whether there is a network
_STALL_TIMEOUT_S = 8.0  # to give up a download that no longer moves
_DIGITS_TRAIN, _DIGITS_TEST = 60_000, 10_000  # as many as MNIST has
_DIGITS_TRAIN_SEED, _DIGITS_TEST_SEED = 1, 2

# Beside the files, until they are complete.
_STAGING = ".ignite-threenet-fetching-"
_ABANDONED_AFTER_S = 3600.0


@dataclass(frozen=True)
class CheckedFiles:
    """The content of a dataset's four files.

    Attributes:
        train: images (N, 1, 28, 28) uint8 and labels (N,) int64.
        test: the same, of the test set.
        sha256: the files' digests by name.
    """

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    sha256: Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """Where a dataset's files come from.

    Attributes:
        name: the dataset's name.
        folder: its folder in the data directory.
        fetch: puts the four files into a directory; called with the source and that directory.
        sha256: the digests that the files must have, if they are known in advance.
    """

    name: str
    folder: str
    fetch: Callable[["Source", Path], None]
    sha256: Mapping[str, str] | None = None

    def read(self, data_dir: Path) -> CheckedFiles:
        """Read the dataset; fetch it first if it is not complete.

        Raises:
            UnreachableError: it is not there, and cannot be downloaded.
            DataError: a file is damaged, or the directory cannot be written.
        """
        raw = data_dir / self.folder / "raw"
        try:
            if not all((raw / name).is_file() for name in FILE_NAMES):
                self._fetch_into(raw)
            return self._read_checked(raw)
        except OSError as error:
            path = error.filename or raw
            raise DataError(f"{path}: {error.strerror}; choose another --data-dir") from error

    def _fetch_into(self, raw: Path) -> None:
        """Fetch the files beside their place, check them, then move them there."""
        raw.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(raw)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=raw))
        try:
            self.fetch(self, staging)
            digests = {name: _sha256((staging / name).read_bytes()) for name in FILE_NAMES}
            for name, digest in digests.items():
                self._check_fetched(name, digest, raw / name)
            for name in FILE_NAMES:
                (staging / name).replace(raw / name)
            record = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
            write_atomically(raw / RECORD_NAME, record.encode())
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            _remove_where_empty(raw, raw.parent)

    def _check_fetched(self, name: str, digest: str, place: Path) -> None:
        """Refuse a file that is not the right one, or that would replace another."""
        if self.sha256 is not None and digest != self.sha256[name]:
            raise DataError(
                f"{name}: what was fetched for {self.name} has the SHA-256 {digest}, "
                f"expected {self.sha256[name]}"
            )
        if place.exists() and _sha256(place.read_bytes()) != digest:
            raise damaged(place, "differs from what was fetched anew")

    def _read_checked(self, raw: Path) -> CheckedFiles:
        contents = {name: bytearray((raw / name).read_bytes()) for name in FILE_NAMES}
        digests = {name: _sha256(content) for name, content in contents.items()}
        expected = self.sha256 or _read_record(raw)
        if expected is None:
            logger.warning("%s: no %s there, so the files are taken as they are", raw, RECORD_NAME)
        for name in FILE_NAMES:
            if expected is not None and digests[name] != expected.get(name):
                problem = f"has the SHA-256 {digests[name]}, expected {expected.get(name)}"
                raise damaged(raw / name, problem)
        return CheckedFiles(
            train=parse_samples(raw, contents, TRAIN_IMAGES, TRAIN_LABELS),
            test=parse_samples(raw, contents, TEST_IMAGES, TEST_LABELS),
            sha256=digests,
        )


def _download(source: Source, directory: Path) -> None:
    """Download by torchvision, which shows a progress bar and checks what it gets."""
    advice = (
        f"put its four files into <data-dir>/{source.folder}/raw, name the directory that has "
        "them by --data-dir, or take --dataset digits, which needs no network"
    )
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:
        raise UnreachableError(
            f"{source.name} cannot be downloaded: torchvision does not fit the installed torch "
            f"({error})",
            "install both together: pip install --upgrade torch torchvision",
        ) from error
    dataset = getattr(datasets, source.folder)
    first_file = dataset.resources[0][0]
    if not _any_reachable([f"{mirror}{first_file}" for mirror in dataset.mirrors]):
        reason = f"{source.name} is not on disk, and its servers cannot be reached"
        raise UnreachableError(reason, advice)
    logger.info("downloading %s", source.name)
    try:
        with _socket_timeout(_STALL_TIMEOUT_S):
            dataset(root=directory, download=True)
    except (RuntimeError, OSError, HTTPException) as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        cause = (str(error).splitlines() or [type(error).__name__])[-1].rstrip(".")
        raise UnreachableError(f"{source.name} cannot be downloaded: {cause}", advice) from error
    for name in FILE_NAMES:
        (directory / source.folder / "raw" / name).replace(directory / name)


def _draw(source: Source, directory: Path) -> None:
    from .digits import draw_digits

    logger.info("drawing the dataset %r, once", source.name)
    train = draw_digits(_DIGITS_TRAIN, seed=_DIGITS_TRAIN_SEED)
    test = draw_digits(_DIGITS_TEST, seed=_DIGITS_TEST_SEED)
    (directory / TRAIN_IMAGES).write_bytes(images_to_idx(train[0]))
    (directory / TRAIN_LABELS).write_bytes(labels_to_idx(train[1]))
    (directory / TEST_IMAGES).write_bytes(images_to_idx(test[0]))
    (directory / TEST_LABELS).write_bytes(labels_to_idx(test[1]))


SOURCES = {
    source.name: source
    for source in (
        Source("mnist", "MNIST", _download, MNIST_SHA256),
        Source("fashion-mnist", "FashionMNIST", _download),
        Source("kmnist", "KMNIST", _download),
        Source("digits", "digits", _draw),
    )
}
"""The datasets by name; the folder is also the name of torchvision's class."""


def _any_reachable(urls: list[str]) -> bool:
    """Tell whether a server answers, within a time that also holds where name lookups hang."""
    answers = [_ask(url) for url in urls]
    try:
        return any(each.result() for each in as_completed(answers, timeout=_REACH_TIMEOUT_S))
    except TimeoutError:
        return False


def _ask(url: str) -> Future[bool]:
    """Ask a server in a thread of its own: for those of a pool, Python would wait when it exits."""
    answer: Future[bool] = Future()
    thread = threading.Thread(target=lambda: answer.set_result(_answers(url)), daemon=True)
    thread.start()
    return answer


def _answers(url: str) -> bool:
    """Tell whether a server answers at all, if not kindly."""
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - torchvision's URLs
    try:
        urllib.request.urlopen(request, timeout=_REACH_TIMEOUT_S).close()  # noqa: S310
    except HTTPError as error:
        error.close()
    except (OSError, HTTPException):
        return False
    return True


def _remove_abandoned(raw: Path) -> None:
    """Remove what a process that was killed has fetched; another may still be fetching."""
    for folder in raw.glob(f"{_STAGING}*"):
        with suppress(OSError):
            if (
                time.time() - folder.lstat().st_mtime > _ABANDONED_AFTER_S
                and not folder.is_symlink()
            ):
                shutil.rmtree(folder)


def _remove_where_empty(*directories: Path) -> None:
    for directory in directories:
        with suppress(OSError):
            directory.rmdir()


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _sha256(content: bytes | bytearray) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_record(raw: Path) -> dict[str, str] | None:
    """Read the digests recorded beside the files; None if there is no record."""
    path = raw / RECORD_NAME
    if not path.exists():
        return None
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    digests = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if not set(FILE_NAMES) <= digests.keys():
        raise DataError(
            f"{path}: does not name the four files; delete it and them to fetch them anew"
        )
    return digests
