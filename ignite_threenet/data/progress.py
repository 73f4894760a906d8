"""How far the reading of data is."""

import logging
import os
import sys
import time
from types import TracebackType
from typing import Any, Self

logger = logging.getLogger("ignite_threenet")

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """A bar on a terminal, and a line in the log now and then elsewhere; nothing with --quiet.

    Args:
        what: what is being done, such as ``pets: reading``.
        total: how many there are.
        unit: what they are.
    """

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = 0
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
        self._bar: Any = None

    def __enter__(self) -> Self:
        if logger.isEnabledFor(logging.INFO) and sys.stderr.isatty():
            from tqdm.auto import tqdm

            self._bar = tqdm(
                desc=self._what, total=self._total, unit=self._unit, leave=False, **_usual_size()
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int) -> None:
        """Note that some more are done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
            logger.info("%s: %d of %d %ss", self._what, self._done, self._total, self._unit)


def _usual_size() -> dict[str, Any]:
    """Give a usual size to a terminal that does not tell its own, where tqdm would show nothing."""
    try:
        is_known = 0 not in os.get_terminal_size(sys.stderr.fileno())
    except OSError:
        is_known = False
    return {} if is_known else {"ncols": 80, "nrows": 24}
