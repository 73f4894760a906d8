"""The command line of ``scripts/faults``."""

import argparse
import logging
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

from .rows import ALL, ROWS, Row
from .runs import warm_up
from .tally import Tally

_SHOWN = 10  # failures of a row


def main(arguments: Sequence[str] | None = None) -> int:
    """Inject the faults, print a line for each row and then a table; 1 where a row fails."""
    # Before anything is computed: children are forked from here.
    torch.set_num_threads(1)
    for name in ("ignite", "ignite_threenet"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    options = _parse(arguments)
    lines, failed = [], False
    for name in options.only or ROWS:
        row = ROWS[name]
        if row.skip:
            print(f"{name}: skipped: {row.skip}", flush=True)
            lines.append(f"| {name} | 0 | skipped: {row.skip} |")
            continue
        tally = _inject(name, row, quick=options.quick)
        failed |= not tally.passed or bool(tally.too_slow)
        lines.append(f"| {tally.what} | {tally.count} | {_figure(tally)} |")
    print(f"\n{_setting()}\n\n| what | count | figure |\n| --- | --- | --- |")
    print("\n".join(lines))
    return int(failed)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/faults", description="Inject faults into runs, and count what they spoil."
    )
    parser.add_argument(
        "--only", action="append", choices=ROWS, help="this row alone; may be given several times"
    )
    parser.add_argument("--quick", action="store_true", help="few of each")
    return parser.parse_args(arguments)


def _inject(name: str, row: Row, *, quick: bool) -> Tally:
    count = row.quick if quick else row.full
    print(f"{name}: {'all' if count == ALL else count} of them ...", end=" ", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        warm_up(Path(directory) / "warm")
        place = Path(directory) / name
        place.mkdir()
        tally = row.inject(place, count)
    print(f"{_figure(tally)} ({time.monotonic() - begun:.0f} s)", flush=True)
    for failure in [*tally.failures[:_SHOWN], *filter(None, [tally.too_slow])]:
        print(f"    {failure}", flush=True)
    if len(tally.failures) > _SHOWN:
        print(f"    and {len(tally.failures) - _SHOWN} more", flush=True)
    return tally


def _figure(tally: Tally) -> str:
    is_good = tally.passed and not tally.too_slow
    return tally.figure if is_good else f"FAILED: {tally.figure}"


def _setting() -> str:
    packages = ("ignite-threenet", "torch", "pytorch-ignite")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    machine = f"{os.cpu_count()} cores, {platform.platform()}"
    return f"{date.today()}; {machine}; Python {platform.python_version()}, {versions}"
