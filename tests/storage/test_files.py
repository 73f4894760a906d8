"""Tests of writing files at once."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ignite_threenet.storage.files import write_atomically


@pytest.fixture
def set_umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def entries(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("content", [b"", b"new", b"\x00\r\n\xff" * 50_000])
def test_a_new_file_holds_the_content(tmp_path: Path, content: bytes) -> None:
    write_atomically(tmp_path / "file.bin", content)

    assert (tmp_path / "file.bin").read_bytes() == content


def test_the_old_content_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"the old and longer content")

    write_atomically(path, b"new")

    assert path.read_bytes() == b"new"


def test_nothing_else_is_left_beside_the_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file.txt", b"new")

    assert entries(tmp_path) == ["file.txt"]


def test_a_reader_of_the_old_file_never_sees_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"old")

    with path.open("rb") as reader:
        write_atomically(path, b"new")

        assert reader.read() == b"old"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077])
def test_a_new_file_has_the_mode_that_open_gives(
    tmp_path: Path, set_umask: Callable[[int], int], umask: int
) -> None:
    set_umask(umask)
    (tmp_path / "opened.txt").open("x").close()

    write_atomically(tmp_path / "written.txt", b"new")

    opened, written = ((tmp_path / name).stat().st_mode for name in ("opened.txt", "written.txt"))
    assert written == opened


def test_the_umask_stays_as_it_was(tmp_path: Path, set_umask: Callable[[int], int]) -> None:
    set_umask(0o027)

    write_atomically(tmp_path / "file.txt", b"new")

    assert set_umask(0o027) == 0o027


def test_the_content_is_on_the_disk_before_it_takes_the_place_of_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"old")
    fsync = os.fsync
    synced: list[tuple[int, bytes]] = []

    def spy(descriptor: int) -> None:
        fsync(descriptor)
        synced.append((os.fstat(descriptor).st_ino, path.read_bytes()))

    monkeypatch.setattr(os, "fsync", spy)

    write_atomically(path, b"new")

    assert synced[0] == (path.stat().st_ino, b"old")


FAILURES = pytest.mark.parametrize(
    ("owner", "step"), [(os, "write"), (os, "fsync"), (Path, "replace")]
)


def failing(error: BaseException) -> Callable[..., None]:
    def fail(*arguments: object) -> None:
        raise error

    return fail


@FAILURES
def test_a_failure_keeps_the_old_content_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str
) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"old")
    error = OSError(28, "No space left on device")
    monkeypatch.setattr(owner, step, failing(error))

    with pytest.raises(OSError, match="No space left on device") as raised:
        write_atomically(path, b"new")

    assert raised.value.errno == 28
    assert raised.value.filename == str(path)
    assert raised.value.__cause__ is error
    assert path.read_bytes() == b"old"
    assert entries(tmp_path) == ["file.txt"]


@FAILURES
def test_an_interrupt_of_a_first_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str
) -> None:
    monkeypatch.setattr(owner, step, failing(KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file.txt", b"new")

    assert entries(tmp_path) == []


def test_what_the_disk_takes_in_pieces_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:3]))

    write_atomically(tmp_path / "file.txt", b"in pieces")

    assert (tmp_path / "file.txt").read_bytes() == b"in pieces"


def test_a_directory_in_the_place_of_the_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()

    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", b"new")

    assert (tmp_path / "taken").is_dir()
    assert entries(tmp_path) == ["taken"]


def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file.txt"

    with pytest.raises(FileNotFoundError) as raised:
        write_atomically(path, b"new")

    assert raised.value.filename == str(path)
    assert entries(tmp_path) == []
