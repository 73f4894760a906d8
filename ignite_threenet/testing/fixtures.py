"""Fixtures for pytest; load them by ``pytest_plugins = ["ignite_threenet.testing.fixtures"]``."""

import logging
import signal
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ..cli import main as cli
from ..extensions.plugin import ENTRY_POINT_GROUP

InstallDistribution = Callable[..., Path]
RunCli = Callable[..., Result]


@pytest.fixture
def install_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstallDistribution:
    """Lay out an installed distribution, as pip leaves it, and put it on sys.path for a test.

    The fixture is a function of the distribution's name, its entry points (``name`` to
    ``module:Class``), its modules (name to source), and perhaps a version and a group; it gives
    the directory.
    """

    def install(
        name: str,
        entry_points: Mapping[str, str],
        modules: Mapping[str, str],
        version: str = "1.0",
        group: str = ENTRY_POINT_GROUP,
    ) -> Path:
        site = tmp_path / f"site-{name}"
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [f"{key} = {value}" for key, value in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        for module, source in modules.items():
            path = site / f"{module.replace('.', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source))
        monkeypatch.syspath_prepend(str(site))
        return site

    return install


@pytest.fixture
def run_cli() -> Iterator[RunCli]:
    """Run the command line in this process: ``run_cli("plugins", "list").stdout``.

    The result has ``exit_code``, ``stdout`` and ``stderr``, with messages as a user sees them. What
    the command line does to loggers and signals is taken back when the test ends.
    """
    loggers = [logging.getLogger(name) for name in (None, "ignite", "ignite_threenet")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    on_termination = signal.getsignal(signal.SIGTERM)

    def run(*words: str, env: Mapping[str, str] | None = None) -> Result:
        return CliRunner(env=env).invoke(_main, words)

    yield run
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
    signal.signal(signal.SIGTERM, on_termination)


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def _main(words: Sequence[str]) -> None:
    cli.main(words)
