"""Options of what declares none: read off its signature."""

import inspect
import typing
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from .declaration import OptionSpec, make_spec


@dataclass(frozen=True)
class SignatureOptions:
    """What a signature offers.

    Attributes:
        specs: the options.
        left_out: why a parameter is no option, by its name.
    """

    specs: tuple[OptionSpec, ...]
    left_out: dict[str, str]


def read_signature(function: Callable[..., Any], skip: Collection[str] = ()) -> SignatureOptions:
    """Read the options of a class or a function off its parameters.

    A parameter is an option if it has a default and a type that an option can have: that of its
    annotation, else that of the default.

    Args:
        function: what is called with them.
        skip: parameters that somebody else fills in.

    Example:
        >>> def make(width: int = 3, names=("a", "b"), hook=print, *rest): ...
        >>> found = read_signature(make)
        >>> [(spec.name, spec.default, spec.allowed) for spec in found.specs]
        [('width', 3, 'an integer'), ('names', ('a', 'b'), 'a list of values, each text')]
        >>> found.left_out
        {'hook': 'its type cannot be an option'}
    """
    specs: list[OptionSpec] = []
    left_out: dict[str, str] = {}
    hints = _hints(function)
    for parameter in _parameters(function):
        if parameter.name in skip:
            continue
        problem = _add(specs, parameter, hints)
        if problem:
            left_out[parameter.name] = problem
    return SignatureOptions(tuple(specs), left_out)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of what is written in C
        return []
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each for each in parameters if each.kind not in variable]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    try:
        return typing.get_type_hints(target)
    except Exception:  # an annotation may be anything, and name what is not there
        return {}


def _add(specs: list[OptionSpec], parameter: inspect.Parameter, hints: dict[str, Any]) -> str:
    """Add an option, or say why the parameter is none."""
    if parameter.default is parameter.empty:
        return "it has no default"
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return "it has no name for its caller"
    for annotation in (hints.get(parameter.name), _type_of(parameter.default)):
        try:
            specs.append(make_spec(parameter.name, annotation, parameter.default))
        except TypeError:
            continue
        return ""
    return "its type cannot be an option"


def _type_of(default: object) -> Any:
    """Give the type of a value, as an annotation would say it."""
    if isinstance(default, tuple) and default and len({type(each) for each in default}) == 1:
        return tuple[type(default[0]), ...]  # type: ignore[misc]
    return type(default)
