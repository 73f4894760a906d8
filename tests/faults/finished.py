"""Runs that had ended, or that come back with something else than they had."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ignite_threenet import Plugin, RunConfig, ThreeNetError
from ignite_threenet.run.run import Run
from ignite_threenet.run.saved_run import open_saved_run
from ignite_threenet.settings.choosing import choose_for_script
from ignite_threenet.storage.contents import SUMMARY

from .probes import CountIterations
from .runs import EPOCHS, LENGTH, differences, make_loaders, make_plugins, make_run, outcome, resume
from .sites import few_digits
from .tally import Tally


def _contents(out: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in out.iterdir()
        if path.name not in (".lock", ".owner")
    }


class _Runs:
    """Finished and stopped runs, from which each case takes a copy."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._copies = 0
        make_run(self.finished, self.plugins()[0]).train()
        make_run(self.longer, self.plugins()[0], epochs=EPOCHS + 2).train()

    @property
    def finished(self) -> Path:
        return self.directory / "finished"

    @property
    def longer(self) -> Path:
        return self.directory / "longer"

    def digits(self, **options: Any) -> RunConfig:
        """Ask for a run on a named dataset."""
        asked: dict[str, Any] = {
            "dataset": "digits",
            "data_dir": self.directory / "data",
            "epochs": 2,
        }
        return RunConfig(**(asked | {"batch_size": 64, "device": "cpu"} | options))

    @staticmethod
    def plugins() -> tuple[list[Plugin], CountIterations]:
        counter = CountIterations()
        return [*make_plugins(), counter], counter

    def copy(self) -> Path:
        self._copies += 1
        return Path(shutil.copytree(self.finished, self.directory / f"copy-{self._copies}"))

    def go_on(self, out: Path, **options: Any) -> tuple[int, str]:
        """Resume; tell the iterations that were done, and the error."""
        plugins, counter = self.plugins()
        try:
            resume(out, plugins, **options).train()
        except ThreeNetError as error:
            return getattr(counter, "count", 0), str(error)
        return counter.count, ""


Case = Callable[[_Runs], Iterator[str]]


def _same(runs: _Runs) -> Iterator[str]:
    out = runs.copy()
    before = _contents(out)
    yield from _expect(runs.go_on(out), 0)
    if _contents(out) != before:
        yield "a file was changed"


def _fewer_epochs(runs: _Runs) -> Iterator[str]:
    out = runs.copy()
    before = _contents(out)
    yield from _expect(runs.go_on(out, epochs=1), 0)
    if _contents(out) != before:
        yield "a file was changed"


def _more_epochs(runs: _Runs) -> Iterator[str]:
    out = runs.copy()
    yield from _expect(runs.go_on(out, epochs=EPOCHS + 2), 2 * LENGTH)
    yield from differences(_but_epochs(outcome(out)), _but_epochs(outcome(runs.longer)))


def _but_epochs(content: Any) -> Any:
    content["checkpoint"]["config"].pop("epochs")
    return content


def _no_summary(runs: _Runs) -> Iterator[str]:
    out = runs.copy()
    (out / SUMMARY).unlink()
    yield from _expect(runs.go_on(out), 0)
    yield from differences(_but_iterations(outcome(out)), _but_iterations(outcome(runs.finished)))


def _but_iterations(content: Any) -> Any:
    return content


def _torn_summary(runs: _Runs) -> Iterator[str]:
    out = runs.copy()
    (out / SUMMARY).write_text('{"status": "compl')
    yield from _expect(runs.go_on(out), 0)
    yield from differences(outcome(out), outcome(runs.finished))


def _other_length(runs: _Runs) -> Iterator[str]:
    out = runs.copy()
    loaders = make_loaders(LENGTH + 1)
    found = runs.go_on(out, epochs=EPOCHS + 1, loaders=loaders)
    yield from _expect(found, 0, f"an epoch had {LENGTH} iterations")


def _other_batch_size(runs: _Runs) -> Iterator[str]:
    out = _stopped_digits(runs)
    saved = open_saved_run(out)
    other = runs.digits(batch_size=32, epochs=4, out=out)
    choice = choose_for_script(other, ["checkpoint"], {"model": {}, "dataset": {}}, ())
    yield from _refused(out, lambda: Run.of_choice(choice, saved=saved), "iterations")
    saved.directory.release()


def _other_data(runs: _Runs) -> Iterator[str]:
    out = _stopped_digits(runs)
    raw = runs.directory / "data" / "digits" / "raw"
    kept = _contents(raw)
    try:
        labels = raw / "train-labels-idx1-ubyte"
        labels.write_bytes(labels.read_bytes()[:-1] + b"\x01")
        (raw / "SHA256SUMS").unlink()
        yield from _refused(out, lambda: Run.resume(out, epochs=4), "the data is not the same")
    finally:
        for name, content in kept.items():
            (raw / name).write_bytes(content)


def _stopped_digits(runs: _Runs) -> Path:
    out = runs.directory / "digits"
    Run(runs.digits(out=out, force=True), ["checkpoint"]).train()
    return out


def _refused(out: Path, make: Callable[[], Run], reason: str) -> Iterator[str]:
    before = _contents(out)
    try:
        make().train()
    except ThreeNetError as error:
        if reason not in str(error):
            yield f"refused for another reason: {error}"
    else:
        yield "was not refused"
    if _contents(out) != before:
        yield "a file was changed"


def _expect(found: tuple[int, str], count: int, reason: str = "") -> Iterator[str]:
    done, error = found
    if done != count:
        yield f"{done} iterations were trained, expected {count}"
    if reason not in error or (error and not reason):
        yield f"expected the error {reason!r}, not {error!r}"


_CASES: dict[str, Case] = {
    "finished, resumed": _same,
    "finished, resumed with fewer epochs": _fewer_epochs,
    "finished, resumed with more epochs": _more_epochs,
    "finished but for its summary": _no_summary,
    "finished, its summary torn": _torn_summary,
    "loaders of another length": _other_length,
    "another batch size": _other_batch_size,
    "other data": _other_data,
}


def finished_or_changed(directory: Path, count: int) -> Tally:
    """Resume what is done, and what no longer is what it was; count the iterations trained."""
    runs = _Runs(directory)
    tally = Tally("resumed when finished, or with other data or batches", "no silent retraining")
    with few_digits():
        for name, case in list(_CASES.items())[:count]:
            tally.add(name, case(runs))
    return tally
