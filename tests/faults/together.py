"""Runs that want one directory at the same time, and locks whose owner was killed."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ignite_threenet.storage.contents import SUMMARY

from . import forks, sites
from .probes import DONE, Tell
from .runs import checkpoints, differences, outcome
from .tally import Tally

_OPTIONS = (
    *("--dataset", "digits", "--device", "cpu", "--epochs", "3", "--batch-size", "64", "--quiet"),
    *("--plugins", "accuracy,best,checkpoint,tell", "--checkpoint.seconds", "0"),
)


_GO, _READY = 8, 9  # places on the board


def _wait_for_go(board: forks.Board, ready: int) -> None:
    board[ready] = 1
    while not board[_GO]:
        time.sleep(0.0001)


def runs_on_one_folder(directory: Path, count: int) -> Tally:
    """Start pairs of runs on one folder together; then kill one that holds a folder's lock."""
    site = directory / "site"
    sites.install(site)
    board = Tell.board = forks.Board()
    logs = [directory / f"log-{number}.txt" for number in range(2)]
    if sites.run(site, logs[0], *_OPTIONS, "--out", str(site / "expected")) != 0:
        raise RuntimeError(logs[0].read_text())
    expected = outcome(site / "expected")
    tally = Tally("two runs on one folder, started together", "exactly one won")
    named = 0
    for number in range(1, count + 1):
        out = site / f"pair-{number}"
        words = (*_OPTIONS, "--out", str(out))
        board[_READY], board[_READY + 1], board[_GO] = 0, 0, 0
        pids = [
            sites.start(site, log, *words, wait=partial(_wait_for_go, board, _READY + place))
            for place, log in enumerate(logs)
        ]
        while not (board[_READY] and board[_READY + 1]):
            time.sleep(0.001)
        board[_GO] = 1
        codes = [forks.wait(pid) for pid in pids]
        told = [log.read_text() for log in logs]
        problems = [] if sorted(codes) == [0, 2] else [f"exit codes {codes}: {told}"[:500]]
        if not problems:
            loser = codes.index(2)
            named += f"is in use by process {pids[1 - loser]}" in told[loser]
            if not re.search(r"is in use by process \d+|holds a run", told[loser]):
                problems.append(f"refused for another reason: {told[loser][-300:]}")
            problems += differences(outcome(out), expected)
        shutil.rmtree(out, ignore_errors=True)
        tally.add(f"pair {number}", problems)
    tally.notes.append(f"{named} times the other's process was named")
    problems = [*_take_over(site, site / "stale", logs[0])]
    tally.add("stale lock", problems)
    if not problems:
        tally.notes.append("the lock of a killed run was taken over")
    return tally


def _take_over(site: Path, out: Path, log: Path) -> Iterator[str]:
    """Kill a run that holds the lock; another one is refused before, and goes on after."""
    board = Tell.board
    board[DONE] = 0
    pid = sites.start(site, log, *_OPTIONS, "--epochs", "100", "--out", str(out))
    while not checkpoints(out) and not forks.has_ended(pid):
        time.sleep(0.001)
    other = log.with_name("other.txt")
    code = sites.run(site, other, "--resume", str(out), "--quiet")
    if code != 2 or f"is in use by process {pid}" not in other.read_text():
        yield f"exit code {code} beside a living run: {other.read_text()[-300:]}"
    os.kill(pid, signal.SIGKILL)
    if forks.wait(pid) != -signal.SIGKILL:
        yield f"the run had ended: {log.read_text()[-300:]}"
    code = sites.run(site, other, "--resume", str(out), "--epochs", "100", "--quiet")
    if code != 0:
        yield f"exit code {code} after the kill: {other.read_text()[-300:]}"
    elif json.loads((out / SUMMARY).read_text())["status"] != "completed":
        yield "the run that went on did not complete"
