"""Tests of what is printed: on any stream, and with names that strangers chose."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import InstallDistribution

from ignite_threenet.cli.log import LogFormatter
from ignite_threenet.cli.tables import format_table
from ignite_threenet.testing.fixtures import RunCli

EVIL = """
from ignite_threenet import Plugin

class Evil(Plugin):
    "\\x1b[2J\\u202e\\u732b clears the screen."
"""
PROGRAM = f"{sys.executable} -m ignite_threenet"


def shell(command: str, **variables: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command line of bash, which fails with the first command of a pipe that does."""
    words = ["bash", "-c", f"set -o pipefail; {command}"]
    return subprocess.run(words, env={**os.environ, **variables}, capture_output=True, check=False)


@pytest.fixture(autouse=True)
def _evil_distribution(install_distribution: InstallDistribution) -> None:
    Path("evil.py").write_text(EVIL, encoding="utf-8")
    install_distribution("evil\x1b[31m", {"evil": "evil_module:Evil"}, {"evil_module": EVIL})


# Foreign text


@pytest.mark.parametrize("words", [["plugins", "list"], ["plugins", "show", "evil"]])
def test_names_and_docstrings_are_shown_without_what_is_hidden(
    run_cli: RunCli, words: list[str]
) -> None:
    result = run_cli(*words)

    assert result.exit_code == 0, result.output
    assert r"\x1b[2J\u202e猫 clears the screen." in result.stdout
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout


def test_json_stays_json(run_cli: RunCli) -> None:
    facts = json.loads(run_cli("plugins", "show", "evil", "--json").stdout)

    assert facts["description"].startswith("\x1b[2J\u202e猫")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["plugins", "show", "\x1b[2J\nerror: forged"], r"'\x1b[2J\nerror: forged'"),
        (["plugins", "show", "./\x1b[2J.py"], r"'./\x1b[2J.py'"),
        (["run", "--config", "a\nb\u202e.toml"], r"a\nb\u202e.toml: cannot be read"),
        (["run", "--x\x1b[2J"], r"--x\x1b[2J"),
        (["run", "--dataset", "./caf\udce9"], r"./caf\udce9"),
    ],
)
def test_an_error_is_a_line_without_what_is_hidden(
    run_cli: RunCli, words: list[str], shown: str
) -> None:
    result = run_cli(*words)

    assert result.exit_code == 2, result.output
    assert shown in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "\x1b" not in result.stderr


def test_a_record_is_a_line_and_its_traceback_is_shown_below_it() -> None:
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        info = sys.exc_info()
    record = logging.LogRecord("a", logging.INFO, "", 1, "%s", ("one\ntwo",), info)

    lines = LogFormatter().format(record).splitlines()

    assert lines[0] == r"one\ntwo"
    assert (lines[1], lines[-1]) == (
        "Traceback (most recent call last):",
        r"ValueError: \x1b[2J",
    )


def test_a_cell_of_a_table_is_a_line() -> None:
    assert format_table([("a", "b"), ("1\n2", "\x1b")]) == "a     b\n1\\n2  \\x1b"


# Streams


@pytest.mark.parametrize(
    "command", ["plugins list", "plugins show ./evil.py", "plugins show nothing"]
)
def test_an_encoding_without_a_letter_shows_its_escape(command: str) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}

    result = shell(f"{PROGRAM} {command}", **ascii_only)

    assert b"Traceback" not in result.stderr
    assert (result.stdout + result.stderr).isascii()
    assert result.returncode == (2 if "nothing" in command else 0)


@pytest.mark.parametrize(
    ("command", "code", "stderr"),
    [
        (f"{PROGRAM} plugins list 2>&-", 0, b""),
        (f"{PROGRAM} plugins list >&-", 0, b""),
        (f"{PROGRAM} plugins list <&- >&- 2>&-", 0, b""),
        (f"{PROGRAM} plugins show nothing 2>&-", 2, b""),
        (f"{PROGRAM} plugins list | sleep 0", 0, b""),
        (f"{PROGRAM} --help | sleep 0", 0, b""),
        (
            f"{PROGRAM} plugins list > /dev/full",
            1,
            b"error: standard output cannot be written: No space left on device\n",
        ),
        (f"{PROGRAM} plugins show nothing 2> /dev/full", 2, b""),
    ],
)
def test_a_stream_that_is_closed_or_full_or_left_is_no_traceback(
    command: str, code: int, stderr: bytes
) -> None:
    result = shell(command)

    assert (result.returncode, result.stderr) == (code, stderr)


def test_a_file_gets_no_number_of_a_closed_stream() -> None:
    program = (
        "from ignite_threenet.cli.output import prepare_streams; prepare_streams();"
        "print(open('file', 'w').fileno() > 2, file=open('answer', 'w'))"
    )

    shell(f'{sys.executable} -c "{program}" <&- >&- 2>&-')

    assert Path("answer").read_text() == "True\n"
