"""The commands for authors of plugins: ``plugins new`` and ``plugins check``."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ..extensions.selection import find_plugins
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
@click.argument("words", metavar="[NAME|FILE]...", nargs=-1)
def check_plugins(words: Sequence[str]) -> None:
    """Look plugins over: import, options, a small run, state, weights; all installed by default.

    Each is imported and run in a process of its own. Exits with 1 where a check fails.
    """
    failed = False
    for word in words or sorted(find_plugins()):
        # -P: what lies around here must not hide a module.
        command = [sys.executable, "-P", "-m", "ignite_threenet.testing.check", word]
        failed = subprocess.run(command, check=False).returncode != 0 or failed  # noqa: S603
    if failed:
        raise click.ClickException("a check failed")
