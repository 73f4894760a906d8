"""Values that JSON knows."""

import enum
import math
from collections.abc import Mapping
from typing import Any


def to_plain(value: Any) -> Any:
    """Turn a value into one that JSON knows: None for NaN and infinity, text for a path.

    Example:
        >>> to_plain({"loss": math.nan, "sizes": (1, 2)})
        {'loss': None, 'sizes': [1, 2]}
    """
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str | None) else str(value)
