"""What is printed: nothing hidden in it, no secret, on any stream that there may be."""

import json
import os
import select
import sys
from typing import Any, TextIO

import click

from ..errors import ThreeNetError
from ..text import each_text, one_line, printable, redact


def prepare_streams() -> None:
    """Make the standard streams take all that is printed.

    One that is closed leads nowhere: else the next file that is opened would get its number, and
    whatever is printed. What an encoding does not have is shown by its escape.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 - open to the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def say(*lines: str) -> None:
    """Print lines as results."""
    _print("".join(f"{one_line(line)}\n" for line in lines), sys.stdout)


def say_block(text: str) -> None:
    """Print several lines as results; they are the author's, and each is shown as it is."""
    _print(f"{printable(text)}\n", sys.stdout)


def say_json(content: Any) -> None:
    """Print JSON, which escapes by itself what is hidden."""
    _print(json.dumps(each_text(content, redact), indent=2) + "\n", sys.stdout)


def say_error(message: str) -> None:
    """Print what went wrong, in a line."""
    label = click.style("error: ", fg="red", bold=True) if sys.stderr.isatty() else "error: "
    _print(f"{label}{one_line(message)}\n", sys.stderr)


def say_traceback(text: str) -> None:
    """Print a traceback."""
    _print(printable(text), sys.stderr)


def has_lost_reader() -> bool:
    """Tell whether nobody reads the results any more."""
    if sys.__stdout__ is None or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    try:
        poll.register(sys.__stdout__.fileno(), select.POLLOUT)
    except (OSError, ValueError):
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def finish_streams() -> str:
    """Print what is still to be printed, as long as somebody reads.

    Returns:
        What went wrong; "" if nothing did.
    """
    problem = ""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError) as error:
            if not isinstance(error, BrokenPipeError) and stream is sys.stdout:
                problem = _cannot_print(error)
            _lead_nowhere(stream)
    return problem


def _print(text: str, stream: TextIO) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _lead_nowhere(stream)  # who reads has seen enough
    except OSError as error:
        _lead_nowhere(stream)
        if stream is sys.stdout:
            raise ThreeNetError(_cannot_print(error)) from error


def _cannot_print(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"standard output cannot be written: {reason}"


def _lead_nowhere(stream: TextIO) -> None:
    """Let a stream that cannot be written lead nowhere, or Python fails on it at the end."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
