"""Writes what was measured as a table."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from ignite.engine import Engine, Events

from ignite_threenet import EpochRecord, Plugin, Run, option


class Csv(Plugin):
    """Write the epochs and their measurements as a table, metrics.csv."""

    on_error = "detach"
    every: int = option(0, help="epochs between two writings while training; 0: at the end", min=0)

    def attach(self, run: Run) -> None:
        self._run = run
        if self.every > 0:
            run.trainer.add_event_handler(Events.STARTED, self.start)

    def start(self, trainer: Engine) -> None:
        """Register what must hear of an epoch's end after all who measure then."""
        trainer.add_event_handler(Events.EPOCH_COMPLETED(every=self.every), self.write)

    def close(self, error: BaseException | None) -> None:
        self.write()

    def write(self) -> None:
        """Write the table of what was measured so far."""
        rows = self._rows()
        if not rows:
            return
        # The splits in the order in which the run has them.
        columns = dict.fromkeys(field.name for field in fields(EpochRecord))
        for split in self._run.evaluators:
            columns |= dict.fromkeys(name for row in rows for name in row if _is_of(name, split))
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        self._run.directory.write(self._file, text.getvalue().encode())

    def summary(self) -> Mapping[str, Any]:
        return {"file": self._file} if self._rows() else {}

    def _rows(self) -> list[dict[str, Any]]:
        """Join what was measured in an epoch; also of one that was cut short, or before all."""
        history = self._run.history
        rows: dict[int, dict[str, Any]] = {each.epoch: asdict(each) for each in history.epochs}
        for split in self._run.evaluators:
            for measurement in history.of_split(split):
                row = rows.setdefault(measurement.epoch, {"epoch": measurement.epoch})
                row |= {f"{split}_{name}": each for name, each in measurement.metrics.items()}
        return [rows[epoch] for epoch in sorted(rows)]

    @property
    def _file(self) -> str:
        return "metrics.csv" if self.name == "csv" else f"{self.name}.csv"


def _is_of(column: str, split: str) -> bool:
    return column.startswith(f"{split}_")
