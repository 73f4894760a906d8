"""One declaration of an option, for every way of setting it.

``lr: float = option(1e-3, help="learning rate", above=0)`` in a class body gives the constructor
argument, the command line's option, the key in a configuration file, the environment variable,
the line of help and the checks. Types: bool, int, float, str, Path, Literal, Enum, and optional
and tuples of these.
"""

import dataclasses
import enum
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from .errors import OptionError, UnknownNameError, nearest

_METADATA_KEY = "ignite_threenet.option"
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})
# How each scalar type is called in a message, and in a line of help.
_NOUNS: dict[type, tuple[str, str]] = {
    bool: ("true or false", "BOOL"),
    int: ("an integer", "INTEGER"),
    float: ("a finite number", "NUMBER"),
    str: ("text", "TEXT"),
    Path: ("a path", "PATH"),
}

T = TypeVar("T")


def option(
    default: Any,
    *,
    help: str,
    min: float | None = None,
    max: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Iterable[Any] | None = None,
) -> Any:
    """Declare an option of a run, a plugin, a model or a dataset.

    Args:
        default: its value where nobody sets it; checked like any other value.
        help: one line for ``--help`` and ``plugins show``.
        min: the smallest number allowed.
        max: the largest number allowed.
        above: a number that must be exceeded.
        below: a number that must not be reached.
        choices: the values allowed, where they are few.

    Returns:
        A dataclass field, to be assigned to an annotated name in the class body.

    Raises:
        TypeError: choices has none.
    """
    limits = _Limits(min, max, above, below, tuple(choices) if choices is not None else None)
    if limits.choices == ():
        raise TypeError("option: choices has none")
    return dataclasses.field(default=default, metadata={_METADATA_KEY: (help, limits)})


@dataclasses.dataclass(frozen=True)
class OptionSpec:
    """What is known of one option.

    Attributes:
        name: the attribute's name; ``-`` stands for ``_`` on the command line.
        default: its value where nobody sets it.
        help: one line of help.
        allowed: the values that it accepts, in words.
        limits: the bounds of a number, in words; empty where there are none.
        metavar: what stands for a value in help.
        is_flag: whether it is a plain bool.
    """

    name: str
    default: Any
    help: str
    allowed: str
    limits: str
    metavar: str
    is_flag: bool
    _convert: Callable[[Any, bool], Any] = dataclasses.field(repr=False)

    @property
    def flag_name(self) -> str:
        """The name as the command line spells it."""
        return self.name.replace("_", "-")

    def convert(self, value: object, where: str, *, text: bool = False) -> Any:
        """Check a value and turn it into the option's type.

        Args:
            value: what was given.
            where: the option as its user wrote it, for the message.
            text: whether value comes from the command line or the environment, where an integer
                is spelled in digits and a tuple with commas.

        Raises:
            OptionError: value has another type, or is out of range.
        """
        try:
            return self._convert(value, text)
        except _RefusedError as refused:
            guess = nearest(str(value), refused.choices)
            allowed = f"{self.allowed}; did you mean {guess!r}?" if guess else self.allowed
            raise OptionError(where, value, refused.problem, allowed) from None


def option_specs(cls: type) -> tuple[OptionSpec, ...]:
    """List the options that a class declares, in the order of declaration."""
    specs: tuple[OptionSpec, ...] = cls.__dict__.get("__option_specs__", ())
    return specs


