"""One declaration of an option, for every way of setting it.

``lr: float = option(1e-3, help="learning rate", above=0)`` in a class body gives the constructor
argument, the command line's option, the key in a configuration file, the environment variable,
the line of help and the checks. Types: bool, int, float, str, Path, Literal, Enum, and optional
and tuples of these.
"""

import dataclasses
import typing
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

from ..errors import OptionError, UnknownNameError, nearest
from ..text import MASK, each_text, is_masked, mask_addresses
from .plain import to_plain
from .secret import make_secret, names_file, read_secret
from .types import NO_LIMITS, Limits, RefusedError, make_type

_METADATA_KEY = "ignite_threenet.option"
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
    secret: bool = False,
) -> Any:
    """Declare an option of a run, a plugin, a model or a dataset.

    Args:
        default: its value where nobody sets it; checked like any other value.
        help: one line for ``--help`` and ``plugins show``.
        min: the smallest number allowed.
        max: the largest number allowed.
        above: a number that must be exceeded.
        below: a number that must not be reached.
        choices: the values allowed, if they are few.
        secret: whether it is a password or a token: text that is kept out of every file and
            message, and that ``@FILE`` reads from a file.

    Returns:
        A dataclass field, to be assigned to an annotated name in the class body.

    Raises:
        TypeError: choices has none.
    """
    limits = Limits(min, max, above, below, tuple(choices) if choices is not None else None)
    if limits.choices == ():
        raise TypeError("option: choices has none")
    return dataclasses.field(default=default, metadata={_METADATA_KEY: (help, limits, secret)})


@dataclasses.dataclass(frozen=True)
class OptionSpec:
    """What is known of one option.

    Attributes:
        name: the attribute's name; ``-`` stands for ``_`` on the command line.
        default: its value where nobody sets it.
        help: one line of help.
        allowed: the values that it accepts, in words.
        limits: the bounds of a number, in words; empty if there are none.
        metavar: what stands for a value in help.
        is_flag: whether it is a plain bool.
        is_secret: whether its value is kept out of files and messages.
    """

    name: str
    default: Any
    help: str
    allowed: str
    limits: str
    metavar: str
    is_flag: bool
    is_secret: bool
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
        except RefusedError as refused:
            shown = MASK if self.is_secret else value
            guess = nearest(str(shown), refused.choices)
            allowed = f"{self.allowed}; did you mean {guess!r}?" if guess else self.allowed
            raise OptionError(where, shown, refused.problem, allowed) from None

    def read(self, value: object, where: str, *, text: bool = False) -> Any:
        """Convert what a user wrote; of a secret, ``@FILE`` stands for what the file holds.

        Raises:
            OptionError: value has another type, is out of range, or names no file.
        """
        if self.is_secret and isinstance(value, str):
            value = read_secret(value, where)
        return self.convert(value, where, text=text)

    def is_literal_secret(self, word: object) -> bool:
        """Tell whether a word that a user wrote is a secret itself, and names no file."""
        return self.is_secret and isinstance(word, str) and word != "" and not names_file(word)

    def plain(self, value: object) -> Any:
        """Give a value as files and messages show it: plain, and without secrets."""
        if self.is_secret:
            return MASK if value else None
        return each_text(to_plain(value), mask_addresses)

    def hides(self, plain: object) -> bool:
        """Tell whether a plain value stands for one that was not kept."""
        return self.is_secret or is_masked(plain)


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


def _spec(cls: type, field: dataclasses.Field[Any], annotation: Any) -> OptionSpec:
    where = f"{cls.__name__}.{field.name}"
    if _METADATA_KEY not in field.metadata:
        raise TypeError(f"{where}: declare it with option(), or annotate it as ClassVar")
    help_text, limits, is_secret = field.metadata[_METADATA_KEY]
    return make_spec(
        field.name, annotation, field.default, help_text, limits, where, is_secret=is_secret
    )


def make_spec(
    name: str,
    annotation: Any,
    default: object,
    help: str = "",
    limits: Limits = NO_LIMITS,
    where: str = "",
    *,
    is_secret: bool = False,
) -> OptionSpec:
    """Make what is known of an option.

    Args:
        name: its name.
        annotation: its type.
        default: its value if nobody sets it.
        help: one line of help.
        limits: what its values must keep to.
        where: what messages call it; its name if empty.
        is_secret: whether its value is kept out of files and messages.

    Raises:
        TypeError: it has a type or a default that cannot be one.
    """
    where = where or name
    converter = make_type(annotation, limits, where)
    if is_secret:
        converter = make_secret(annotation, converter, where)
    try:
        converted = converter.convert(default, False)
    except RefusedError as refused:
        raise TypeError(
            f"the default of {where}: {default!r} {refused.problem}; expected {converter.allowed}"
        ) from None
    return OptionSpec(
        name=name,
        default=converted,
        help=help,
        allowed=converter.allowed,
        limits="" if limits.choices is not None else str(limits),
        metavar=converter.metavar,
        is_flag=annotation is bool,
        is_secret=is_secret,
        _convert=converter.convert,
    )


def plain_options(owner: object) -> dict[str, Any]:
    """Give the values of an object's options by their names, as OptionSpec.plain() gives them."""
    return {spec.name: spec.plain(getattr(owner, spec.name)) for spec in option_specs(type(owner))}
