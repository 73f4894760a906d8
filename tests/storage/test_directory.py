"""Tests of the directory that a run writes into."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from matplotlib.figure import Figure
from torch import nn

from ignite_threenet import load_weights
from ignite_threenet.errors import CheckpointError, DirectoryError
from ignite_threenet.storage import directory, lock
from ignite_threenet.storage.contents import (
    LOCK,
    MANIFEST,
    METRICS,
    OWNER,
    SUMMARY,
    check_usable,
    is_kept_for_resuming,
)
from ignite_threenet.storage.directory import RunDirectory


class _StoppedClock(datetime):
    @classmethod
    def now(cls, tz: object = None) -> "_StoppedClock":
        return cls(2026, 3, 14, 15, 9, 26)


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "datetime", _StoppedClock)


def create(out: Path | None, dataset: str, *, force: bool = False) -> RunDirectory:
    """Make a directory as a run does when it begins."""
    directory = RunDirectory.plan(out, dataset, force=force)
    directory.make()
    return directory


def write_run(path: Path, **files: str) -> Path:
    """Leave a directory as a run does that wrote the files besides its usual ones."""
    run = create(path, "mnist")
    run.write_manifest({"versions": {"ignite_threenet": "0.1.0"}})
    run.append_line(METRICS, '{"epoch": 1}')
    for name, content in files.items():
        run.write(name, content.encode())
    run.write_summary({"status": "completed"})
    run.release()
    return path


def set_listed_files(path: Path, files: Any) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(manifest | {"files": files}))


def contents(path: Path) -> dict[str, bytes]:
    """Read all files but the lock, which is there whenever somebody has used the directory."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.name not in (LOCK, OWNER)
    }


@contextmanager
def another_process_using(path: Path) -> Iterator[int]:
    """Let another process take a run's directory; give its number."""
    code = (
        "import sys; from pathlib import Path\n"
        "from ignite_threenet.storage.directory import RunDirectory\n"
        "run = RunDirectory.open(Path(sys.argv[1])); print('taken', flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"taken\n"
        try:
            yield process.pid
        finally:
            process.kill()


def test_without_a_path_it_is_named_by_the_time_and_the_dataset(stopped_clock: None) -> None:
    run = create(None, "fashion-mnist")

    assert run.path == Path("runs/20260314-150926-fashion-mnist")
    assert run.path.is_dir()


def test_runs_of_the_same_second_have_directories_of_their_own(stopped_clock: None) -> None:
    paths = [create(None, "mnist").path for _ in range(3)]

    assert [path.name for path in paths] == [
        "20260314-150926-mnist",
        "20260314-150926-mnist-2",
        "20260314-150926-mnist-3",
    ]


def test_a_given_path_is_made_with_its_parents(tmp_path: Path) -> None:
    run = create(tmp_path / "a" / "b", "mnist")

    assert run.path == tmp_path / "a" / "b"
    assert run.path.is_dir()
    assert run.files == [MANIFEST]


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    run = create(tmp_path / "empty", "mnist")

    assert run.path == tmp_path / "empty"


def test_a_directory_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run")
    before = contents(path)

    with pytest.raises(DirectoryError) as raised:
        create(path, "mnist")

    assert str(raised.value) == (
        f"{path}: holds a run; choose another --out, or replace it by --force"
    )
    assert raised.value.path == path
    assert contents(path) == before


def test_a_directory_of_a_run_that_has_just_begun_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "run", "mnist")

    with pytest.raises(DirectoryError):
        create(tmp_path / "run", "mnist")


