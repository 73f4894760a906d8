"""What a checkpoint must hold, to the leaves; whoever wrote it may have had other ideas."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from torch import Tensor

from ..extensions.component import GROUPS
from ..training.history import EpochRecord, Measurement

FORMAT = 3
_ENDINGS = (False, True, "skip_completed", "skip_epoch_completed")
# Words of the generator of Python's random.
_WORDS = 625


class MisfitError(Exception):
    """A value is not what stands in a checkpoint; the message says where and what is expected."""


_Check = Callable[[Any, str], None]


def check_structure(content: Mapping[str, Any]) -> None:
    """Compare what a checkpoint holds with what one of this version holds.

    Raises:
        MisfitError: something is missing, or is of another kind.
    """
    if content.get("format") != FORMAT:
        found = content.get("format")
        raise MisfitError(f"has the format {found!r}; this version reads {FORMAT}")
    for name, check in _CONTENT.items():
        if name not in content:
            raise MisfitError(f"lacks {name!r}")
        check(content[name], name)


def _refuse(where: str, value: object, expected: str) -> None:
    shown = repr(value) if isinstance(value, str | int | float | None) else type(value).__name__
    raise MisfitError(f"has {where} {shown[:80]}; expected {expected}")


def _of_kind(*kinds: type) -> _Check:
    def check(value: Any, where: str) -> None:
        # True is an integer to Python.
        is_bool = isinstance(value, bool) and bool not in kinds
        if is_bool or not isinstance(value, kinds):
            _refuse(where, value, " or ".join(kind.__name__ for kind in kinds))

    return check


def _count(least: int = 0) -> _Check:
    def check(value: Any, where: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            _refuse(where, value, f"an integer at least {least}")

    return check


def _or_none(check: _Check) -> _Check:
    return lambda value, where: None if value is None else check(value, where)


def _one_of(*values: object) -> _Check:
    def check(value: Any, where: str) -> None:
        if not any(value == each and type(value) is type(each) for each in values):
            _refuse(where, value, ", ".join(map(repr, values)))

    return check


def _list_of(check: _Check, length: int | None = None) -> _Check:
    def check_all(value: Any, where: str) -> None:
        if not isinstance(value, list) or (length is not None and len(value) != length):
            _refuse(where, value, f"a list of {length}" if length is not None else "a list")
        for index, each in enumerate(value):
            check(each, f"{where}[{index}]")

    return check_all


def _dict_of(check: _Check) -> _Check:
    def check_all(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            _refuse(where, value, "dict")
        for name, each in value.items():
            _TEXT(name, f"{where}: the name")
            check(each, f"{where}.{name}")

    return check_all


def _record(**checks: _Check) -> _Check:
    def check_all(value: Any, where: str) -> None:
        if not isinstance(value, dict) or value.keys() != checks.keys():
            _refuse(where, value, f"values by the names {', '.join(checks)}")
        for name, check in checks.items():
            check(value[name], f"{where}.{name}")

    return check_all


def _row(*checks: _Check) -> _Check:
    def check_all(value: Any, where: str) -> None:
        if not isinstance(value, list) or len(value) != len(checks):
            _refuse(where, value, f"a list of {len(checks)}")
        for index, (each, check) in enumerate(zip(value, checks, strict=True)):
            check(each, f"{where}[{index}]")

    return check_all


def _instance_of(cls: type) -> _Check:
    """Check the fields of a dataclass of numbers, texts and the like."""
    hints = get_type_hints(cls)
    return _record(**{field.name: _BY_HINT[hints[field.name]] for field in fields(cls)})


def _any(value: Any, where: str) -> None:
    """Accept whatever a checkpoint can hold; who takes it back says what it must be."""


_TEXT, _BOOL, _TENSOR = _of_kind(str), _of_kind(bool), _of_kind(Tensor)
_NUMBER = _of_kind(float, int)
_STATE = _dict_of(_any)
_SOURCE = _record(kind=_TEXT, distribution=_TEXT, sha256=_TEXT, file=_TEXT)
_BY_HINT: Mapping[Any, _Check] = {
    int: _count(),
    float: _NUMBER,
    float | None: _or_none(_NUMBER),
    str: _TEXT,
    bool: _BOOL,
    Mapping[str, float]: _dict_of(_NUMBER),
}
_RANDOM = _record(
    python=_row(_count(), _list_of(_count(), _WORDS), _or_none(_NUMBER)),
    numpy=_row(_TEXT, _TENSOR, _count(), _count(), _NUMBER),
    torch=_TENSOR,
    cuda=_list_of(_TENSOR),
    loader=_list_of(_TENSOR),
)


def _maybe_random(value: Any, where: str) -> None:
    if value != {}:
        _RANDOM(value, where)


def _history(value: Any, where: str) -> None:
    _record(
        epochs=_list_of(_instance_of(EpochRecord)),
        measurements=_list_of(_instance_of(Measurement)),
        order=_list_of(_one_of("epoch", "measurement")),
    )(value, where)
    for kind in ("epoch", "measurement"):
        count, listed = len(value[f"{kind}s"]), value["order"].count(kind)
        if count != listed:
            raise MisfitError(
                f"has {count} records of the kind {kind}, and {listed} in their order"
            )


def _components(value: Any, where: str) -> None:
    _dict_of(_record(name=_TEXT, source=_SOURCE, options=_STATE))(value, where)
    for kind in value:
        _one_of(*GROUPS)(kind, f"{where}: the kind")


_CONTENT: Mapping[str, _Check] = {
    "format": _count(),
    "versions": _dict_of(_TEXT),
    "config": _STATE,
    "dataset": _record(name=_TEXT, sha256=_dict_of(_TEXT)),
    "components": _components,
    "plugins": _list_of(
        _record(
            name=_TEXT,
            use=_TEXT,
            source=_SOURCE,
            options=_STATE,
            changes_training=_BOOL,
            left_out=_BOOL,
            state=_or_none(_STATE),
        )
    ),
    "kinds": _dict_of(_TEXT),
    "epoch": _count(),
    "iteration": _count(),
    "steps": _count(),
    "left_epoch": _count(),
    "epoch_length": _or_none(_count(1)),
    "ended": _one_of(*_ENDINGS),
    "model": _STATE,
    "buffers": _list_of(_record(names=_list_of(_TEXT), value=_TENSOR)),
    "frozen": _list_of(_TEXT),
    "loss": _STATE,
    "optimizer": _STATE,
    "history": _history,
    "recorder": _record(
        iteration=_count(),
        learning_rate=_or_none(_NUMBER),
        steps=_count(),
        losses=_or_none(_TENSOR),
        batch_sizes=_list_of(_count()),
        loss_sum=_NUMBER,
        samples=_count(),
        last_loss=_NUMBER,
        seconds=_NUMBER,
    ),
    "random": _RANDOM,
    "epoch_random": _maybe_random,
}
