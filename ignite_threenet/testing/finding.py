"""What a check found."""

from dataclasses import dataclass, field


@dataclass
class Finding:
    """The outcome of one check.

    Attributes:
        check: what was checked.
        problems: what is wrong and what to do; empty if all is well.
        note: what else is worth knowing.
        unchecked: what could not be told.
        skipped: why it was not checked, which is no failure; "" if it was.
        ends: whether there is nothing more to check.
        is_unknown: whether what the user named is not there.
    """

    check: str
    problems: list[str] = field(default_factory=list)
    note: str = ""
    unchecked: list[str] = field(default_factory=list)
    skipped: str = ""
    ends: bool = False
    is_unknown: bool = False

    def format(self) -> str:
        """Put it into a line."""
        if self.skipped:
            return f"skipped  {self.check}: {self.skipped}"
        status = "FAILED" if self.problems else "UNSURE" if self.unchecked else "ok"
        outcome = "; ".join([*self.problems, *self.unchecked]) or "ok"
        note = f" ({self.note})" if self.note else ""
        return f"{status:<6}  {self.check}: {outcome}{note}"
