"""How what two runs have left compares, to the last bit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Outcome = Mapping[str, Any]
"""All that a run leaves, as plain values and tensors; in parentheses, what nobody promises."""

# What no two runs have in common.
_OWN = ("seconds", "directory")


@dataclass(frozen=True)
class Comparison:
    """How resumed runs compare with one that was never stopped.

    Attributes:
        differences: what differs, by the part of the run: ``model``, ``optimizer``, ``history``,
            ``random``, ``summary``, ``files``, and ``plugin NAME``. Empty lists if nothing does.
        unchecked: what cannot be told of a plugin, by ``plugin NAME``.
    """

    differences: dict[str, list[str]]
    unchecked: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_parts(cls, outcome: Outcome) -> "Comparison":
        """Make one in which nothing differs yet."""
        return cls({name: [] for name in outcome if not name.startswith("(")})

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return not any(self.differences.values())

    def note(self, one: Outcome, other: Outcome, varying: set[str], when: str = "") -> None:
        """Note where a resumed run differs from the one that was not stopped.

        Args:
            one: what the one has left that was not stopped.
            other: what the resumed one has left.
            varying: places that differ between any two runs.
            when: what is said behind each difference.
        """
        for place, text in differences(one, other):
            if any(place == each or place.startswith((f"{each}.", f"{each}[")) for each in varying):
                continue
            part, _, inner = place.partition(".")
            if part in self.differences:
                where = f"{inner}: " if inner else ""
                self.differences[part].append(f"{where}{text}{when}")
            else:
                attribute = inner.partition(".")[2]
                self.unchecked.setdefault(
                    inner.partition(".")[0],
                    f"its attribute {attribute!r} differs, {text}{when}; nothing that it wrote "
                    "shows whether that matters",
                )


def differences(one: Any, other: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Name the places where two values differ, and how."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other}, key=str):
            inner = f"{where}.{key}" if where else str(key)
            if key in one and key in other:
                yield from () if key in _OWN else differences(one[key], other[key], inner)
            else:
                yield inner, f"only in the {'first' if key in one else 'resumed'} one"
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            yield where, f"{len(one)} and {len(other)} items"
        for index, (mine, theirs) in enumerate(zip(one, other, strict=False)):
            yield from differences(mine, theirs, f"{where}[{index}]")
    elif not _is_same(one, other):
        yield where, _format_difference(one, other)


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        # By their bytes: NaN is the same as NaN, and -0 is not 0.
        return (
            one.dtype == other.dtype and one.shape == other.shape and _bytes(one) == _bytes(other)
        )
    # By their spelling, in which NaN is the same as NaN.
    return type(one) is type(other) and repr(one) == repr(other)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _format_difference(one: Any, other: Any) -> str:
    if isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape:
        if one.dtype != other.dtype:
            return f"{one.dtype} and {other.dtype}"
        largest = (one.double() - other.double()).abs().max().item()
        return f"tensors {tuple(one.shape)} that differ by up to {largest:.3g}"
    return f"{_format(one)} and {_format(other)}"


def _format(value: Any) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
