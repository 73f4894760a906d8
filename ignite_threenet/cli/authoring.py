"""The commands for authors of plugins: ``plugins new`` and ``plugins check``."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from ..errors import PluginChoiceError
from ..extensions.reference import Reference
from ..extensions.selection import find_plugin, find_plugins
from .scaffold import write_plugin


@click.command("new")
@click.argument("name")
@click.option("--package", is_flag=True, help="write a distribution that pip installs")
@click.option("--dir", "directory", default=".", metavar="DIR", help="where to; by default here")
def new_plugin(name: str, package: bool, directory: str) -> None:
    """Write a plugin to begin with: one file, or a package with tests."""
    paths = write_plugin(name, Path(directory), package=package)
    for path in paths:
        click.echo(path)
    if package:
        root = paths[0].parent.parent
        click.echo(
            f"next: pip install -e {shlex.quote(f'{root}[dev]')} && pytest {shlex.quote(str(root))}"
        )
    else:
        file = paths[0] if paths[0].is_absolute() else f"./{paths[0]}"
        click.echo(f"next: ignite-threenet run --plugins {shlex.quote(f'+{file}')}")


@click.command("check")
@click.argument("words", metavar="[NAME|FILE[:NAME]]...", nargs=-1)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="S",
    help="seconds that the import, attach, a small run and close may take, each",
)
@click.option("--allow-network", is_flag=True, help="let plugins open network connections")
def check_plugins(words: Sequence[str], timeout_s: float, allow_network: bool) -> None:
    """Look plugins over: import, options, a small run, state, weights; all installed by default.

    Of a file, each plugin in it is looked over. Each is imported and run in fresh processes, with
    a home directory of its own and without a network. Exits with 1 where a check fails, and with 2
    where there is no plugin of that name. One whose extra is not installed is skipped.
    """
    installed = find_plugins()
    for word in words:
        # Of files, and of names that clash, the check tells.
        if not Reference.parse(word).is_file:
            with suppress(PluginChoiceError):
                find_plugin(word, installed=installed)
    options = ["--timeout", str(timeout_s), *(["--allow-network"] if allow_network else [])]
    codes = []
    for word in words or sorted(installed):
        # -P: what lies around here must not hide a module.
        command = [sys.executable, "-P", "-m", "ignite_threenet.testing.check", *options, word]
        codes.append(subprocess.run(command, check=False).returncode)  # noqa: S603
    if any(codes):
        raise _UnknownPluginError if 2 in codes else click.ClickException("a check failed")


class _UnknownPluginError(click.ClickException):
    """What the user named is not there."""

    exit_code = 2

    def __init__(self) -> None:
        super().__init__("there is no such plugin")
