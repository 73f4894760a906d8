"""Disks that are full or broken: an error at each single step of a run's writing."""

import errno
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from ignite_threenet import CheckpointError, DirectoryError, ThreeNetError
from ignite_threenet.storage import checkpoint_file as checkpoint
from ignite_threenet.storage.contents import OWNER

from .layer import Layer, Step
from .runs import checkpoints, differences, make_run, outcome, resume, strangers, without_times
from .tally import Tally, spread

_ERRORS = (errno.ENOSPC, errno.EIO)


class Case(NamedTuple):
    """An error at one step, or from there on."""

    step: int
    code: int
    stays: bool

    def __str__(self) -> str:
        until = "on" if self.stays else "once"
        return f"{errno.errorcode[self.code]} at step {self.step} {until}"


class _Watch(Layer):
    """Keeps what each checkpoint of a run was."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.saved: dict[str, Any] = {}

    def after(self, step: Step) -> None:
        if step.action == "replace" and step.target and step.target.name.startswith("checkpoint-"):
            self.saved[step.target.name] = without_times(checkpoint.read(step.target))


class _Failing(_Watch):
    """Refuses a step; where the fault stays, also later ones, but for what a full disk lets be."""

    def __init__(self, root: Path, case: Case) -> None:
        super().__init__(root)
        self.case = case
        self.hit: Step | None = None

    def before(self, step: Step) -> None:
        frees = step.action == "unlink" and self.case.code != errno.EROFS
        is_later = self.case.stays and step.number > self.case.step and not frees
        if step.number == self.case.step or is_later:
            self.hit = self.hit or step
            raise _error(self.case.code, step)


def _error(code: int, step: Step) -> OSError:
    """Make the error that the operating system raises: a descriptor's names no file."""
    reason = os.strerror(code)
    if step.action in ("write", "fsync"):
        return OSError(code, reason)
    if step.target is not None:
        return OSError(code, reason, str(step.path), None, str(step.target))
    return OSError(code, reason, str(step.path))


def errors_of_the_disk(directory: Path, count: int) -> Tally:
    """Let each step of a run's writing fail, with each error, once and from there on."""
    with _Watch(directory) as watch:
        make_run(directory / "expected").train()
    expected = outcome(directory / "expected")
    steps = range(1, watch.steps + 1)
    cases = [Case(*each) for each in product(steps, _ERRORS, (False, True))]
    # What a file system does that has had enough.
    cases += [Case(step, errno.EROFS, stays=True) for step in steps]
    tally = Tally(
        "ENOSPC, EIO or EROFS at each step of writing", "kept the last checkpoint and told why"
    )
    for number in spread(count, len(cases)):
        case = cases[number - 1]
        out = directory / f"run-{number}"
        with _Failing(directory, case) as layer:
            problems = [*_fail(out, layer)]
        problems += _compare_checkpoints(out, layer, watch)
        # From a disk that turned read-only nothing can be removed.
        problems += strangers(out) if case.code != errno.EROFS else []
        if checkpoints(out) and not problems:
            problems += _go_on(out, expected)
        shutil.rmtree(out, ignore_errors=True)
        tally.add(f"{case} ({layer.hit})", problems)
    return tally


def _go_on(out: Path, expected: Any) -> Iterator[str]:
    try:
        resume(out).train()
    except ThreeNetError as error:
        yield f"cannot go on: {error}"
    else:
        yield from differences(outcome(out), expected)


def _fail(out: Path, layer: _Failing) -> Iterator[str]:
    message, is_general = "", False
    with _listen() as told:
        try:
            make_run(out).train()
        except Exception as error:
            message, is_general = str(error), isinstance(error, DirectoryError)
    step = layer.hit
    if step is None:
        yield f"failed for another reason: {message}"
        return
    if step.action == "unlink" and step.path.name == OWNER:
        return  # whoever comes next signs anew
    if step.action == "unlink" and step.path.name.startswith("checkpoint-"):
        # An old checkpoint that stays is no reason to stop; it is told.
        message = "; ".join(told)
    if not message:
        yield "went unnoticed"
        return
    if os.strerror(layer.case.code) not in message:
        yield f"the message lacks the cause: {message}"
    # A directory's own steps are part of writing a file in it.
    target = step.target or step.path
    name = re.sub(r"^\.(.*)\.ignite-threenet-[0-9a-f]{16}$", r"\1", target.name)
    is_file = target != out and out in target.parents
    place = out / name if is_file and not is_general else out
    if str(place) not in message:
        yield f"the message lacks {place}: {message}"


@contextmanager
def _listen() -> Iterator[list[str]]:
    """Collect what the framework warns of."""
    told: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    handler = Handler(logging.WARNING)
    logger = logging.getLogger("ignite_threenet")
    level = logger.level
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield told
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _compare_checkpoints(out: Path, layer: _Failing, watch: _Watch) -> Iterator[str]:
    """Find that the last checkpoints that took their places are there, and hold what they should.

    Of those that took their places, as many are kept as the plugin keeps.
    """
    there = {path.name for path in checkpoints(out)}
    for name in sorted(layer.saved)[-2:]:
        if name not in there:
            yield f"{name} is gone"
            continue
        try:
            read = without_times(checkpoint.read(out / name))
        except CheckpointError as error:
            yield str(error)
        else:
            yield from differences(read, watch.saved[name], name)
