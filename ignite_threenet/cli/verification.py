"""The check of a resume by the command line itself, in fresh processes."""

import logging
import multiprocessing
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from pathlib import Path

from ..errors import ThreeNetError
from ..run.comparison import Comparison, Outcome
from ..run.run import Run, watcher
from ..run.verify import Stop, compare, outcome_of, stop_half_way
from ..storage import checkpoint_file as checkpoint
from .main import main


def verify_command(words: Sequence[str]) -> Comparison:
    """Do the same with the command line itself, in a fresh process for each of the runs.

    Args:
        words: what follows ``ignite-threenet run``.

    Raises:
        ThreeNetError: a run fails.
    """

    def train(path: Path, stop: Stop | None, goes_on: bool) -> Outcome:
        own = ["--resume", str(path)] if goes_on else [*words, "--out", str(path)]
        return _train_elsewhere(["run", *own], stop)

    return compare(train)


@dataclass(frozen=True)
class _Job:
    """What a fresh process does.

    Attributes:
        words: the command line.
        stop: how its run is stopped.
        outcome: the file for what the run leaves.
        log: the file for what it prints.
        directory: where it is done.
        environment: the environment variables.
    """

    words: Sequence[str]
    stop: Stop | None
    outcome: Path
    log: Path
    directory: Path
    environment: Mapping[str, str]


def _train_elsewhere(words: Sequence[str], stop: Stop | None) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        job = _Job(words, stop, scratch / "outcome", scratch / "log", Path.cwd(), dict(os.environ))
        process = _fresh_processes().Process(target=_do, args=(job,))  # type: ignore[attr-defined]
        process.start()
        process.join()
        if not job.outcome.exists():
            said = job.log.read_text(encoding="utf-8", errors="replace") if job.log.exists() else ""
            last = (said.strip().splitlines() or ["it said nothing"])[-1]
            raise ThreeNetError(f"{' '.join(words)}: failed: {last.removeprefix('error: ')}")
        return checkpoint.read(job.outcome)


def _fresh_processes() -> BaseContext:
    """Give processes that have imported torch and this package, and nothing of the user's."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # torch imports _dynamo with the first optimizer, in a second.
    context.set_forkserver_preload([__name__, "ignite_threenet.cli.main", "torch._dynamo"])
    return context


def _do(job: _Job) -> None:
    """Run the command line, look on, and write down what it leaves."""
    os.chdir(job.directory)
    os.environ.clear()
    os.environ.update(job.environment)
    with job.log.open("w", encoding="utf-8") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    made: list[Run] = []

    def watch(run: Run) -> None:
        made.append(run)
        stop_half_way(run, job.stop)

    watcher.set(watch)
    code: object = None
    try:
        main(job.words)
    except SystemExit as end:
        code = end.code
    was_stopped = job.stop is not None and made and made[-1].was_interrupted
    if code == 0 or was_stopped:
        job.outcome.write_bytes(checkpoint.encode(outcome_of(made[-1])))
    logging.shutdown()
