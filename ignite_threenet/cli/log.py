"""What is logged, on standard error."""

import logging
import sys

import click
from tqdm import tqdm

from ..text import one_line, printable

logger = logging.getLogger("ignite_threenet")


class LogFormatter(logging.Formatter):
    """Puts a message into a line; of a traceback only what is hidden in it is changed."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the message, and the traceback if there is one."""
        text = one_line(record.getMessage())
        if record.exc_info:
            text += f"\n{printable(self.formatException(record.exc_info))}"
        return text


class LogHandler(logging.Handler):
    """Writes to standard error, above the progress bars if there are some."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; an error in that is reported and no more."""
        try:
            self._write(record)
        except Exception:
            self.handleError(record)

    def _write(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno >= logging.WARNING:
            color = "red" if record.levelno >= logging.ERROR else "yellow"
            level = click.style(f"{record.levelname.lower()}: ", fg=color, bold=True)
            text = level + text if sys.stderr.isatty() else click.unstyle(level) + text
        tqdm.write(text, file=sys.stderr)


def set_up_logging(*, quiet: bool, verbose: bool) -> None:
    """Say warnings alone, what is usual, or all, Ignite's messages too."""
    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    handler = LogHandler()
    handler.setFormatter(LogFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logger.setLevel(level)
    # Ignite reports each error that passes through an engine; here it is told once, as a message.
    logging.getLogger("ignite").setLevel(logging.INFO if verbose else logging.CRITICAL)
