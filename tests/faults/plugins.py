"""Plugins that fail, in each place where a run calls them."""

import re
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

from . import sites
from .probes import HOW, MEASURING, METHODS, NOTES, TRAINER_EVENTS, WHERE
from .runs import checkpoints, differences, newest_good, not_finite, outcome
from .tally import Tally, spread

_PLACES = (*METHODS, *(event.name for event in TRAINER_EVENTS), MEASURING)
_OPTIONS = (
    *("--dataset", "digits", "--device", "cpu", "--epochs", "3", "--batch-size", "64", "--lr"),
    *("0.05", "--accuracy.every", "1", "--checkpoint.seconds", "0", "--quiet"),
    *("--plugins", "before,accuracy,best,checkpoint,noise,faulty,after"),
)
_EXITS = {"raise": "RuntimeError: on purpose", "exit": "SystemExit: 0"}


class Case(NamedTuple):
    """Where a plugin fails, how, and whether in a run that goes on."""

    place: str
    how: str
    goes_on: bool

    def __str__(self) -> str:
        return f"{self.how} at {self.place} of a {'resumed' if self.goes_on else 'new'} run"


def failing_plugins(directory: Path, count: int) -> Tally:
    """Let a plugin raise, or exit, in each place, and fail at its import."""
    site, log = directory / "site", directory / "log.txt"
    sites.install(site)
    notes = {NOTES: str(directory / "notes.txt")}
    if sites.run(site, log, *_OPTIONS, "--out", str(site / "expected"), env=notes) != 0:
        raise RuntimeError(log.read_text())
    expected = outcome(site / "expected")
    # Stopped in the middle of the second epoch.
    stop = {WHERE: "INTERRUPT", HOW: "raise"} | notes
    sites.run(site, log, *_OPTIONS, "--out", str(site / "expected-2"), env=stop)

    broken = [f"broken-{how}" for how in _EXITS]
    cases = [Case(*each) for each in product(_PLACES, _EXITS, (False, True))]
    # Nothing is loaded in a run that is new.
    cases = [case for case in cases if case.goes_on or case.place != "load_state_dict"]
    tally = Tally("a plugin raises, exits or cannot be imported", "named, and the rest unharmed")
    chosen = spread(count, len(cases) + len(broken))
    for number in chosen:
        if number > len(cases):
            name = broken[number - len(cases) - 1]
            tally.add(f"import of {name}", _fail_at_import(site, log, name))
            continue
        case = cases[number - 1]
        out = site / f"run-{number}"
        problems = [*_fail(site, log, out, case)]
        if not problems and checkpoints(out):
            # Without the fault, it ends as if there had been none.
            code = sites.run(site, log, "--resume", str(out), env=notes)
            if code != 0:
                problems = [f"cannot go on, exit code {code}: {log.read_text()[-300:]}"]
            else:
                problems = [*differences(outcome(out), expected)]
        tally.add(f"{case}", problems)
    return tally


def _fail_at_import(site: Path, log: Path, name: str) -> Iterator[str]:
    out = site / name
    code = sites.run(site, log, *_OPTIONS, "--plugins", f"+{name}", "--out", str(out))
    if code != 2:
        yield f"exit code {code}"
    if f"plugin '{name}' (acme-faults 1.0) cannot be imported" not in log.read_text():
        yield f"not named: {log.read_text()[-300:]}"
    if out.exists():
        yield "a directory was made"


def _fail(site: Path, log: Path, out: Path, case: Case) -> Iterator[str]:
    notes = out.with_suffix(".notes")
    env = {WHERE: case.place, HOW: case.how, NOTES: str(notes)}
    notes.touch()
    if case.goes_on:
        shutil.copytree(site / "expected-2", out)
        code = sites.run(site, log, "--resume", str(out), env=env)
    else:
        code = sites.run(site, log, *_OPTIONS, "--out", str(out), env=env)
    told, noted = log.read_text(), notes.read_text().splitlines()
    if code != 1:
        yield f"exit code {code}: {told[-300:]}"
    place = "COMPLETED" if case.place == MEASURING else case.place
    epoch = next((line for line in noted if line.startswith("epoch ")), "epoch none")
    pattern = (
        rf"plugin 'faulty' \(acme-faults 1\.0\) failed at (?:\S+ )?\S*{place}\S*, {epoch}: "
        + re.escape(_EXITS[case.how])
    )
    if not re.search(pattern, told):
        yield f"not named with {epoch}: {told[-300:]}"
    yield from _check_closed(case, noted)
    yield from not_finite(newest_good(out) or {}, "the last checkpoint")
    for path in checkpoints(out)[:1]:
        if newest_good(out) is None:
            yield f"{path.name} cannot be read"


def _check_closed(case: Case, noted: list[str]) -> Iterator[str]:
    """Find that all plugins that were attached were closed, the last one first."""
    closed = [line.removeprefix("closed ") for line in noted if line.startswith("closed ")]
    expected = ["before"] if case.place == "attach" else ["after", "faulty", "before"]
    if closed != expected:
        yield f"closed were {closed}, expected {expected}"
