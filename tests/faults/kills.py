"""Processes that are killed: after each single step of writing, and at any moment."""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ignite_threenet import Plugin

from . import forks
from .layer import Layer, Step
from .probes import DONE, ENDED, Tell
from .runs import (
    LENGTH,
    checkpoints,
    differences,
    make_plugins,
    make_run,
    newest_good,
    outcome,
    resume,
    strangers,
)
from .tally import Tally, spread

_KILLED = 99


class _Killer(Layer):
    def __init__(self, root: Path, number: int) -> None:
        super().__init__(root)
        self._number = number

    def after(self, step: Step) -> None:
        if step.number == self._number:
            os._exit(_KILLED)


def _count_steps(out: Path) -> int:
    with Layer(out.parent) as layer:
        make_run(out).train()
    return layer.steps


def killed_after_each_step(directory: Path, count: int) -> Tally:
    """Kill a run after each step of its writing, and some also while they go on; then go on."""
    log = directory / "log.txt"
    steps: int = forks.result(lambda: _count_steps(directory / "expected"), log)
    expected = outcome(directory / "expected")
    tally = Tally("killed after each I/O step, resumed", "bit-identical")
    unsaved = leftovers = 0
    for number in spread(count, steps):
        out = directory / f"run-{number}"
        problems = [*_kill(out, number, log, again=False)]
        if not checkpoints(out):
            # Nothing to resume: the run begins anew.
            unsaved += 1
            problems += _start_anew(out, log)
        else:
            # The run that goes on is killed, too, at one of its own steps.
            problems += _kill(out, 1 + number * 7 % 60, log, again=True)
            problems += _go_on(out, log)
        problems += differences(outcome(out), expected) if not problems else []
        leftovers += bool(strangers(out))
        shutil.rmtree(out)
        tally.add(f"step {number}", problems)
    if leftovers:
        tally.notes.append(f"{leftovers} times a temporary file of the killed process stays")
    tally.notes.append(f"{unsaved} of them before the first checkpoint, begun anew by --force")
    return tally


def _kill(out: Path, number: int, log: Path, *, again: bool) -> Iterator[str]:
    def work() -> None:
        with _Killer(out.parent, number):
            (resume(out) if again else make_run(out)).train()

    code = forks.run(work, log)
    # A run that goes on has fewer steps, the fewer the later it was killed.
    if code != _KILLED and not (again and code == 0):
        yield f"exit code {code} instead of being killed: {log.read_text()[-300:]}"


def _go_on(out: Path, log: Path) -> Iterator[str]:
    code = forks.run(lambda: resume(out).train(), log)
    if code != 0:
        yield f"cannot go on, exit code {code}: {log.read_text()[-300:]}"


def _start_anew(out: Path, log: Path) -> Iterator[str]:
    code = forks.run(lambda: make_run(out, force=True).train(), log)
    if code != 0:
        yield f"cannot begin anew, exit code {code}: {log.read_text()[-300:]}"


_EPOCHS = 6


def _plugins() -> list[Plugin]:
    return [*make_plugins(), Tell()]


def _go_on_telling(out: Path) -> None:
    resume(out, _plugins()).train()


def killed_at_any_moment(directory: Path, count: int, seed: int = 0) -> Tally:
    """Kill runs by SIGKILL at random moments of their training, and go on."""
    log = directory / "log.txt"
    board = Tell.board = forks.Board()

    def start(out: Path) -> int:
        """Start a run, and wait until it trains."""
        board[DONE], board[ENDED] = 0, 0
        pid = forks.start(lambda: make_run(out, _plugins(), epochs=_EPOCHS).train(), log)
        while not board[DONE] and not forks.has_ended(pid):
            time.sleep(0.001)
        return pid

    out = directory / "expected"
    pid, begun = start(out), time.monotonic()
    if forks.wait(pid) != 0:
        raise RuntimeError(log.read_text())
    duration = time.monotonic() - begun
    expected = outcome(out)

    chance = random.Random(seed)
    tally = Tally("SIGKILL at a random moment of training, resumed", "bit-identical")
    unsaved = missed = most_lost = leftovers = number = 0
    while tally.count < count:
        number += 1
        out = directory / f"run-{number}"
        pid = start(out)
        time.sleep(chance.uniform(0.0, duration))
        os.kill(pid, signal.SIGKILL)
        code, done = forks.wait(pid), board[DONE]
        if code != -signal.SIGKILL or board[ENDED]:
            missed += 1
            if missed > 10 * count + 20:
                tally.add("moments", [f"{missed} missed the training: {log.read_text()[-300:]}"])
            continue
        content = newest_good(out)
        if content is None:
            unsaved += 1
            continue
        lost = done - content["iteration"]
        most_lost = max(most_lost, lost)
        problems = [f"{lost} iterations were lost"] if lost > LENGTH else []
        code = forks.run(partial(_go_on_telling, out), log)
        if code != 0:
            problems.append(f"cannot go on, exit code {code}: {log.read_text()[-300:]}")
        else:
            problems += differences(outcome(out), expected)
            leftovers += bool(strangers(out))
        shutil.rmtree(out)
        tally.add(f"moment {number}, after iteration {done}", problems)
    tally.notes.append(f"at most {most_lost} iterations lost, {LENGTH} between two checkpoints")
    tally.notes.append(f"besides, {unsaved} moments before the first checkpoint")
    if leftovers:
        tally.notes.append(f"{leftovers} times a temporary file of the killed process stays")
    return tally
