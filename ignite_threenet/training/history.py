"""What was measured, epoch by epoch, in memory and in metrics.jsonl."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..options.plain import to_plain

Points = tuple[str, int, Mapping[str, float]]
"""A record's points on curves: what their names begin with, the epoch, the values by name."""


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch of training.

    Attributes:
        epoch: its number, from 1.
        iteration: iterations since the run began.
        loss: mean over the epoch's samples, each at its own iteration; nats for NLLLoss.
        last_loss: mean over the last batch.
        seconds: time taken, without what handlers do at the epoch's end.
        samples: samples seen in the epoch.
        learning_rate: rate of the last step, of the optimizer's first group; None if not known.
    """

    epoch: int
    iteration: int
    loss: float
    last_loss: float
    seconds: float
    samples: int
    learning_rate: float | None = None


@dataclass(frozen=True)
class Measurement:
    """One pass of an evaluator over its split.

    Attributes:
        split: train, valid or test.
        epoch: the trainer's epoch at that time.
        metrics: the metrics that are numbers, by name; accuracy is a share from 0 to 1.
        seconds: time taken.
        final: whether this is the test of the model that the run ended with.
    """

    split: str
    epoch: int
    metrics: Mapping[str, float]
    seconds: float
    final: bool


class History:
    """The measurements of a run.

    Attributes:
        epochs: the epochs of training, in order.
        measurements: the passes of the evaluators, in order.
        training_ended: whether what is measured now is the test of the final model.
    """

    def __init__(self) -> None:
        self.epochs: list[EpochRecord] = []
        self.measurements: list[Measurement] = []
        self.training_ended = False
        self._order: list[str] = []  # the kinds of all records, as they were made
        self._write_line: Callable[[str], None] | None = None

    def end_training(self) -> None:
        """Take what is measured from now on as the test of the final model."""
        self.training_ended = True

    def write_to(self, write_line: Callable[[str], None]) -> None:
        """Pass each record on, from now on, as a line of JSON."""
        self._write_line = write_line

    def lines(self) -> list[str]:
        """Spell the records so far as lines of JSON, in the order in which they were made."""
        records: dict[str, Iterator[EpochRecord | Measurement]] = {
            "epoch": iter(self.epochs),
            "measurement": iter(self.measurements),
        }
        return [_format(kind, next(records[kind])) for kind in self._order]

    def points(self, after: int = 0) -> Iterator[Points]:
        """Give the records as points on curves: the epochs first, then the measurements.

        An epoch has ``loss`` and, if it is known, ``lr`` under ``train``; a measurement has its
        metrics under ``measured/SPLIT``, or ``final/SPLIT`` for the test of the final model.

        Args:
            after: records that are left out, the earliest ones.

        Yields:
            For each record what the names of its curves begin with, its epoch, and the values by
            the rest of the names.

        Example:
            >>> history = History()
            >>> history.add_measurement(Measurement("test", 3, {"accuracy": 0.5}, 0.1, final=True))
            >>> list(history.points())
            [('final/test', 3, {'accuracy': 0.5})]
        """
        epochs = self._order[:after].count("epoch")
        for record in self.epochs[epochs:]:
            rate = {} if record.learning_rate is None else {"lr": record.learning_rate}
            yield "train", record.epoch, {"loss": record.loss, **rate}
        for each in self.measurements[after - epochs :]:
            yield f"{'final' if each.final else 'measured'}/{each.split}", each.epoch, each.metrics

    def state_dict(self) -> dict[str, Any]:
        """Give the records, as plain values."""
        return {
            "epochs": [asdict(each) for each in self.epochs],
            "measurements": [asdict(each) for each in self.measurements],
            "order": list(self._order),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what state_dict() gave; nothing is written."""
        self.epochs[:] = [EpochRecord(**each) for each in state["epochs"]]
        self.measurements[:] = [Measurement(**each) for each in state["measurements"]]
        self._order[:] = state["order"]

    def load_lines(self, lines: Iterable[str]) -> None:
        """Take back what lines() gave, in place of what is known; nothing is written.

        Raises:
            ValueError, TypeError, KeyError: lines() did not give this.
        """
        epochs: list[EpochRecord] = []
        measurements: list[Measurement] = []
        order = []
        for line in lines:
            record = json.loads(line)
            kind = record.pop("record")
            order.append(kind)
            if kind == "epoch":
                # JSON has no number that is none.
                losses = {key: _number(record[key]) for key in ("loss", "last_loss")}
                epochs.append(EpochRecord(**{**record, **losses}))
            else:
                values = {name: _number(each) for name, each in record["metrics"].items()}
                measurements.append(Measurement(**{**record, "metrics": values}))
        self.epochs[:], self.measurements[:], self._order[:] = epochs, measurements, order

    def add_epoch(self, record: EpochRecord) -> None:
        """Note a finished epoch."""
        self.epochs.append(record)
        self._note("epoch", record)

    def add_measurement(self, measurement: Measurement) -> None:
        """Note a pass of an evaluator."""
        self.measurements.append(measurement)
        self._note("measurement", measurement)

    def of_split(self, split: str) -> list[Measurement]:
        """List the measurements of a split made during training, in order."""
        return [
            measurement
            for measurement in self.measurements
            if measurement.split == split and not measurement.final
        ]

    def best(self, split: str) -> Measurement | None:
        """Find the measurement of a split with the highest accuracy; the later one of equals."""
        measured = [each for each in self.of_split(split) if "accuracy" in each.metrics]
        return max(reversed(measured), key=lambda each: each.metrics["accuracy"], default=None)

    @property
    def final_test(self) -> Measurement | None:
        """The test of the model that the run ended with."""
        tests = (each for each in self.measurements if each.final and each.split == "test")
        return next(tests, None)

    def _note(self, kind: str, record: EpochRecord | Measurement) -> None:
        self._order.append(kind)
        if self._write_line is not None:
            self._write_line(_format(kind, record))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _format(kind: str, record: EpochRecord | Measurement) -> str:
    return json.dumps(to_plain({"record": kind} | asdict(record)), allow_nan=False)
