"""The command line in a forked child, with plugins that are installed for it alone."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from ignite_threenet.cli import main as cli
from ignite_threenet.data import download as sources

from . import forks

PLUGINS = {
    "before": "faults.probes:Witness",
    "faulty": "faults.probes:Faulty",
    "after": "faults.probes:Witness",
    "tell": "faults.probes:Tell",
    "noise": "faults.runs:Noise",
    "broken-raise": "faults_broken:Raise",
    "broken-exit": "faults_broken_exit:Exit",
}
_METADATA = "Metadata-Version: 2.1\nName: acme-faults\nVersion: 1.0\n"


@contextmanager
def few_digits() -> Iterator[None]:
    """Draw few digits where the dataset is drawn."""
    with (
        mock.patch.object(sources, "_DIGITS_TRAIN", 256),
        mock.patch.object(sources, "_DIGITS_TEST", 64),
    ):
        yield


def install(site: Path) -> None:
    """Lay out an installed distribution with plugins, as pip leaves it."""
    info = site / "acme_faults-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(_METADATA)
    lines = [f"{name} = {value}" for name, value in PLUGINS.items()]
    (info / "entry_points.txt").write_text("\n".join(["[ignite_threenet.plugins]", *lines, ""]))
    (site / "faults_broken.py").write_text('raise RuntimeError("on purpose")\n')
    (site / "faults_broken_exit.py").write_text("import sys\n\nsys.exit(0)\n")


def start(
    site: Path,
    log: Path,
    *words: str,
    env: Mapping[str, str] | None = None,
    wait: Callable[[], object] = lambda: None,
) -> int:
    """Start ``ignite-threenet run`` in a child, on a few digits drawn into the site.

    What the child waits for comes just before the command.
    """
    return forks.start(_command(site, words, env or {}, wait), log)


def run(site: Path, log: Path, *words: str, env: Mapping[str, str] | None = None) -> int:
    """Run ``ignite-threenet run`` in a child, and give its exit code."""
    return forks.wait(start(site, log, *words, env=env))


def _command(
    site: Path, words: tuple[str, ...], env: Mapping[str, str], wait: Callable[[], object]
) -> Callable[[], object]:
    def work() -> None:
        # What the parent's test runner may have hung there.
        logging.getLogger("ignite_threenet").handlers[:] = []
        sys.path.insert(0, str(site))
        os.chdir(site)
        os.environ.update(env)
        with few_digits():
            wait()
            cli.main(["run", *words])

    return work
