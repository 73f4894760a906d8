"""Tests of where the named datasets come from, and of the checks of their files."""

import gzip
import hashlib
import logging
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torchvision import datasets

from ignite_threenet.data import digits
from ignite_threenet.data import download as sources
from ignite_threenet.data.download import MNIST_SHA256, RECORD_NAME, SOURCES, Source
from ignite_threenet.data.idx import (
    FILE_NAMES,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
)
from ignite_threenet.errors import DataError, UnreachableError

Contents = dict[str, bytes]

FASHION = SOURCES["fashion-mnist"]
MNIST = SOURCES["mnist"]
FASHION_ADVICE = (
    "put its four files into <data-dir>/FashionMNIST/raw, name the directory that has them by "
    "--data-dir, or take --dataset digits, which needs no network"
)


def idx_images(
    count: int, *, magic: int = 2051, claimed: int | None = None, side: int = 28
) -> bytes:
    header = struct.pack(">IIII", magic, count if claimed is None else claimed, side, side)
    return header + bytes(number % 251 for number in range(count * side * side))


def idx_labels(labels: Sequence[int], *, magic: int = 2049, claimed: int | None = None) -> bytes:
    return struct.pack(">II", magic, len(labels) if claimed is None else claimed) + bytes(labels)


SMALL: Contents = {
    TRAIN_IMAGES: idx_images(6),
    TRAIN_LABELS: idx_labels([5, 0, 4, 1, 9, 2]),
    TEST_IMAGES: idx_images(3),
    TEST_LABELS: idx_labels([7, 2, 1]),
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digests_of(contents: Mapping[str, bytes]) -> dict[str, str]:
    return {name: sha256(content) for name, content in contents.items()}


def put_files(data_dir: Path, contents: Mapping[str, bytes], folder: str = "FashionMNIST") -> Path:
    """Put a dataset's files where they belong, with no record of their digests."""
    raw = data_dir / folder / "raw"
    raw.mkdir(parents=True)
    for name, content in contents.items():
        (raw / name).write_bytes(content)
    return raw


def files_below(directory: Path) -> Contents:
    """Read all files below a directory; a directory that should not be there has no content."""
    return {
        path.name: path.read_bytes() if path.is_file() else b"a directory"
        for path in directory.rglob("*")
        if path.is_file() or path.name not in ("FashionMNIST", "MNIST", "digits", "raw")
    }


class FileServer:
    """A server of files on this machine, that can be told to misbehave.

    Attributes:
        files: the files' contents by name.
        silent: methods that are never answered.
        refused: methods that are not allowed.
        stalling: names of files of which only the first half is sent.
        broken: names of files at which the connection is closed without an answer.
        requests: the methods and names that were asked for.
    """

    def __init__(self) -> None:
        self.files: Contents = {}
        self.silent: set[str] = set()
        self.refused: set[str] = set()
        self.stalling: set[str] = set()
        self.broken: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._create_handler())
        self._server.daemon_threads = False  # so that closing waits for the answers under way
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _create_handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def do_HEAD(self) -> None:
                answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        name = request.path.removeprefix("/")
        self.requests.append((request.command, name))
        if request.command in self.silent:
            self._closing.wait()
            return
        if name in self.broken:
            return
        if request.command in self.refused:
            request.send_error(405)
            return
        content = self.files[name]
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "GET" and name in self.stalling:
            request.wfile.write(content[: len(content) // 2])
            self._closing.wait()
        elif request.command == "GET":
            request.wfile.write(content)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = FileServer()
    yield server
    server.close()


@pytest.fixture
def dead_url() -> str:
    """Find an address that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


Serve = Callable[..., None]


@pytest.fixture
def serve(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Let torchvision find these contents, and their MD5, at the server."""

    def serve(contents: Mapping[str, bytes], *, before: Sequence[str] = ()) -> None:
        server.files = {
            f"{name}.gz": gzip.compress(content, mtime=0) for name, content in contents.items()
        }
        resources = [
            (name, hashlib.md5(content, usedforsecurity=False).hexdigest())
            for name, content in server.files.items()
        ]
        for dataset in (datasets.MNIST, datasets.FashionMNIST):
            monkeypatch.setattr(dataset, "mirrors", [*before, server.url])
            monkeypatch.setattr(dataset, "resources", resources)

    return serve


@pytest.fixture
def fashion(tmp_path: Path, server: FileServer, serve: Serve) -> Path:
    """Fetch the small Fashion-MNIST, and forget that the server was asked."""
    serve(SMALL)
    FASHION.read(tmp_path)
    server.requests.clear()
    return tmp_path / "FashionMNIST" / "raw"


# Fetching


def test_a_dataset_is_fetched_where_it_is_not_on_disk(tmp_path: Path, serve: Serve) -> None:
    serve(SMALL)

    files = FASHION.read(tmp_path)

    images, labels = files.train
    assert (images.shape, images.dtype) == ((6, 1, 28, 28), torch.uint8)
    assert images.numpy().tobytes() == SMALL[TRAIN_IMAGES][16:]
    assert labels.dtype == torch.int64
    assert labels.tolist() == [5, 0, 4, 1, 9, 2]
    images, labels = files.test
    assert images.numpy().tobytes() == SMALL[TEST_IMAGES][16:]
    assert labels.tolist() == [7, 2, 1]
    assert files.sha256 == digests_of(SMALL)


def test_fetched_files_lie_in_torchvisions_layout_with_their_digests(
    tmp_path: Path, fashion: Path
) -> None:
    record = "".join(f"{digest}  {name}\n" for name, digest in digests_of(SMALL).items())

    assert files_below(tmp_path) == {**SMALL, RECORD_NAME: record.encode()}
    assert all((fashion / name).is_file() for name in FILE_NAMES)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
def test_sha256sum_understands_the_recorded_digests(fashion: Path) -> None:
    command = ["sha256sum", "--check", "--strict", RECORD_NAME]

    result = subprocess.run(command, cwd=fashion, capture_output=True, text=True, check=False)

    assert result.stdout.splitlines() == [f"{name}: OK" for name in FILE_NAMES]
    assert result.returncode == 0


def test_files_on_disk_are_not_fetched_again(
    tmp_path: Path, server: FileServer, fashion: Path
) -> None:
    files = FASHION.read(tmp_path)

    assert server.requests == []
    assert files.train[1].tolist() == [5, 0, 4, 1, 9, 2]


def test_a_mirror_that_is_absent_is_passed_over(
    tmp_path: Path, serve: Serve, dead_url: str
) -> None:
    serve(SMALL, before=[dead_url])

    assert FASHION.read(tmp_path).sha256 == digests_of(SMALL)


def test_a_server_that_answers_only_to_downloads_is_used(
    tmp_path: Path, server: FileServer, serve: Serve
) -> None:
    serve(SMALL)
    server.refused = {"HEAD"}

    assert FASHION.read(tmp_path).sha256 == digests_of(SMALL)


@pytest.mark.parametrize("name", FILE_NAMES)
def test_one_missing_file_is_fetched_anew(tmp_path: Path, fashion: Path, name: str) -> None:
    (fashion / name).unlink()

    files = FASHION.read(tmp_path)

    assert files.sha256 == digests_of(SMALL)
    assert (fashion / name).read_bytes() == SMALL[name]


def test_what_a_killed_process_has_fetched_is_removed_when_nobody_fetches_it_any_more(
    tmp_path: Path, fashion: Path
) -> None:
    kept = [".ignite-threenet-fetching-now", ".fetching-mine"]
    for name in (".ignite-threenet-fetching-old", *kept):
        (fashion / name).mkdir()
        os.utime(fashion / name, (0, 0) if name != kept[0] else None)
    (fashion / TRAIN_LABELS).unlink()

    FASHION.read(tmp_path)

    assert sorted(each.name for each in fashion.iterdir() if each.is_dir()) == sorted(kept)


def test_fetching_anew_overwrites_no_other_file(tmp_path: Path, fashion: Path) -> None:
    (fashion / TRAIN_IMAGES).unlink()
    altered = fashion / TEST_LABELS
    altered.write_bytes(idx_labels([1, 2, 3]))

    with pytest.raises(DataError) as raised:
        FASHION.read(tmp_path)

    assert str(raised.value) == (
        f"{altered}: differs from what was fetched anew; delete the file to have it fetched anew"
    )
    assert altered.read_bytes() == idx_labels([1, 2, 3])


def test_the_time_limit_of_other_connections_is_given_back(tmp_path: Path, serve: Serve) -> None:
    serve(SMALL)
    socket.setdefaulttimeout(77)
    try:
        FASHION.read(tmp_path)

        assert socket.getdefaulttimeout() == 77
    finally:
        socket.setdefaulttimeout(None)


# Fetching in vain


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a server have a minute to answer, and a test half of one in all."""
    monkeypatch.setattr(sources, "_REACH_TIMEOUT_S", 60)
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 30


@pytest.mark.usefixtures("patient")
def test_an_absent_server_is_told_at_once_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead_url: str
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [dead_url, dead_url])

    with pytest.raises(UnreachableError) as raised:
        FASHION.read(tmp_path)

    reason = "fashion-mnist is not on disk, and its servers cannot be reached"
    assert raised.value.reason == reason
    assert str(raised.value) == f"{reason}; {FASHION_ADVICE}"
    assert files_below(tmp_path) == {}


def test_a_server_that_never_answers_is_given_up(
    tmp_path: Path, server: FileServer, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(SMALL)
    server.silent = {"HEAD", "GET"}
    monkeypatch.setattr(sources, "_REACH_TIMEOUT_S", 0.1)

    with pytest.raises(UnreachableError, match="its servers cannot be reached"):
        FASHION.read(tmp_path)

    assert files_below(tmp_path) == {}


@pytest.mark.usefixtures("patient")
def test_a_server_that_never_answers_holds_up_nobody_where_another_one_does(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(SMALL)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mirrors = [*datasets.FashionMNIST.mirrors, f"http://127.0.0.1:{silent.getsockname()[1]}/"]
        monkeypatch.setattr(datasets.FashionMNIST, "mirrors", mirrors)

        assert FASHION.read(tmp_path).sha256 == digests_of(SMALL)


def test_a_name_lookup_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = threading.Event()

    # Python's time limits do not hold for the lookup of a name.
    def look_up(*_: object, **__: object) -> None:
        given_up.wait()
        raise OSError

    monkeypatch.setattr(urllib.request, "urlopen", look_up)
    monkeypatch.setattr(sources, "_REACH_TIMEOUT_S", 0.1)
    try:
        with pytest.raises(UnreachableError, match="its servers cannot be reached"):
            FASHION.read(tmp_path)
    finally:
        given_up.set()


@pytest.mark.parametrize(("silent", "stalling"), [({"GET"}, set()), (set(), {f"{TEST_IMAGES}.gz"})])
def test_a_download_that_stalls_is_given_up(
    tmp_path: Path,
    server: FileServer,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    silent: set[str],
    stalling: set[str],
) -> None:
    serve(SMALL)
    server.silent, server.stalling = silent, stalling
    monkeypatch.setattr(sources, "_STALL_TIMEOUT_S", 0.1)

    with pytest.raises(UnreachableError) as raised:
        FASHION.read(tmp_path)

    assert raised.value.reason == "fashion-mnist cannot be downloaded: timed out"
    assert str(raised.value).endswith(FASHION_ADVICE)
    assert files_below(tmp_path) == {}


@pytest.mark.parametrize("name", FILE_NAMES)
def test_a_download_with_another_md5_is_refused(
    tmp_path: Path, server: FileServer, serve: Serve, name: str
) -> None:
    serve(SMALL)
    server.files[f"{name}.gz"] = gzip.compress(b"something else")

    with pytest.raises(UnreachableError, match="not found or corrupted") as raised:
        FASHION.read(tmp_path)

    assert raised.value.reason.startswith("fashion-mnist cannot be downloaded: ")
    assert len(str(raised.value).splitlines()) == 1
    assert files_below(tmp_path) == {}


def test_an_interrupted_fetch_leaves_no_half_dataset_and_the_next_one_succeeds(
    tmp_path: Path, server: FileServer, serve: Serve
) -> None:
    serve(SMALL)
    server.broken = {f"{TEST_LABELS}.gz"}
    with pytest.raises(UnreachableError, match="closed connection without response"):
        FASHION.read(tmp_path)
    assert files_below(tmp_path) == {}

    server.broken = set()

    assert FASHION.read(tmp_path).sha256 == digests_of(SMALL)


def test_ctrl_c_during_a_fetch_leaves_nothing(tmp_path: Path) -> None:
    def fetch(source: Source, directory: Path) -> None:
        (directory / TRAIN_IMAGES).write_bytes(SMALL[TRAIN_IMAGES])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(FASHION, fetch=fetch).read(tmp_path)

    assert files_below(tmp_path) == {}


def test_a_data_directory_that_is_a_file_is_named(tmp_path: Path, serve: Serve) -> None:
    serve(SMALL)
    data_dir = tmp_path / "data"
    data_dir.write_text("a file")

    with pytest.raises(DataError) as raised:
        FASHION.read(data_dir)

    assert str(raised.value) == (
        f"{data_dir / 'FashionMNIST' / 'raw'}: Not a directory; choose another --data-dir"
    )
    assert data_dir.read_text() == "a file"


def test_a_full_disk_is_told_with_the_place(tmp_path: Path) -> None:
    def fetch(source: Source, directory: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError) as raised:
        replace(FASHION, fetch=fetch).read(tmp_path)

    assert str(raised.value) == (
        f"{tmp_path / 'FashionMNIST' / 'raw'}: No space left on device; choose another --data-dir"
    )


def test_a_missing_torchvision_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)

    with pytest.raises(DataError) as raised:
        FASHION.read(tmp_path)

    message = str(raised.value)
    assert message.startswith("fashion-mnist cannot be downloaded: torchvision does not fit ")
    assert message.endswith("; install both together: pip install --upgrade torch torchvision")


def test_a_torchvision_of_another_torch_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = "operator torchvision::nms does not exist"
    (tmp_path / "site" / "torchvision").mkdir(parents=True)
    (tmp_path / "site" / "torchvision" / "__init__.py").write_text(
        f"raise RuntimeError({problem!r})"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "torchvision")

    with pytest.raises(DataError) as raised:
        FASHION.read(tmp_path)

    assert str(raised.value) == (
        "fashion-mnist cannot be downloaded: torchvision does not fit the installed torch "
        f"({problem}); install both together: pip install --upgrade torch torchvision"
    )


def test_a_dataset_on_disk_needs_no_torchvision(
    tmp_path: Path, fashion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)

    assert FASHION.read(tmp_path).sha256 == digests_of(SMALL)


# Recorded digests


def altered(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def truncated(content: bytes) -> bytes:
    return content[:-1]


def emptied(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("name", FILE_NAMES)
@pytest.mark.parametrize("damage", [altered, truncated, emptied])
def test_a_damaged_file_is_refused_with_both_digests(
    tmp_path: Path,
    server: FileServer,
    fashion: Path,
    damage: Callable[[bytes], bytes],
    name: str,
) -> None:
    damaged = damage(SMALL[name])
    (fashion / name).write_bytes(damaged)
    before = files_below(tmp_path)

    with pytest.raises(DataError) as raised:
        FASHION.read(tmp_path)

    assert str(raised.value) == (
        f"{fashion / name}: has the SHA-256 {sha256(damaged)}, expected {sha256(SMALL[name])}; "
        "delete the file to have it fetched anew"
    )
    assert files_below(tmp_path) == before
    assert server.requests == []


def test_files_without_recorded_digests_are_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = put_files(tmp_path, SMALL)

    files = FASHION.read(tmp_path)

    assert files.train[1].tolist() == [5, 0, 4, 1, 9, 2]
    assert files.sha256 == digests_of(SMALL)
    assert caplog.record_tuples == [
        (
            "ignite_threenet",
            logging.WARNING,
            f"{raw}: no SHA256SUMS there, so the files are taken as they are",
        )
    ]
    assert files_below(tmp_path) == SMALL


@pytest.mark.parametrize("damage", [truncated, emptied, lambda _: b"\xff\x00 not text"])
def test_a_damaged_record_is_refused(
    tmp_path: Path, fashion: Path, damage: Callable[[bytes], bytes]
) -> None:
    record = fashion / RECORD_NAME
    # Its last line break is not missed, so the last name has to be cut too.
    record.write_bytes(damage(record.read_bytes().removesuffix(b"\n")))

    with pytest.raises(DataError) as raised:
        FASHION.read(tmp_path)

    assert str(raised.value).startswith(f"{record}: does not name the four files; ")


# Digests known in advance


@pytest.mark.parametrize("wrong", FILE_NAMES)
def test_mnist_with_another_content_is_not_let_in(tmp_path: Path, serve: Serve, wrong: str) -> None:
    serve(SMALL)
    expected = digests_of(SMALL) | {wrong: MNIST_SHA256[wrong]}

    with pytest.raises(DataError) as raised:
        replace(MNIST, sha256=expected).read(tmp_path)

    assert str(raised.value) == (
        f"{wrong}: what was fetched for mnist has the SHA-256 {sha256(SMALL[wrong])}, "
        f"expected {MNIST_SHA256[wrong]}"
    )
    assert files_below(tmp_path) == {}


def test_wrong_content_is_no_reason_to_take_another_dataset(tmp_path: Path, serve: Serve) -> None:
    serve(SMALL)

    with pytest.raises(DataError) as raised:
        MNIST.read(tmp_path)

    assert not isinstance(raised.value, UnreachableError)


def test_mnist_on_disk_is_held_to_the_published_digests_whatever_is_recorded(
    tmp_path: Path,
) -> None:
    raw = put_files(tmp_path, SMALL, "MNIST")
    record = "".join(f"{digest}  {name}\n" for name, digest in digests_of(SMALL).items())
    (raw / RECORD_NAME).write_text(record)

    with pytest.raises(DataError) as raised:
        MNIST.read(tmp_path)

    assert str(raised.value) == (
        f"{raw / TRAIN_IMAGES}: has the SHA-256 {sha256(SMALL[TRAIN_IMAGES])}, "
        f"expected {MNIST_SHA256[TRAIN_IMAGES]}; delete the file to have it fetched anew"
    )


# The IDX format


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (TRAIN_IMAGES, b"", "has 0 bytes, and no image in them"),
        (TRAIN_IMAGES, idx_images(0), "has 16 bytes, and no image in them"),
        (TRAIN_IMAGES, idx_images(6, magic=2049), "is not an IDX file of 28x28 images"),
        (TRAIN_IMAGES, idx_images(6, side=32), "is not an IDX file of 28x28 images"),
        (TRAIN_IMAGES, idx_images(6, claimed=7), "has 4720 bytes, which 7 images do not fill"),
        (TEST_IMAGES, idx_images(3, claimed=2), "has 2368 bytes, which 2 images do not fill"),
        (TRAIN_LABELS, b"", "has 0 bytes, and no label in them"),
        (TRAIN_LABELS, idx_labels([]), "has 8 bytes, and no label in them"),
        (TRAIN_LABELS, idx_labels([0] * 6, magic=2051), "is not an IDX file of labels"),
        (TRAIN_LABELS, idx_labels([0] * 6, claimed=7), "is not an IDX file of labels"),
        (TRAIN_LABELS, idx_labels([0] * 6, claimed=5), "is not an IDX file of labels"),
        (TEST_LABELS, idx_labels([7, 10, 1]), "has the label 10, and 9 is the largest"),
        (TEST_LABELS, idx_labels([7, 2]), "has 2 labels for 3 images"),
        (TRAIN_LABELS, idx_labels([0] * 7), "has 7 labels for 6 images"),
    ],
)
def test_a_malformed_file_is_refused(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    raw = put_files(tmp_path, SMALL | {name: content})

    with pytest.raises(DataError) as raised:
        FASHION.read(tmp_path)

    assert str(raised.value) == (
        f"{raw / name}: {problem}; delete the file to have it fetched anew"
    )


# Digits


def test_digits_are_drawn_once_and_then_read(
    tmp_path: Path, small_digits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = SOURCES["digits"].read(tmp_path)
    monkeypatch.delattr(digits, "draw_digits")

    read = SOURCES["digits"].read(tmp_path)

    assert torch.equal(read.train[0], drawn.train[0])
    assert torch.equal(read.train[1], drawn.train[1])
    assert torch.equal(read.test[0], drawn.test[0])
    assert torch.equal(read.test[1], drawn.test[1])
    assert read.sha256 == drawn.sha256


def test_digits_to_train_and_to_test_are_drawn_apart(tmp_path: Path, small_digits: None) -> None:
    files = SOURCES["digits"].read(tmp_path)

    train, test = files.train[0], files.test[0]
    assert (len(train), len(test)) == (512, 128)
    assert not torch.equal(train[:128], test)
    assert torch.equal(train, digits.draw_digits(512, seed=1)[0])
    assert torch.equal(test, digits.draw_digits(128, seed=2)[0])


def test_digits_are_drawn_without_a_network(
    tmp_path: Path, small_digits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(urllib.request, "urlopen")

    assert len(SOURCES["digits"].read(tmp_path).test[1]) == 128


def test_damaged_digits_are_refused(tmp_path: Path, small_digits: None) -> None:
    SOURCES["digits"].read(tmp_path)
    labels = tmp_path / "digits" / "raw" / TRAIN_LABELS
    labels.write_bytes(altered(labels.read_bytes()))

    with pytest.raises(DataError, match=f"^{labels}: has the SHA-256 "):
        SOURCES["digits"].read(tmp_path)
