"""What a plugin adds to summary.json, as values that JSON knows."""

import json
from collections.abc import Mapping
from typing import Any

from ..options.plain import to_plain

# Deeper, JSON's readers fail.
_DEEPEST = 100


def plain_summary(summary: Any) -> dict[str, Any]:
    """Turn what a plugin's summary() gives into plain values, now and not when they are written.

    Raises:
        TypeError: it gives no mapping.
        ValueError: something in it cannot be written; or any error of the values themselves.

    Example:
        >>> plain_summary({"classes": {2, 1}, 3: (0.5, float("nan"))})
        {'classes': [1, 2], '3': [0.5, None]}
    """
    if summary is None:
        return {}
    if not isinstance(summary, Mapping):
        raise TypeError(f"summary() gave a {type(summary).__name__}; expected a mapping")
    plain: dict[str, Any] = _convert(summary, "summary()", ())
    return plain


def _convert(value: Any, where: str, above: tuple[int, ...]) -> Any:
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        return _convert_leaf(value, where)
    if id(value) in above:
        raise ValueError(f"{where}: holds itself")
    if len(above) >= _DEEPEST:
        raise ValueError(f"{where}: more than {_DEEPEST} values inside one another")
    path = (*above, id(value))
    if isinstance(value, Mapping):
        return {
            str(_convert_leaf(str(key), where)): _convert(each, f"{where}: {key}", path)
            for key, each in value.items()
        }
    # A set has an order of its own in each process.
    items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
    return [_convert(each, f"{where}[{number}]", path) for number, each in enumerate(items)]


def _convert_leaf(value: Any, where: str) -> Any:
    plain = to_plain(value)
    try:
        json.dumps(plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: cannot be written as JSON: {error}") from error
    return plain
