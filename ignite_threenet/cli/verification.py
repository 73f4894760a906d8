"""The check of a resume by the command line itself, in fresh processes."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import ThreeNetError
from ..run.comparison import Comparison, Outcome
from ..run.run import Run, watcher
from ..run.verify import Stop, compare, outcome_of, stop_half_way
from ..storage import checkpoint_file as checkpoint
from .fresh_process import Ending, Line, Surroundings, call_afresh
from .main import cli, main
from .run_command import RunCommand, collect

MakeSurroundings = Callable[[], Surroundings]
"""Makes the surroundings of each of the processes."""


class TriedCommand(RunCommand):
    """A command whose plugins and components are first imported and made in a fresh process.

    What ends that process does not end this one, as if all were well.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let a fresh process try, then parse."""
        if not ctx.resilient_parsing and not {*ctx.help_option_names} & {*args}:
            ending = call_afresh(try_words, list(args))
            if ending.failure:
                raise ThreeNetError(f"{ctx.info_name}: what it imports {ending.failure}")
        return super().parse_args(ctx, args)


def try_words(line: Line, words: list[str]) -> bool:
    """Import and make what the words of a run name; who is to blame if that fails is told later.

    Args:
        line: tells the caller how far this is.
        words: what follows ``ignite-threenet run``.
    """
    line.enter("import")
    run = cli.get_command(click.Context(cli), "run")
    try:
        context = run.make_context("run", words)  # type: ignore[union-attr]
        collect(context, context.params).create_plugins()
    except (Exception, SystemExit):
        return False
    return True


def verify_command(
    words: Sequence[str],
    *,
    make_surroundings: MakeSurroundings = Surroundings,
    timeout_s: float | None = None,
) -> Comparison:
    """Do the same with the command line itself, in a fresh process for each of the runs.

    Args:
        words: what follows ``ignite-threenet run``.
        make_surroundings: makes where each of the processes works; as here by default.
        timeout_s: seconds that each phase of a run may take.

    Raises:
        ThreeNetError: a run fails.
    """

    def train(path: Path, stop: Stop | None, goes_on: bool) -> Outcome:
        own = ["--resume", str(path)] if goes_on else [*words, "--out", str(path)]
        command = ["run", *own]
        with tempfile.TemporaryDirectory() as name:
            file = Path(name, "outcome")
            ending = call_afresh(
                _run, command, stop, file, surroundings=make_surroundings(), timeout_s=timeout_s
            )
            if ending.verdict is not True:
                raise ThreeNetError(f"{' '.join(command)}: {_why(ending)}")
            return checkpoint.read(file)

    return compare(train)


def _why(ending: Ending) -> str:
    if ending.failure:
        return ending.failure
    last = (ending.said or ["it said nothing"])[-1]
    return f"failed: {last.removeprefix('error: ')}"


def _run(line: Line, words: Sequence[str], stop: Stop | None, outcome: Path) -> bool:
    """Run the command line, look on, and write down what it leaves; tell whether it came to that.

    Args:
        line: tells the caller how far this is.
        words: the command line.
        stop: how its run is stopped.
        outcome: the file for what the run leaves.
    """
    made: list[Run] = []

    def watch(run: Run) -> None:
        made.append(run)
        stop_half_way(run, stop)
        line.enter("run")

    watcher.set(watch)
    line.enter("import")
    code: Any = None
    try:
        main(words)
    except SystemExit as end:
        code = end.code
    was_stopped = stop is not None and made and made[-1].was_interrupted
    if not made or not (code == 0 or was_stopped):
        return False
    outcome.write_bytes(checkpoint.encode(outcome_of(made[-1])))
    return True