def make_options_class(
    cls: type[T], *, build: str = "__post_init__", **dataclass_options: Any
) -> type[T]:
    """Turn a class with option() fields into a keyword-only dataclass that checks its arguments.

    Args:
        cls: the class.
        build: the method that the class may have in place of a constructor.
        **dataclass_options: what dataclasses.dataclass() takes.

    Raises:
        TypeError: a field is not an option, or has a type or default that cannot be one; the
            message names the field.
    """
    for name in {"__init__", "__post_init__"} - {build}:
        if name in cls.__dict__:
            raise TypeError(f"{cls.__name__}.{name}: made from the options; use {build}")
    _check_defaults(cls)
    dataclasses.dataclass(kw_only=True, **dataclass_options)(cls)
    hints = _type_hints(cls)
    fields = [field for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
    specs = tuple(_spec(cls, field, hints[field.name]) for field in fields)
    for spec in specs:
        type.__setattr__(cls, spec.name, spec.default)
    type.__setattr__(cls, "__option_specs__", specs)
    _check_arguments_first(cls, specs)
    return cls


def _type_hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except NameError as error:
        raise TypeError(
            f"{cls.__name__}: the annotation {error.name!r} is not known in {cls.__module__}; "
            "import it outside of TYPE_CHECKING"
        ) from error


def _check_defaults(cls: type) -> None:
    inherited = {spec.name for base in cls.__mro__[1:] for spec in option_specs(base)}
    for name, field in vars(cls).items():
        if name in inherited and name not in cls.__annotations__:
            raise TypeError(
                f"{cls.__name__}.{name}: an option of a base class; declare it anew with its type "
                "and option()"
            )
        if isinstance(field, dataclasses.Field) and type(field.default).__hash__ is None:
            raise TypeError(
                f"{cls.__name__}.{name}: the default {field.default!r} could be changed by "
                "whoever uses it; give a tuple"
            )


def _check_arguments_first(cls: type, specs: tuple[OptionSpec, ...]) -> None:
    """Put the checks before the dataclass's constructor, so that __post_init__ sees good values."""
    by_name = {spec.name: spec for spec in specs}
    construct = cls.__init__  # type: ignore[misc]

    @wraps(construct)
    def checked(self: Any, **arguments: Any) -> None:
        for name in arguments:
            if name not in by_name:
                raise UnknownNameError("option", name, by_name, where=cls.__name__)
        given = {
            name: by_name[name].convert(value, f"{cls.__name__}.{name}")
            for name, value in arguments.items()
        }
        construct(self, **{name: spec.default for name, spec in by_name.items()} | given)

    type.__setattr__(cls, "__init__", checked)


@dataclasses.dataclass(frozen=True)
class _Limits:
    min: float | None
    max: float | None
    above: float | None
    below: float | None
    choices: tuple[Any, ...] | None

    @property
    def has_bounds(self) -> bool:
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
        if self.choices is not None:
            if value not in self.choices:
                raise _RefusedError("is not one of the choices", self.choices)
        elif (
            (self.min is not None and value < self.min)
            or (self.max is not None and value > self.max)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        ):
            raise _RefusedError("is out of range")


class _RefusedError(Exception):
    """A value is refused; the caller knows where it was given."""

    def __init__(self, problem: str, choices: Iterable[Any] = ()) -> None:
        super().__init__(problem)
        self.problem = problem
        self.choices = [str(choice) for choice in choices]


@dataclasses.dataclass(frozen=True)
class _Type:
    """A type of option: how values become it, and how it is described.

    Attributes:
        convert: turns a value, which may be text, into the type.
        allowed: the accepted values, in words.
        metavar: what stands for a value in help.
    """

    convert: Callable[[Any, bool], Any]
    allowed: str
    metavar: str


def _spec(cls: type, field: dataclasses.Field[Any], annotation: Any) -> OptionSpec:
    where = f"{cls.__name__}.{field.name}"
    if _METADATA_KEY not in field.metadata:
        raise TypeError(f"{where}: declare it with option(), or annotate it as ClassVar")
    help_text, limits = field.metadata[_METADATA_KEY]
    converter = _type(annotation, limits, where)
    try:
        default = converter.convert(field.default, False)
    except _RefusedError as refused:
        raise TypeError(
            f"the default of {where}: {field.default!r} {refused.problem}; "
            f"expected {converter.allowed}"
        ) from None
    return OptionSpec(
        name=field.name,
        default=default,
        help=help_text,
        allowed=converter.allowed,
        limits="" if limits.choices is not None else str(limits),
        metavar=converter.metavar,
        is_flag=annotation is bool,
        _convert=converter.convert,
    )


def _type(annotation: Any, limits: _Limits, where: str) -> _Type:
    """Choose the converter for an annotation."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType) and type(None) in arguments and len(arguments) == 2:
        inner = next(argument for argument in arguments if argument is not type(None))
        return _optional(_type(inner, limits, where))
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _sequence(_type(arguments[0], limits, where))
    if origin is tuple and arguments:
        return _fixed_tuple([_type(argument, limits, where) for argument in arguments])
    if limits.has_bounds and annotation not in (int, float):
        raise TypeError(f"{where}: bounds are for numbers, and {annotation!r} is none")
    if limits.choices is not None and annotation not in _NOUNS:
        raise TypeError(f"{where}: choices are for plain types, and {annotation!r} is none")
    if origin is Literal:
        return _choice({str(value): value for value in arguments})
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _choice({member.name.lower(): member for member in annotation})
    if annotation in _NOUNS:
        return _scalar(annotation, limits)
    raise TypeError(
        f"{where}: {annotation!r} cannot be an option; use bool, int, float, str, Path, Literal, "
        "Enum, or an optional or a tuple of these"
    )


def _scalar(kind: type, limits: _Limits) -> _Type:
    noun, metavar = _NOUNS[kind]

    def convert(value: Any, text: bool) -> Any:
        converted = _parse(kind, value) if text and isinstance(value, str) else _cast(kind, value)
        if converted is None:
            raise _RefusedError(f"is not {noun}")
        limits.check(converted)
        return converted

    if limits.choices is not None:
        return _Type(convert, str(limits), _alternatives(limits.choices))
    return _Type(convert, f"{noun} {limits}".rstrip(), metavar)


def _parse(kind: type, text: str) -> Any:
    """Read a scalar from text; None where it is not one."""
    if kind is bool:
        word = text.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else None
    try:
        return _cast(kind, kind(text))
    except ValueError:
        return None


def _cast(kind: type, value: Any) -> Any:
    """Accept a value of the type itself, or one that means the same; None where it is not one."""
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


def _optional(inner: _Type) -> _Type:
    def convert(value: Any, text: bool) -> Any:
        nothing = value is None or (isinstance(value, str) and value.lower() in ("", "none"))
        return None if nothing else inner.convert(value, text)

    return _Type(convert, f"{inner.allowed}, or none", inner.metavar)


def _choice(values: dict[str, Any]) -> _Type:
    def convert(value: Any, text: bool) -> Any:
        key = value.lower() if isinstance(value, str) and value not in values else value
        if isinstance(key, str) and key in values:
            return values[key]
        for allowed in values.values():
            if type(value) is type(allowed) and value == allowed:
                return allowed
        raise _RefusedError("is not one of the choices", values)

    return _Type(convert, _one_of(values), _alternatives(values))


def _sequence(inner: _Type) -> _Type:
    def convert(value: Any, text: bool) -> tuple[Any, ...]:
        return tuple(inner.convert(item, text) for item in _items(value, text))

    return _Type(convert, f"a list of values, each {inner.allowed}", f"{inner.metavar},...")


def _fixed_tuple(inners: list[_Type]) -> _Type:
    def convert(value: Any, text: bool) -> tuple[Any, ...]:
        items = _items(value, text)
        if len(items) != len(inners):
            raise _RefusedError(f"has {len(items)} values and not {len(inners)}")
        return tuple(inner.convert(item, text) for inner, item in zip(inners, items, strict=True))

    allowed = ", ".join(inner.allowed for inner in inners)
    metavar = ",".join(inner.metavar for inner in inners)
    return _Type(convert, f"{len(inners)} values: {allowed}", metavar)


def _items(value: Any, text: bool) -> list[Any]:
    if text and isinstance(value, str):
        return [item.strip() for item in value.split(",")] if value.strip() else []
    if isinstance(value, list | tuple):
        return list(value)
    raise _RefusedError("is not a list of values")


def _alternatives(values: Iterable[Any]) -> str:
    return "|".join(str(value) for value in values)


def _one_of(values: Iterable[Any]) -> str:
    *most, last = [str(value) for value in values]
    return f"{', '.join(most)} or {last}" if most else last


def plain_options(owner: object) -> dict[str, Any]:
    """Give the values of an object's options by their names, as plain() gives them."""
    return {spec.name: plain(getattr(owner, spec.name)) for spec in option_specs(type(owner))}


def plain(value: Any) -> Any:
    """Turn a value into one that JSON knows: None for NaN and infinity, text for a path.

    Example:
        >>> plain({"loss": math.nan, "sizes": (1, 2)})
        {'loss': None, 'sizes': [1, 2]}
    """
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str | None) else str(value)