def test_force_removes_the_files_of_the_old_run(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", **{"best.pt": "weights", "loss.png": "curve"})

    create(path, "mnist", force=True)

    assert list(contents(path)) == [MANIFEST]


def test_force_removes_also_what_a_killed_run_left(tmp_path: Path) -> None:
    killed = create(tmp_path / "run", "mnist")
    killed.write_manifest({"versions": {"ignite_threenet": "0.1.0"}})
    killed.write("best.pt", b"weights")
    killed.write_checkpoint(4, b"state", keep=2)
    (killed.path / "checkpoint-00000002.pt").write_text("of an earlier version")
    killed.release()

    create(tmp_path / "run", "mnist", force=True)

    assert list(contents(tmp_path / "run")) == [MANIFEST]


def test_force_keeps_the_files_that_no_run_wrote(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", **{"best.pt": "weights"})
    (path / "notes.txt").write_text("mine")
    (path / "checkpoint-best.safetensors").write_text("mine too")
    (path / "checkpoint-best.pt").write_text("mine too")
    (path / "thoughts").mkdir()
    (path / "thoughts" / "best.pt").write_text("mine too")

    create(path, "mnist", force=True)

    kept = contents(path)
    assert set(kept) == {
        *(MANIFEST, "notes.txt", "checkpoint-best.safetensors", "checkpoint-best.pt"),
        str(Path("thoughts", "best.pt")),
    }
    assert kept["notes.txt"] == b"mine"


@pytest.mark.parametrize("path", ["new", "empty"])
def test_force_where_there_is_no_run_changes_nothing(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()

    run = create(tmp_path / path, "mnist", force=True)

    assert list(contents(run.path)) == [MANIFEST]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("thesis.tex", "years of work"),
        (SUMMARY, '{"files": ["thesis.tex"]}'),
        (MANIFEST, "not JSON"),
        (MANIFEST, '["a manifest of something else"]'),
        (MANIFEST, '{"versions": {"something_else": "1.0"}}'),
        (MANIFEST, '{"versions": "ignite_threenet"}'),
        (MANIFEST, '{"versions": null}'),
    ],
)
def test_a_directory_with_other_files_is_refused_even_by_force(
    tmp_path: Path, name: str, content: str, force: bool
) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(DirectoryError) as raised:
        create(tmp_path, "mnist", force=force)

    assert str(raised.value) == (f"{tmp_path}: is not empty and holds no run; choose another --out")
    assert contents(tmp_path) == {name: content.encode()}


@pytest.mark.parametrize("force", [False, True])
def test_a_file_in_its_place_is_refused(tmp_path: Path, force: bool) -> None:
    path = tmp_path / "run"
    path.write_text("a file")

    with pytest.raises(DirectoryError) as raised:
        create(path, "mnist", force=force)

    assert str(raised.value) == f"{path}: is not a directory; choose another --out"
    assert path.read_text() == "a file"


def test_a_file_in_the_place_of_its_parent_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    path = tmp_path / "file" / "run"

    with pytest.raises(DirectoryError) as raised:
        create(path, "mnist")

    assert str(raised.value) == f"{path}: cannot be written: Not a directory"


def test_a_link_to_nothing_is_not_taken_for_another_run(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "missing")

    with pytest.raises(DirectoryError) as raised:
        create(tmp_path / "link", "mnist")

    assert "another run" not in str(raised.value)


def lose_the_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another run come and go between the first check and the lock."""
    checked = False

    def check(path: Path, *, force: bool = False) -> None:
        nonlocal checked
        check_usable(path, force=force)
        if not checked:
            checked = True
            write_run(path)

    monkeypatch.setattr(directory, "check_usable", check)


def test_of_two_runs_that_start_at_once_the_second_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_the_race(monkeypatch)

    with pytest.raises(DirectoryError) as raised:
        create(tmp_path / "run", "mnist")

    assert str(raised.value).startswith(f"{tmp_path / 'run'}: holds a run; choose another --out")
    assert json.loads((tmp_path / "run" / SUMMARY).read_text()) == {"status": "completed"}


def test_who_is_refused_keeps_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_the_race(monkeypatch)

    with pytest.raises(DirectoryError) as raised:
        create(tmp_path / "run", "mnist")

    # The error is still held here, and with it all that its traceback refers to.
    assert raised.value.path == tmp_path / "run"
    RunDirectory.open(tmp_path / "run").release()


def test_an_old_manifest_cannot_point_outside_the_directory(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    path = write_run(tmp_path / "run")
    (path / "sub").mkdir()
    (path / "sub" / "inside.txt").write_text("mine")
    files = ["../outside.txt", str(outside), "sub/inside.txt", "sub/../../outside.txt"]
    set_listed_files(path, files)

    create(path, "mnist", force=True)

    assert outside.read_text() == "mine"
    assert (path / "sub" / "inside.txt").read_text() == "mine"


@pytest.mark.parametrize("files", [[".."], ["sub"], [7], "best.pt", None], ids=repr)
def test_a_mangled_manifest_does_not_keep_force_from_replacing_the_run(
    tmp_path: Path, files: Any
) -> None:
    path = write_run(tmp_path / "run")
    (path / "sub").mkdir()
    set_listed_files(path, files)

    run = create(path, "mnist", force=True)

    assert run.files == [MANIFEST]
    assert (path / "sub").is_dir()


def test_force_keeps_the_lock_also_where_an_old_manifest_lists_it(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run")
    set_listed_files(path, [LOCK])

    run = create(path, "mnist", force=True)

    with pytest.raises(DirectoryError, match="is in use by"):
        RunDirectory.open(run.path)


@pytest.mark.parametrize(
    ("exists", "force"), [(False, False), (True, True)], ids=["new", "by force"]
)
def test_a_check_changes_nothing(tmp_path: Path, exists: bool, force: bool) -> None:
    path = tmp_path / "run"
    if exists:
        write_run(path)
    before = contents(path)

    check_usable(path, force=force)

    assert path.exists() == exists
    assert contents(path) == before


def test_a_written_file_holds_its_content_and_its_path_is_returned(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")

    path = run.write("best.pt", b"weights")

    assert path == tmp_path / "run" / "best.pt"
    assert path.read_bytes() == b"weights"


@pytest.mark.parametrize(
    "name",
    [
        "../best.pt",
        "sub/best.pt",
        MANIFEST,
        METRICS,
        SUMMARY,
        LOCK,
        OWNER,
        "checkpoint-00000004.safetensors",
        "checkpoint-00000004.pt",
    ],
)
def test_a_name_that_is_not_plain_or_not_free_is_refused(tmp_path: Path, name: str) -> None:
    run = create(tmp_path / "run", "mnist")

    with pytest.raises(ValueError, match="not a plain name that is free"):
        run.write(name, b"content")


def test_lines_are_appended_in_utf_8(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")

    run.append_line(METRICS, "first")
    run.append_line(METRICS, "zwölf")

    assert (run.path / METRICS).read_bytes() == "first\nzwölf\n".encode()


def test_files_are_listed_once_in_the_order_of_their_first_writing(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")

    run.write_manifest({})
    run.append_line(METRICS, "1")
    run.write("best.pt", b"a")
    run.append_line(METRICS, "2")
    run.write("best.pt", b"b")
    run.write_summary({})

    assert run.files == [MANIFEST, METRICS, "best.pt", SUMMARY]
    assert json.loads((run.path / MANIFEST).read_text())["files"] == run.files


def test_a_file_is_listed_before_it_is_written(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")
    (run.path / "taken").mkdir()

    with pytest.raises(OSError, match="taken"):
        run.write("taken", b"content")

    assert json.loads((run.path / MANIFEST).read_text())["files"] == [MANIFEST, "taken"]


def test_a_summary_is_written_readably(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")

    run.write_summary({"loss": 0.5})

    assert (run.path / SUMMARY).read_text() == '{\n  "loss": 0.5\n}\n'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_json_holds_only_finite_numbers(tmp_path: Path, number: float) -> None:
    run = create(tmp_path / "run", "mnist")

    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_summary({"test": {"loss": number}})

    assert list(contents(run.path)) == [MANIFEST]


# Figures


@pytest.mark.parametrize(
    ("name", "beginning"),
    [("loss.png", b"\x89PNG\r\n\x1a\n"), ("loss.svg", b"<?xml"), ("loss.v2.pdf", b"%PDF-")],
)
def test_a_figure_is_written_as_its_files_ending_says(
    tmp_path: Path, name: str, beginning: bytes
) -> None:
    run = create(tmp_path / "run", "mnist")

    path = run.write_figure(Figure(figsize=(1, 1)), name)

    assert path == run.path / name
    assert path.read_bytes().startswith(beginning)
    assert run.files == [MANIFEST, name]


class _HalfDrawn(Figure):
    """Fails when a part of it is written."""

    def savefig(self, fname: Any, **options: Any) -> None:
        fname.write(b"half a picture")
        raise RuntimeError("no fonts")


def test_a_figure_that_cannot_be_drawn_leaves_the_one_before(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")
    run.write("loss.png", b"the one before")

    with pytest.raises(RuntimeError, match="no fonts"):
        run.write_figure(_HalfDrawn(), "loss.png")
    with pytest.raises(RuntimeError, match="no fonts"):
        run.write_figure(_HalfDrawn(), "accuracy.png")

    assert contents(run.path).keys() == {MANIFEST, "loss.png"}
    assert (run.path / "loss.png").read_bytes() == b"the one before"
    assert run.files == [MANIFEST, "loss.png"]


@pytest.mark.parametrize("name", ["loss", "loss.txt", "sub/loss.png", "checkpoint-00000004.pt"])
def test_a_figure_with_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    run = create(tmp_path / "run", "mnist")

    with pytest.raises(ValueError, match=r"is not supported|is not a plain name"):
        run.write_figure(Figure(figsize=(1, 1)), name)

    assert run.files == [MANIFEST]


# Folders


def test_a_folder_is_made_listed_and_removed_by_force(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")
    folder = run.make_folder("events")
    (folder / "deep").mkdir()
    (folder / "deep" / "file").touch()
    run.release()

    assert run.files == [MANIFEST, "events/"]
    again = create(run.path, "mnist", force=True)

    assert again.files == [MANIFEST]
    assert not folder.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", MANIFEST])
def test_a_folder_has_a_plain_name_that_is_free(tmp_path: Path, name: str) -> None:
    run = create(tmp_path / "run", "mnist")

    with pytest.raises(ValueError, match="is not a plain name"):
        run.make_folder(name)


# The lock


def test_a_directory_in_use_is_refused_with_the_number_of_the_process(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run")

    with another_process_using(path) as number, pytest.raises(DirectoryError) as raised:
        RunDirectory.open(path)

    assert str(raised.value) == f"{path}: is in use by process {number}"
    assert raised.value.path == path


def test_force_replaces_no_run_that_goes_on(tmp_path: Path) -> None:
    going = create(tmp_path / "run", "mnist")
    before = contents(going.path)

    with pytest.raises(DirectoryError, match=f"is in use by process {os.getpid()}"):
        create(going.path, "mnist", force=True)

    assert contents(going.path) == before


def test_a_process_that_was_killed_leaves_no_lock_behind(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run")

    with another_process_using(path):
        pass

    assert RunDirectory.open(path).path == path


@pytest.mark.parametrize("content", ["", "not a number"])
def test_an_owner_that_has_not_signed_is_another_process(
    tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_OWNER_PAUSE_S", 0)
    going = create(tmp_path / "run", "mnist")
    (going.path / OWNER).write_text(content)

    with pytest.raises(DirectoryError, match="is in use by another process"):
        RunDirectory.open(going.path)


def test_a_released_directory_can_be_taken(tmp_path: Path) -> None:
    create(tmp_path / "run", "mnist").release()

    assert RunDirectory.open(tmp_path / "run").path == tmp_path / "run"


def test_a_directory_that_holds_only_a_lock_is_taken_as_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()

    assert create(tmp_path, "mnist").files == [MANIFEST]


# Going on


def test_an_opened_directory_knows_the_manifest_and_the_files_of_its_run(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", **{"best.pt": "weights"})
    before = contents(path)

    run = RunDirectory.open(path)

    assert run.manifest == {"versions": {"ignite_threenet": "0.1.0"}}
    assert run.files == [MANIFEST, METRICS, "best.pt"]
    assert run.read_summary() == {"status": "completed"}
    assert contents(path) == before


@pytest.mark.parametrize("content", [None, "not JSON", '{"versions": {"something_else": "1.0"}}'])
def test_a_directory_without_a_run_is_not_opened(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / MANIFEST).write_text(content)

    with pytest.raises(DirectoryError) as raised:
        RunDirectory.open(tmp_path)

    assert str(raised.value) == f"{tmp_path}: holds no run"
    assert not (tmp_path / LOCK).exists()


def test_a_path_that_is_not_there_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(DirectoryError, match="missing: holds no run"):
        RunDirectory.open(tmp_path / "missing")

    assert not (tmp_path / "missing").exists()


def test_an_opened_manifest_lists_no_file_outside_the_directory(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run")
    set_listed_files(path, ["../outside.txt", "sub/inside.txt", 7, "best.pt"])

    assert RunDirectory.open(path).files == [MANIFEST, "best.pt"]


@pytest.mark.parametrize("content", [None, "not JSON", "[]"])
def test_a_summary_that_is_not_there_is_read_as_empty(tmp_path: Path, content: str | None) -> None:
    run = create(tmp_path / "run", "mnist")
    if content is not None:
        (run.path / SUMMARY).write_text(content)

    assert run.read_summary() == {}


def test_lines_are_replaced_and_then_appended_to(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")
    run.append_line(METRICS, "of another time")

    run.rewrite_lines(METRICS, ["first", "zwölf"])
    run.append_line(METRICS, "last")

    assert (run.path / METRICS).read_bytes() == "first\nzwölf\nlast\n".encode()
    assert run.files == [MANIFEST, METRICS]


def test_no_lines_are_an_empty_file(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")

    run.rewrite_lines(METRICS, [])

    assert (run.path / METRICS).read_bytes() == b""


# Weights and checkpoints


def test_weights_are_written_for_torch_and_as_safetensors(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")
    model = nn.BatchNorm1d(3)

    run.write_weights("best", model)

    assert run.files == [MANIFEST, "best.pt", "best.safetensors"]
    for weights in (
        torch.load(run.path / "best.pt", weights_only=True),
        load_weights(run.path / "best.pt"),
        load_weights(run.path / "best.safetensors"),
        safetensors.torch.load_file(run.path / "best.safetensors"),
    ):
        assert weights.keys() == model.state_dict().keys()
        assert all(torch.equal(weights[name], each) for name, each in model.state_dict().items())


def test_weights_that_two_layers_share_are_written_too(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")
    layer = nn.Linear(3, 3)

    run.write_weights("best", nn.Sequential(layer, layer))

    weights = safetensors.torch.load_file(run.path / "best.safetensors")
    assert torch.equal(weights["0.weight"], layer.weight)
    assert torch.equal(weights["1.weight"], layer.weight)


def test_a_checkpoint_is_named_by_its_iteration_and_listed_nowhere(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")

    path = run.write_checkpoint(235, b"state", keep=2)

    assert path == run.path / "checkpoint-00000235.safetensors"
    assert path.read_bytes() == b"state"
    assert run.files == [MANIFEST]


@pytest.mark.parametrize(("keep", "kept"), [(1, [30]), (2, [30, 20]), (9, [30, 20, 10])])
def test_the_newest_checkpoints_are_kept(tmp_path: Path, keep: int, kept: list[int]) -> None:
    run = create(tmp_path / "run", "mnist")

    for iteration in (10, 20, 30):
        run.write_checkpoint(iteration, b"state", keep=keep)

    assert run.checkpoints() == [run.path / f"checkpoint-{each:08}.safetensors" for each in kept]


def test_checkpoints_are_ordered_by_number(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")
    names = [f"checkpoint-{number}.safetensors" for number in (100_000_000, 99_999_999, "00000002")]
    others = ["checkpoint-7.safetensors", ".checkpoint-00000009.safetensors-1234"]
    for name in (names[1], names[0], names[2], *others):
        (run.path / name).touch()

    assert [path.name for path in run.checkpoints()] == names
    assert run.last_saved_iteration() == 100_000_000


def test_checkpoints_of_an_earlier_version_are_not_listed(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")
    (run.path / "checkpoint-00000009.pt").touch()
    path = run.write_checkpoint(8, b"state", keep=1)

    assert run.checkpoints() == [path]
    assert run.last_saved_iteration() == 8
    assert is_kept_for_resuming("checkpoint-00000009.pt")


def test_without_checkpoints_there_is_no_last_one(tmp_path: Path) -> None:
    run = create(tmp_path / "run", "mnist")

    assert run.checkpoints() == []
    assert run.last_saved_iteration() is None


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    run = create(tmp_path / "run", "mnist")
    first = run.write_checkpoint(10, b"state", keep=1)
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(CheckpointError) as raised:
        run.write_checkpoint(20, b"state", keep=1)

    path = run.path / "checkpoint-00000020.safetensors"
    assert str(raised.value) == f"{path}: cannot be written: No space left on device"
    assert raised.value.path == path
    assert run.checkpoints() == [first]


# As a path


def test_it_is_made_when_something_is_first_written(tmp_path: Path) -> None:
    directory = RunDirectory.plan(tmp_path / "run", "mnist")
    assert not (tmp_path / "run").exists()

    directory.write("notes.txt", b"one")

    assert (tmp_path / "run" / "notes.txt").read_bytes() == b"one"
    assert "notes.txt" in manifest_of(directory)


def manifest_of(directory: RunDirectory) -> list[str]:
    files: list[str] = json.loads((directory.path / "manifest.json").read_text())["files"]
    return files


@pytest.mark.parametrize("ask", [lambda it: it / "acme.txt", os.fspath])
def test_whoever_asks_for_its_path_finds_it_made(
    tmp_path: Path, ask: Callable[[RunDirectory], object]
) -> None:
    directory = RunDirectory.plan(tmp_path / "run", "mnist")

    place = Path(str(ask(directory)))

    assert place.parent in (tmp_path, tmp_path / "run")
    assert (tmp_path / "run" / "manifest.json").is_file()


def test_what_it_holds_is_refused_when_it_is_planned_and_again_when_it_is_made(
    tmp_path: Path,
) -> None:
    planned = RunDirectory.plan(tmp_path / "run", "mnist")
    create(tmp_path / "run", "mnist").release()

    with pytest.raises(DirectoryError, match="holds a run"):
        RunDirectory.plan(tmp_path / "run", "mnist")
    with pytest.raises(DirectoryError, match="holds a run"):
        planned.make()
