"""Says where the time went."""

import logging
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ignite.engine import Events

from ignite_threenet import Measurement, Plugin, Run

logger = logging.getLogger("ignite_threenet.timing")


class Timing(Plugin):
    """Time the epochs, the measurements, and each plugin's share."""

    on_error = "detach"

    def attach(self, run: Run) -> None:
        self._history = run.history
        self._seconds_by_part: dict[str, float] = {}
        run.trainer.add_event_handler(Events.STARTED, self.start, run)

    def start(self, run: Run) -> None:
        """Begin to count."""
        self._run = run
        self._start, self._parts_at_start = time.perf_counter(), _parts(run)

    def close(self, error: BaseException | None) -> None:
        if not self._history.epochs:
            return
        elapsed = time.perf_counter() - self._start
        parts = {
            part: seconds - self._parts_at_start[part]
            for part, seconds in _parts(self._run).items()
        }
        self._seconds_by_part = {"training": elapsed - sum(parts.values()), **parts}
        for line in self._report():
            logger.info("%s", line)

    def summary(self) -> Mapping[str, Any]:
        epochs, measurements = self._history.epochs, self._history.measurements
        if not self._seconds_by_part:
            return {}
        return {
            "seconds": sum(self._seconds_by_part.values()),
            "epoch_seconds": _median([epoch.seconds for epoch in epochs]),
            "samples_per_second": (
                sum(epoch.samples for epoch in epochs) / sum(epoch.seconds for epoch in epochs)
            ),
            "measurement_seconds": _median([each.seconds for each in measurements]),
            "seconds_by_part": self._seconds_by_part,
        }

    def _report(self) -> Iterator[str]:
        facts = self.summary()
        yield (
            f"timing: {facts['epoch_seconds']:.3f} s an epoch, "
            f"{facts['samples_per_second']:,.0f} samples/s; "
            f"{_format_measurements(self._history.measurements)}"
            f"{facts['seconds']:.1f} s in all"
        )
        shares = (
            f"{part} {100 * seconds / facts['seconds']:.1f}%"
            for part, seconds in facts["seconds_by_part"].items()
        )
        yield f"timing: {', '.join(shares)}"


def _parts(run: Run) -> dict[str, float]:
    """Give the seconds spent so far outside of training."""
    return {"measuring": run.attachments.measuring_seconds, **run.attachments.plugin_seconds}


def _median(seconds: list[float]) -> float | None:
    return statistics.median(seconds) if seconds else None


def _format_measurements(measurements: Sequence[Measurement]) -> str:
    median = _median([measurement.seconds for measurement in measurements])
    if median is None:
        return ""
    return f"{len(measurements)} measurements of {median:.3f} s; "
