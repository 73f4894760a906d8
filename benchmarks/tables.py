"""What a measurement gives: rows of values, compared with one of them."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """What was measured of one contender.

    Attributes:
        label: who it is; a short name may stand before a colon.
        values: one for each round, in their order.
        unit: what they are in.
        note: what a reader must know.
    """

    label: str
    values: Sequence[float]
    unit: str = "s"
    note: str = ""

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Table:
    """What was measured side by side.

    Attributes:
        name: what the command line calls it.
        title: what was measured.
        rows: the contenders.
        baseline: label of the row that the others are compared with, or None.
        left_out: why a contender is missing, by its label.
    """

    name: str
    title: str
    rows: Sequence[Row]
    baseline: str | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    def ratio(self, row: Row) -> float | None:
        """Divide a row's median by the baseline's; None if there is none to divide by."""
        for each in self.rows:
            if each.label == self.baseline and each.unit == row.unit and each.median > 0:
                return row.median / each.median
        return None

    def as_dict(self) -> dict[str, Any]:
        """Give the table as plain values, with the values of all rounds."""
        return {
            "name": self.name,
            "title": self.title,
            "baseline": self.baseline,
            "rows": [
                {
                    "label": row.label,
                    "unit": row.unit,
                    "median": row.median,
                    "ratio": self.ratio(row),
                    "values": list(row.values),
                    "note": row.note,
                }
                for row in self.rows
            ],
            "left_out": dict(self.left_out),
        }


def take_turns(
    measures: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, tuple[float, ...]]:
    """Call each measure once in each round, after one call of each that does not count.

    Returns:
        The values of each measure, in the order of the rounds.

    Example:
        >>> take_turns({"two": lambda: 2.0, "three": lambda: 3.0}, rounds=2)
        {'two': (2.0, 2.0), 'three': (3.0, 3.0)}
    """
    for measure in measures.values():
        measure()
    turns = [[measure() for measure in measures.values()] for _ in range(rounds)]
    return dict(zip(measures, zip(*turns, strict=True), strict=True))
