"""What a row of faults came to."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts the cases of a row, and says what was wrong with those that failed."""

    what: str
    claim: str
    count: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    too_slow: str = ""
    _failed: int = 0

    def add(self, case: str, problems: Iterable[str]) -> None:
        found = [f"{case}: {problem}" for problem in problems]
        self.count += 1
        self._failed += bool(found)
        self.failures += found

    @property
    def figure(self) -> str:
        good = f"{self.count - self._failed}/{self.count} {self.claim}"
        return "; ".join([good, *self.notes])

    @property
    def passed(self) -> bool:
        return self.count > 0 and not self.failures


def spread(count: int, total: int) -> list[int]:
    """Choose count of the numbers 1 to total, evenly, the first and the last among them."""
    if count >= total:
        return list(range(1, total + 1))
    if count == 1:
        return [total]
    return sorted({1 + round(index * (total - 1) / (count - 1)) for index in range(count)})
