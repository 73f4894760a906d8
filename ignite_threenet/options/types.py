"""The types of options: how values become them, and how they are described."""

import dataclasses
import enum
import math
import types
import typing
from collections.abc import Callable, Iterable
from contextlib import suppress
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Union

TRUE_WORDS = frozenset({"1", "true", "t", "yes", "y", "on"})
FALSE_WORDS = frozenset({"0", "false", "f", "no", "n", "off"})

# How each scalar type is called in a message, and in a line of help.
_NOUNS: dict[type, tuple[str, str]] = {
    bool: ("true or false", "BOOL"),
    int: ("an integer", "INTEGER"),
    float: ("a finite number", "NUMBER"),
    str: ("text", "TEXT"),
    Path: ("a path", "PATH"),
}


@dataclasses.dataclass(frozen=True)
class Limits:
    """The bounds or the choices that a value must keep to."""

    min: float | None
    max: float | None
    above: float | None
    below: float | None
    choices: tuple[Any, ...] | None

    @property
    def has_bounds(self) -> bool:
        """Whether there is a bound of numbers."""
        return any(bound is not None for bound in (self.min, self.max, self.above, self.below))

    def __str__(self) -> str:
        if self.choices is not None:
            return _one_of(self.choices)
        bounds = (
            ("at least", self.min),
            ("above", self.above),
            ("at most", self.max),
            ("below", self.below),
        )
        return " and ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)

    def check(self, value: Any) -> None:
        """Refuse a value that does not keep to them."""
        if self.choices is not None:
            if value not in self.choices:
                raise RefusedError("is not one of the choices", self.choices)
        elif (
            (self.min is not None and value < self.min)
            or (self.max is not None and value > self.max)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        ):
            raise RefusedError("is out of range")


NO_LIMITS = Limits(None, None, None, None, None)
"""Every value of the type."""


class RefusedError(Exception):
    """A value is refused; the caller knows where it was given."""

    def __init__(self, problem: str, choices: Iterable[Any] = ()) -> None:
        super().__init__(problem)
        self.problem = problem
        self.choices = [str(choice) for choice in choices]


@dataclasses.dataclass(frozen=True)
class ValueType:
    """A type of option: how values become it, and how it is described.

    Attributes:
        convert: turns a value, which may be text, into the type.
        allowed: the accepted values, in words.
        metavar: what stands for a value in help.
    """

    convert: Callable[[Any, bool], Any]
    allowed: str
    metavar: str


def make_type(annotation: Any, limits: Limits, where: str) -> ValueType:
    """Choose the converter for an annotation."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType) and type(None) in arguments and len(arguments) == 2:
        inner = next(argument for argument in arguments if argument is not type(None))
        return _optional(make_type(inner, limits, where))
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _sequence(make_type(arguments[0], limits, where))
    if origin is tuple and arguments:
        return _fixed_tuple([make_type(argument, limits, where) for argument in arguments])
    if limits.has_bounds and annotation not in (int, float):
        raise TypeError(f"{where}: bounds are for numbers, and {annotation!r} is none")
    if limits.choices is not None and annotation not in _NOUNS:
        raise TypeError(f"{where}: choices are for plain types, and {annotation!r} is none")
    if origin is Literal:
        return _choice({str(value): value for value in arguments})
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        # With the aliases, such as the DEFAULT of torchvision's weights.
        return _choice({name.lower(): each for name, each in annotation.__members__.items()})
    if annotation in _NOUNS:
        return _scalar(annotation, limits)
    raise TypeError(
        f"{where}: {annotation!r} cannot be an option; use bool, int, float, str, Path, Literal, "
        "Enum, or an optional or a tuple of these"
    )


def _scalar(kind: type, limits: Limits) -> ValueType:
    noun, metavar = _NOUNS[kind]

    def convert(value: Any, text: bool) -> Any:
        converted = _parse(kind, value) if text and isinstance(value, str) else _cast(kind, value)
        if converted is None:
            raise RefusedError(f"is not {noun}")
        limits.check(converted)
        return converted

    if limits.choices is not None:
        return ValueType(convert, str(limits), _alternatives(limits.choices))
    return ValueType(convert, f"{noun} {limits}".rstrip(), metavar)


def _parse(kind: type, text: str) -> Any:
    """Read a scalar from text; None if it is not one."""
    if kind is bool:
        word = text.strip().lower()
        return True if word in TRUE_WORDS else False if word in FALSE_WORDS else None
    try:
        return _cast(kind, kind(text))
    except ValueError:
        return None


def _cast(kind: type, value: Any) -> Any:
    """Accept a value of the type itself, or one that means the same; None if it is not one."""
    if kind is float and isinstance(value, Real) and not isinstance(value, bool):
        with suppress(OverflowError):
            return float(value) if math.isfinite(float(value)) else None
        return None
    if kind is Path and isinstance(value, str | Path):
        with suppress(RuntimeError):  # the home directory of a user that does not exist
            return Path(value).expanduser()
        return None
    if kind is int and isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return value if type(value) is kind else None


def _optional(inner: ValueType) -> ValueType:
    def convert(value: Any, text: bool) -> Any:
        nothing = value is None or (isinstance(value, str) and value.lower() in ("", "none"))
        return None if nothing else inner.convert(value, text)

    return ValueType(convert, f"{inner.allowed}, or none", inner.metavar)


def _choice(values: dict[str, Any]) -> ValueType:
    def convert(value: Any, text: bool) -> Any:
        key = value.lower() if isinstance(value, str) and value not in values else value
        if isinstance(key, str) and key in values:
            return values[key]
        for allowed in values.values():
            if type(value) is type(allowed) and value == allowed:
                return allowed
        raise RefusedError("is not one of the choices", values)

    return ValueType(convert, _one_of(values), _alternatives(values))


def _sequence(inner: ValueType) -> ValueType:
    def convert(value: Any, text: bool) -> tuple[Any, ...]:
        return tuple(inner.convert(item, text) for item in _items(value, text))

    return ValueType(convert, f"a list of values, each {inner.allowed}", f"{inner.metavar},...")


def _fixed_tuple(inners: list[ValueType]) -> ValueType:
    def convert(value: Any, text: bool) -> tuple[Any, ...]:
        items = _items(value, text)
        if len(items) != len(inners):
            raise RefusedError(f"has {len(items)} values and not {len(inners)}")
        return tuple(inner.convert(item, text) for inner, item in zip(inners, items, strict=True))

    allowed = ", ".join(inner.allowed for inner in inners)
    metavar = ",".join(inner.metavar for inner in inners)
    return ValueType(convert, f"{len(inners)} values: {allowed}", metavar)


def _items(value: Any, text: bool) -> list[Any]:
    if text and isinstance(value, str):
        return [item.strip() for item in value.split(",")] if value.strip() else []
    if isinstance(value, list | tuple):
        return list(value)
    raise RefusedError("is not a list of values")


def _alternatives(values: Iterable[Any]) -> str:
    return "|".join(str(value) for value in values)


def _one_of(values: Iterable[Any]) -> str:
    *most, last = [str(value) for value in values]
    return f"{', '.join(most)} or {last}" if most else last
