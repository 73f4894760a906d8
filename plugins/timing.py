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
        self._run = run
        self._seconds: float | None = None
        self._start = time.perf_counter()
        run.trainer.add_event_handler(Events.STARTED, self.start)

    def start(self) -> None:
        """Begin to count."""
        self._start = time.perf_counter()

    def close(self, error: BaseException | None) -> None:
        self._seconds = time.perf_counter() - self._start
        for line in self._report():
            logger.info("%s", line)

    def summary(self) -> Mapping[str, Any]:
        epochs, measurements = self._run.history.epochs, self._run.history.measurements
        seconds_in_epochs = sum(epoch.seconds for epoch in epochs)
        return {
            "seconds": self._seconds,
            "epoch_seconds": _median([epoch.seconds for epoch in epochs]),
            "samples_per_second": (
                sum(epoch.samples for epoch in epochs) / seconds_in_epochs if epochs else None
            ),
            "measurement_seconds": _median([each.seconds for each in measurements]),
            "seconds_by_part": self._seconds_by_part(),
        }

    def _seconds_by_part(self) -> dict[str, float]:
        """Split the time among training, measuring and each plugin's own work."""
        measuring, plugins = self._run.measuring_seconds, self._run.plugin_seconds
        training = (self._seconds or 0.0) - measuring - sum(plugins.values())
        return {"training": training, "measuring": measuring, **plugins}

    def _report(self) -> Iterator[str]:
        facts = self.summary()
        if facts["epoch_seconds"] is None:
            return
        yield (
            f"timing: {facts['epoch_seconds']:.3f} s an epoch, "
            f"{facts['samples_per_second']:,.0f} samples/s; "
            f"{_spell_measurements(self._run.history.measurements)}"
            f"{facts['seconds']:.1f} s in all"
        )
        shares = (
            f"{part} {100 * seconds / facts['seconds']:.1f}%"
            for part, seconds in facts["seconds_by_part"].items()
        )
        yield f"timing: {', '.join(shares)}"


def _median(seconds: list[float]) -> float | None:
    return statistics.median(seconds) if seconds else None


def _spell_measurements(measurements: Sequence[Measurement]) -> str:
    median = _median([measurement.seconds for measurement in measurements])
    if median is None:
        return ""
    return f"{len(measurements)} measurements of {median:.3f} s; "
