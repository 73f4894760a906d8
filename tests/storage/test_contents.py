"""Tests of directories in which others have been: nothing of theirs is touched or followed."""

import os
import socket
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from ignite_threenet.errors import CheckpointError, DirectoryError
from ignite_threenet.storage.checkpoint_file import load_weights, read
from ignite_threenet.storage.contents import check_usable
from ignite_threenet.storage.directory import RunDirectory


def make(path: Path = Path("run"), *, force: bool = False) -> RunDirectory:
    directory = RunDirectory.plan(path, "mnist", force=force)
    directory.make()
    return directory


def old_run(path: Path = Path("run")) -> Path:
    """Leave a run there, with a file, a folder and a checkpoint of its own."""
    run = make(path)
    run.write("notes.txt", b"ours")
    run.make_folder("logs")
    (path / "logs" / "a").write_text("ours")
    run.write_checkpoint(3, b"ours", keep=2)
    run.release()
    return path


THEIRS = [".backup-20261123", ".notes-deadbeef", ".a-00000000", ".env", ".git", "..-12345678"]


@pytest.mark.parametrize("name", THEIRS)
def test_somebodys_dot_file_is_never_removed(name: str) -> None:
    path = old_run()
    (path / name).write_text("theirs")

    RunDirectory.open(path).release()
    make(path, force=True).release()

    assert (path / name).read_text() == "theirs"


def test_what_a_killed_run_left_is_removed_when_another_begins_and_not_before() -> None:
    path = old_run()
    left = path / ".summary.json.ignite-threenet-0123456789abcdef"
    left.write_text("{")

    RunDirectory.open(path).release()
    assert left.exists()

    make(path, force=True).release()
    assert not left.exists()


@pytest.mark.parametrize("name", [".owner", "metrics.jsonl", "manifest.json", "notes.txt"])
def test_nothing_is_written_through_a_link(name: str) -> None:
    path = old_run()
    Path("theirs").write_text("theirs")
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(Path("theirs").absolute())

    if name == "manifest.json":
        (path / name).unlink()
        (path / name).write_text('{"versions": {"ignite_threenet": "0"}}')
    run = RunDirectory.open(path)
    run.write_manifest(run.manifest)
    run.write("notes.txt", b"ours")
    with pytest.raises(OSError, match=name) if name == "metrics.jsonl" else nullcontext():
        run.append_line("metrics.jsonl", "{}")
    run.release()

    assert Path("theirs").read_text() == "theirs"


def test_a_lock_that_leads_elsewhere_is_refused() -> None:
    path = old_run()
    Path("theirs").write_text("theirs")
    (path / ".lock").unlink(missing_ok=True)
    (path / ".lock").symlink_to(Path("theirs").absolute())

    with pytest.raises(DirectoryError, match=r"its \.lock is no file"):
        RunDirectory.open(path)

    assert Path("theirs").read_text() == "theirs"


def test_a_folder_that_leads_elsewhere_is_refused() -> None:
    run = make()
    Path("theirs").mkdir()
    (run.path / "logs").symlink_to(Path("theirs").absolute())

    with pytest.raises(DirectoryError, match="is a link"):
        run.make_folder("logs")


# Pipes, sockets, directories


def as_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind(str(path))


KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "directory": Path.mkdir,
    "socket": as_socket,
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("make_other", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("name", ["manifest.json", "summary.json", ".owner"])
def test_what_is_no_file_is_not_opened(name: str, make_other: Callable[[Path], object]) -> None:
    path = old_run()
    (path / name).unlink(missing_ok=True)
    make_other(path / name)

    if name == "manifest.json":
        with pytest.raises(DirectoryError, match="holds no run"):
            RunDirectory.open(path)
        with pytest.raises(DirectoryError, match="is not empty and holds no run"):
            check_usable(path)
    else:
        run = RunDirectory(path)
        assert dict(run.read_summary()) == {}


@pytest.mark.parametrize("make_other", KINDS.values(), ids=KINDS)
def test_weights_and_checkpoints_are_read_from_files_alone(
    make_other: Callable[[Path], object],
) -> None:
    for name in ("a.safetensors", "a.pt"):
        make_other(Path(name))
        for read_it in (read, load_weights):
            with pytest.raises(CheckpointError, match=r"is no file|cannot be read"):
                read_it(Path(name))


@pytest.mark.parametrize("make_other", KINDS.values(), ids=KINDS)
def test_what_is_no_file_is_no_checkpoint(make_other: Callable[[Path], object]) -> None:
    path = old_run()
    make_other(path / "checkpoint-00000009.safetensors")
    run = RunDirectory.open(path)

    assert [each.name for each in run.checkpoints()] == ["checkpoint-00000003.safetensors"]
    assert run.last_saved_iteration() == 3
    run.release()


def test_a_checkpoint_that_is_passed_over_is_never_the_newest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = old_run()
    run = RunDirectory.open(path)
    run.write_checkpoint(9, b"damaged", keep=2)

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        run.pass_over(path / "checkpoint-00000009.safetensors")

    assert run.last_saved_iteration() == 3
    run.write_checkpoint(6, b"ours", keep=2)
    assert [each.name[-14:-12] for each in run.checkpoints()] == ["06", "03"]
    assert "cannot be removed: Operation not permitted" in caplog.text
    run.release()


# Replacing


def test_force_looks_at_everything_before_it_removes_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = old_run()
    monkeypatch.setattr(os.path, "ismount", lambda place: Path(place).name == "logs")

    with pytest.raises(DirectoryError, match="is a mounted file system; nothing was removed"):
        make(path, force=True)

    assert (path / "notes.txt").read_text() == "ours"
    assert (path / "logs" / "a").exists()
    assert (path / "checkpoint-00000003.safetensors").exists()


def test_force_follows_no_link() -> None:
    path = old_run()
    Path("theirs").mkdir()
    Path("theirs/a").write_text("theirs")
    (path / "logs" / "a").unlink()
    (path / "logs").rmdir()
    (path / "logs").symlink_to(Path("theirs").absolute())

    make(path, force=True).release()

    assert Path("theirs/a").read_text() == "theirs"


# One name for two


def test_runs_that_begin_in_one_second_have_directories_of_their_own() -> None:
    planned = [RunDirectory.plan(None, "mnist") for _ in range(10)]

    for directory in planned:
        directory.make()

    assert len({directory.path for directory in planned}) == 10
    for directory in planned:
        assert (directory.path / "manifest.json").exists()
        directory.release()


# A directory that changes


def test_another_current_directory_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")

    run.write("notes.txt", b"ours")
    run.append_line("metrics.jsonl", "{}")
    run.write_checkpoint(1, b"ours", keep=1)
    run.write_checkpoint(2, b"ours", keep=1)
    run.write_summary({"status": "completed"})
    run.release()

    assert list(Path().iterdir()) == []
    assert sorted(each.name for each in Path("../run").iterdir() if each.name[0] != ".") == [
        "checkpoint-00000002.safetensors",
        "manifest.json",
        "metrics.jsonl",
        "notes.txt",
        "summary.json",
    ]


def test_a_name_of_255_bytes_can_be_written() -> None:
    run = make()
    name = "n" * 251 + ".txt"

    run.write(name, b"ours")

    assert (run.path / name).read_bytes() == b"ours"
    run.release()
