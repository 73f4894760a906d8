"""The program as it is installed: whole processes, stopped by signals, and gone on with."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from . import sites
from .runs import differences, outcome, strangers
from .tally import Tally

_PROGRAM = (sys.executable, "-m", "ignite_threenet", "run")
_OPTIONS = (
    *("--dataset", "digits", "--device", "cpu", "--epochs", "40", "--batch-size", "16"),
    *("--accuracy.every", "10", "--plugins", "accuracy,best,checkpoint", "--quiet"),
    *("--checkpoint.seconds", "0"),
)
_SIGNALS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}


def stopped_processes(directory: Path, count: int) -> Tally:
    """Stop ``ignite-threenet run`` by a signal, go on by --resume, in processes of their own."""
    site, log = directory / "site", directory / "log.txt"
    sites.install(site)
    # Draws the digits, few of them, where the processes find them.
    sites.run(site, log, "--dataset", "digits", "--epochs", "1", "--plugins", "none", "--quiet")
    ended = _run(site, *_OPTIONS, "--out", "expected")
    if ended.returncode != 0:
        raise RuntimeError(ended.stderr)
    expected = outcome(site / "expected")
    tally = Tally("the program itself, stopped by SIGKILL, SIGTERM or SIGINT", "bit-identical")
    for number in range(count):
        signum = list(_SIGNALS)[number % len(_SIGNALS)]
        out = site / f"run-{number}"
        code, told = _stop(site, out, signum)
        problems = [] if code == _SIGNALS[signum] else [f"exit code {code}: {told}"]
        advice = re.search(r"ignite-threenet run --resume (\S+)", told)
        if signum != signal.SIGKILL and (not advice or advice[1] != out.name):
            problems.append(f"does not say how to go on: {told}")
        ended = _run(site, "--resume", out.name)
        if ended.returncode != 0:
            problems.append(f"cannot go on: {ended.stderr}")
        else:
            problems += [*differences(outcome(out), expected)]
        if signum != signal.SIGKILL:
            problems += strangers(out)
        shutil.rmtree(out)
        tally.add(f"{signum.name}", problems)
    return tally


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def _run(site: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*_PROGRAM, *words], cwd=site, capture_output=True, text=True, env=_environment()
    )


def _stop(site: Path, out: Path, signum: signal.Signals) -> tuple[int, str]:
    """Start a run, and stop it once it has saved something; give its exit code and messages."""
    words = [*_PROGRAM, *_OPTIONS, "--out", out.name]
    with subprocess.Popen(
        words, cwd=site, stderr=subprocess.PIPE, text=True, env=_environment()
    ) as process:
        while not list(out.glob("checkpoint-*.safetensors")) and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signum)
        told = process.communicate()[1]
    return process.returncode, told
