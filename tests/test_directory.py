"""Tests of the directory that a run writes into."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ignite_threenet import directory
from ignite_threenet.directory import MANIFEST, METRICS, SUMMARY, RunDirectory, check_usable
from ignite_threenet.errors import DirectoryError


class _StoppedClock(datetime):
    @classmethod
    def now(cls, tz: object = None) -> "_StoppedClock":
        return cls(2026, 3, 14, 15, 9, 26)


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "datetime", _StoppedClock)


def write_run(path: Path, **files: str) -> Path:
    """Leave a directory as a run does that wrote the files besides its usual ones."""
    run = RunDirectory.create(path, "mnist")
    run.write_manifest({"versions": {"ignite_threenet": "0.1.0"}})
    run.append_line(METRICS, '{"epoch": 1}')
    for name, content in files.items():
        run.write(name, content.encode())
    run.write_summary({"status": "completed"})
    return path


def set_listed_files(path: Path, files: Any) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(manifest | {"files": files}))


def contents(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


def test_without_a_path_it_is_named_by_the_time_and_the_dataset(stopped_clock: None) -> None:
    run = RunDirectory.create(None, "fashion-mnist")

    assert run.path == Path("runs/20260314-150926-fashion-mnist")
    assert run.path.is_dir()


def test_runs_of_the_same_second_have_directories_of_their_own(stopped_clock: None) -> None:
    paths = [RunDirectory.create(None, "mnist").path for _ in range(3)]

    assert [path.name for path in paths] == [
        "20260314-150926-mnist",
        "20260314-150926-mnist-2",
        "20260314-150926-mnist-3",
    ]


def test_a_given_path_is_made_with_its_parents(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "a" / "b", "mnist")

    assert run.path == tmp_path / "a" / "b"
    assert run.path.is_dir()
    assert run.files == [MANIFEST]


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    run = RunDirectory.create(tmp_path / "empty", "mnist")

    assert run.path == tmp_path / "empty"


def test_a_directory_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run")
    before = contents(path)

    with pytest.raises(DirectoryError) as raised:
        RunDirectory.create(path, "mnist")

    assert str(raised.value) == (
        f"{path}: holds a run; choose another --out, or replace it by --force"
    )
    assert raised.value.path == path
    assert contents(path) == before


def test_a_directory_of_a_run_that_has_just_begun_is_refused(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "run", "mnist")

    with pytest.raises(DirectoryError):
        RunDirectory.create(tmp_path / "run", "mnist")


def test_force_removes_the_files_of_the_old_run(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", **{"best.pt": "weights", "loss.png": "curve"})

    RunDirectory.create(path, "mnist", force=True)

    assert list(contents(path)) == [MANIFEST]


def test_force_removes_also_what_a_killed_run_left(tmp_path: Path) -> None:
    killed = RunDirectory.create(tmp_path / "run", "mnist")
    killed.write_manifest({"versions": {"ignite_threenet": "0.1.0"}})
    killed.write("best.pt", b"weights")

    RunDirectory.create(tmp_path / "run", "mnist", force=True)

    assert list(contents(tmp_path / "run")) == [MANIFEST]


def test_force_keeps_the_files_that_no_run_wrote(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", **{"best.pt": "weights"})
    (path / "notes.txt").write_text("mine")
    (path / "thoughts").mkdir()
    (path / "thoughts" / "best.pt").write_text("mine too")

    RunDirectory.create(path, "mnist", force=True)

    kept = contents(path)
    assert set(kept) == {MANIFEST, "notes.txt", str(Path("thoughts", "best.pt"))}
    assert kept["notes.txt"] == b"mine"


@pytest.mark.parametrize("path", ["new", "empty"])
def test_force_where_there_is_no_run_changes_nothing(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()

    run = RunDirectory.create(tmp_path / path, "mnist", force=True)

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
        RunDirectory.create(tmp_path, "mnist", force=force)

    assert str(raised.value) == (f"{tmp_path}: is not empty and holds no run; choose another --out")
    assert contents(tmp_path) == {name: content.encode()}


@pytest.mark.parametrize("force", [False, True])
def test_a_file_in_its_place_is_refused(tmp_path: Path, force: bool) -> None:
    path = tmp_path / "run"
    path.write_text("a file")

    with pytest.raises(DirectoryError) as raised:
        RunDirectory.create(path, "mnist", force=force)

    assert str(raised.value) == f"{path}: is not a directory; choose another --out"
    assert path.read_text() == "a file"


def test_a_file_in_the_place_of_its_parent_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    path = tmp_path / "file" / "run"

    with pytest.raises(DirectoryError) as raised:
        RunDirectory.create(path, "mnist")

    assert str(raised.value) == f"{path}: cannot be written: Not a directory"


def test_a_link_to_nothing_is_not_taken_for_another_run(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "missing")

    with pytest.raises(DirectoryError) as raised:
        RunDirectory.create(tmp_path / "link", "mnist")

    assert "another run" not in str(raised.value)


@pytest.mark.parametrize(
    "manifest", ["", '{"versions": {"ignite_threenet": "0.1.0"}}'], ids=["begun", "going"]
)
def test_of_two_runs_that_start_at_once_the_second_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manifest: str
) -> None:
    path = tmp_path / "run"

    def lose_the_race(path: Path, *, force: bool = False) -> None:
        check_usable(path, force=force)
        path.mkdir()
        (path / MANIFEST).write_text(manifest)

    monkeypatch.setattr(directory, "check_usable", lose_the_race)

    with pytest.raises(DirectoryError) as raised:
        RunDirectory.create(path, "mnist")

    assert str(raised.value) == f"{path}: another run took it just now"
    assert contents(path) == {MANIFEST: manifest.encode()}


def test_an_old_manifest_cannot_point_outside_the_directory(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    path = write_run(tmp_path / "run")
    (path / "sub").mkdir()
    (path / "sub" / "inside.txt").write_text("mine")
    files = ["../outside.txt", str(outside), "sub/inside.txt", "sub/../../outside.txt"]
    set_listed_files(path, files)

    RunDirectory.create(path, "mnist", force=True)

    assert outside.read_text() == "mine"
    assert (path / "sub" / "inside.txt").read_text() == "mine"


@pytest.mark.parametrize("files", [[".."], ["sub"], [7], "best.pt", None], ids=repr)
def test_a_mangled_manifest_does_not_keep_force_from_replacing_the_run(
    tmp_path: Path, files: Any
) -> None:
    path = write_run(tmp_path / "run")
    (path / "sub").mkdir()
    set_listed_files(path, files)

    run = RunDirectory.create(path, "mnist", force=True)

    assert run.files == [MANIFEST]
    assert (path / "sub").is_dir()


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
    run = RunDirectory.create(tmp_path / "run", "mnist")

    path = run.write("best.pt", b"weights")

    assert path == tmp_path / "run" / "best.pt"
    assert path.read_bytes() == b"weights"


@pytest.mark.parametrize("name", ["../best.pt", "sub/best.pt", MANIFEST, METRICS, SUMMARY])
def test_a_name_that_is_not_plain_or_not_free_is_refused(tmp_path: Path, name: str) -> None:
    run = RunDirectory.create(tmp_path / "run", "mnist")

    with pytest.raises(ValueError, match="not a plain name that is free"):
        run.write(name, b"content")


def test_lines_are_appended_in_utf_8(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", "mnist")

    run.append_line(METRICS, "first")
    run.append_line(METRICS, "zwölf")

    assert (run.path / METRICS).read_bytes() == "first\nzwölf\n".encode()


def test_files_are_listed_once_in_the_order_of_their_first_writing(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", "mnist")

    run.write_manifest({})
    run.append_line(METRICS, "1")
    run.write("best.pt", b"a")
    run.append_line(METRICS, "2")
    run.write("best.pt", b"b")
    run.write_summary({})

    assert run.files == [MANIFEST, METRICS, "best.pt", SUMMARY]
    assert json.loads((run.path / MANIFEST).read_text())["files"] == run.files


def test_a_file_is_listed_before_it_is_written(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", "mnist")
    (run.path / "taken").mkdir()

    with pytest.raises(OSError, match="taken"):
        run.write("taken", b"content")

    assert json.loads((run.path / MANIFEST).read_text())["files"] == [MANIFEST, "taken"]


def test_a_summary_is_written_readably(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", "mnist")

    run.write_summary({"loss": 0.5})

    assert (run.path / SUMMARY).read_text() == '{\n  "loss": 0.5\n}\n'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_json_holds_only_finite_numbers(tmp_path: Path, number: float) -> None:
    run = RunDirectory.create(tmp_path / "run", "mnist")

    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_summary({"test": {"loss": number}})

    assert list(contents(run.path)) == [MANIFEST]
