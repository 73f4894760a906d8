"""SIGTERM and SIGINT at random moments, through the command line's own handling."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

from . import forks, sites
from .probes import DONE, ENDED, Tell
from .runs import checkpoints, differences, newest_good, outcome
from .tally import Tally

_OPTIONS = (
    *("--dataset", "digits", "--device", "cpu", "--epochs", "30", "--batch-size", "32", "--lr"),
    *("0.05", "--accuracy.every", "5", "--quiet", "--plugins", "accuracy,best,checkpoint,noise"),
    *("--plugins", "tell"),
)
_EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
_SAMPLE = 5  # of so many runs, one goes on to its end
_LIMIT_S = 2.0


def stopped_by_signals(directory: Path, count: int, seed: int = 0) -> Tally:
    """Send a signal to runs at random moments of their training; count what is saved."""
    site, log = directory / "site", directory / "log.txt"
    sites.install(site)
    board = Tell.board = forks.Board()

    def start(out: Path) -> int:
        """Start a run, and wait until it trains."""
        board[DONE], board[ENDED] = 0, 0
        pid = sites.start(site, log, *_OPTIONS, "--out", str(out))
        while not board[DONE] and not forks.has_ended(pid):
            time.sleep(0.001)
        return pid

    pid, begun = start(site / "expected"), time.monotonic()
    if forks.wait(pid) != 0:
        raise RuntimeError(log.read_text())
    duration = time.monotonic() - begun
    expected = outcome(site / "expected")

    chance = random.Random(seed)
    tally = Tally("SIGTERM or SIGINT at a random moment of training", "saved, with their exit code")
    slowest, went_on, missed = 0.0, 0, 0
    while tally.count < count and missed < 10 * count + 20:
        out = site / f"run-{tally.count}"
        signum = chance.choice(list(_EXIT_CODES))
        pid = start(out)
        time.sleep(chance.uniform(0.0, duration))
        os.kill(pid, signum)
        begun = time.monotonic()
        code = forks.wait(pid)
        took = time.monotonic() - begun
        if code == 0 and board[ENDED]:
            missed += 1
            shutil.rmtree(out)
            continue
        slowest = max(slowest, took)
        done, told = board[DONE], log.read_text()
        problems = []
        if code != _EXIT_CODES[signum]:
            problems.append(f"exit code {code}: {told[-300:]}")
        saved = newest_good(out)
        if saved is None or saved["iteration"] != done:
            names = [path.name for path in checkpoints(out)]
            problems.append(f"stopped after iteration {done}, and has {names}: {told[-300:]}")
        elif tally.count % _SAMPLE == 0:
            went_on += 1
            code = sites.run(site, log, "--resume", str(out))
            problems += [log.read_text()[-300:]] if code else differences(outcome(out), expected)
        shutil.rmtree(out)
        tally.add(f"{signum.name} after iteration {done}", problems)
    if tally.count < count:
        tally.add("moments", [f"{missed} missed the training"])
    if slowest > _LIMIT_S:
        tally.too_slow = f"{slowest:.2f} s until the slowest had ended, more than {_LIMIT_S:.0f} s"
    tally.notes.append(f"slowest {slowest:.2f} s; {went_on} gone on to the end, bit-identical")
    return tally
