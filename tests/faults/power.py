"""Power cuts: what a disk may hold of writes that nobody had synchronized.

POSIX promises that a file's content is there once fsync() of the file has returned, and its name
once fsync() of its directory has; a rename is done or not, and never by half. All else may be
lost: so each name that changed since is the old or the new one, each by itself, and content that
was not synchronized is dropped, cut, zeros or anything.
"""

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ignite_threenet import ThreeNetError
from ignite_threenet.run.saved_run import open_saved_run
from ignite_threenet.storage import checkpoint_file as checkpoint

from . import forks
from .layer import Layer, Step
from .runs import differences, make_run, newest_good, outcome, resume, without_times
from .tally import Tally

_SAMPLE = 25  # of so many power cuts, one run goes on to its end


class _Recorder(Layer):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.trace: list[Step] = []

    def after(self, step: Step) -> None:
        self.trace.append(step)


class _File:
    def __init__(self) -> None:
        self.content = self.synced = b""

    def after_a_power_cut(self, chance: random.Random) -> bytes:
        """Give what may be there, of which only the synchronized part is sure."""
        unsure = self.content[len(self.synced) :]
        if not unsure:
            return self.content
        kept = chance.randrange(len(unsure) + 1)
        left = chance.choice(
            (
                b"",
                unsure[:kept],
                unsure[:kept] + bytes(len(unsure) - kept),
                chance.randbytes(len(unsure)),
                unsure,
            )
        )
        return self.synced + left


Names = dict[Path, _File | None]  # None for a directory
Change = Callable[[Names], None]


def _drop(names: Names, path: Path) -> None:
    names.pop(path, None)


class Disk:
    """Names and contents, as they are now and as they are sure to be after a power cut."""

    def __init__(self) -> None:
        self._now: Names = {}
        self._sure: Names = {}
        self._pending: list[tuple[Path, Change]] = []  # with the directory that it changes

    def do(self, step: Step) -> None:
        match step.action:
            case "mkdir":
                self._change(step.path, lambda names: names.update({step.path: None}))
            case "open" if step.creates and step.path not in self._now:
                file = _File()
                self._change(step.path, lambda names: names.update({step.path: file}))
            case "write":
                self._file(step.path).content += step.data
            case "fsync" if self._now.get(step.path) is None:
                self._sync_directory(step.path)
            case "fsync":
                self._file(step.path).synced = self._file(step.path).content
            case "replace" if step.target is not None:
                self._move(step.path, step.target)
            case "unlink":
                self._change(step.path, lambda names: _drop(names, step.path))

    def _file(self, path: Path) -> _File:
        file = self._now[path]
        if file is None:
            raise IsADirectoryError(path)
        return file

    def _move(self, source: Path, target: Path) -> None:
        file = self._now[source]

        def move(names: Names) -> None:
            names.pop(source, None)
            names[target] = file

        self._change(target, move)

    def _change(self, path: Path, change: Change) -> None:
        change(self._now)
        self._pending.append((path.parent, change))

    def _sync_directory(self, directory: Path) -> None:
        for place, change in self._pending:
            if place == directory:
                change(self._sure)
        self._pending = [each for each in self._pending if each[0] != directory]

    def cut_power(self, chance: random.Random) -> dict[Path, bytes]:
        """Draw one of the states in which the disk may be found; files by their paths."""
        names = dict(self._sure)
        for _, change in self._pending:
            if chance.random() < 0.5:
                change(names)
        made = {path for path, file in self._now.items() if file is None}
        lost = made - names.keys()
        return {
            path: file.after_a_power_cut(chance)
            for path, file in names.items()
            if file is not None and not lost & {*path.parents}
        }


def _record(root: Path) -> tuple[list[Step], dict[str, Any]]:
    with _Recorder(root) as recorder:
        make_run(root / "runs" / "run").train()
    return recorder.trace, outcome(root / "runs" / "run")


def _go_on(out: Path) -> None:
    resume(out).train()


def power_cuts(directory: Path, count: int) -> Tally:
    """Cut the power at a random step of a run, in a directory that had long been there."""
    (directory / "expected" / "runs" / "run").mkdir(parents=True)
    tally = Tally("power cut: unsynced writes dropped, torn or garbled", "load the last checkpoint")
    return _cut(directory, count, tally)


def power_cuts_in_a_new_directory(directory: Path, count: int) -> Tally:
    """Cut the power at a random step of a run that has made its directory itself."""
    (directory / "expected").mkdir()
    tally = Tally("power cut, the run's directory is new as well", "load the last checkpoint")
    return _cut(directory, count, tally)


def _cut(directory: Path, count: int, tally: Tally, seed: int = 0) -> Tally:
    log = directory / "log.txt"
    trace, expected = forks.result(lambda: _record(directory / "expected"), log)
    saves = _saves(trace)
    first_save = min(done for _, done, _ in saves)

    chance = random.Random(seed)
    resumed = 0
    for number in range(1, count + 1):
        step = chance.randint(first_save, len(trace))
        left = _files_left(trace[:step], chance)
        out = directory / f"cut-{number}" / "run"
        out.mkdir(parents=True)
        for path, content in left.items():
            (out / path.name).write_bytes(content)
        problems = _find_last(out, [save for save in saves if save[1] <= step], saves)
        if not problems and number % _SAMPLE == 0:
            resumed += 1
            code = forks.run(partial(_go_on, out), log)
            problems = [log.read_text()[-300:]] if code else [*differences(outcome(out), expected)]
        shutil.rmtree(out)
        tally.add(f"power cut {number} after {trace[step - 1]}", problems)
    tally.notes.append(f"{resumed} of them gone on to the end, bit-identical")
    return tally


Save = tuple[str, int, Any]  # the checkpoint's name, the step that made it sure, what it holds


def _saves(trace: list[Step]) -> list[Save]:
    """List the checkpoints of a run."""
    found = []
    contents: dict[Path, bytes] = {}
    for index, step in enumerate(trace):
        if step.action == "write":
            contents[step.path] = contents.get(step.path, b"") + step.data
        elif step.target is not None and step.target.name.startswith("checkpoint-"):
            # write_checkpoint() is done with it after two more steps, on the directory.
            sure = trace[index + 2]
            if (sure.action, sure.path) != ("fsync", step.target.parent):
                raise AssertionError(f"the renaming of {step.target} is not synchronized")
            content = without_times(checkpoint.decode(contents[step.path]))
            found.append((step.target.name, sure.number, content))
    return found


def _files_left(trace: list[Step], chance: random.Random) -> dict[Path, bytes]:
    disk = Disk()
    for step in trace:
        disk.do(step)
    return disk.cut_power(chance)


def _find_last(out: Path, sure: list[Save], saves: list[Save]) -> list[str]:
    """Read the newest checkpoint: it must be the last that was sure, or a whole later one."""
    try:
        saved = open_saved_run(out)
    except ThreeNetError as error:
        there = sorted(path.name for path in out.iterdir())
        return [f"{error} (left: {', '.join(there) or 'nothing'})"]
    saved.directory.release()
    name = saved.path.name
    expected = next((content for each, _, content in saves if each == name), None)
    if name < max(each for each, _, _ in sure):
        return [f"an older checkpoint, {name}, was taken"]
    return [*differences(without_times(newest_good(out)), expected, name)]
