"""Nested plain values as JSON, with the tensors beside it.

None, a bool, a number, text and a list are themselves. All else is an object of one name:

    {"dict": [[key, value], ...]}   in its order, with keys that are text or 64-bit integers
    {"tuple": [...]}
    {"tensor": {"name": ...}}       an entry of the file, and how it lies in memory
    {"int": "0x1000..."}            an integer of more than 64 bits
    {"float": "7ff0000000000000"}   the bits of NaN or of an infinity
    {"str": "eda080"}               the bytes of text that is no Unicode: with lone surrogates
"""

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import CheckpointError
from .stored_tensor import RefusedError, restore, store

_MOST_LEVELS = 100

# Integers can be chosen so that a dict of them is slow; text cannot.
_MOST_INTEGER_KEYS = 2**16
_MOST_SHOWN = 100

# The one name that safetensors keeps for itself.
_METADATA = "__metadata__"


def pack(content: Mapping[str, Any], where: str) -> tuple[Any, dict[str, Tensor]]:
    """Turn plain values and tensors into what JSON knows, and the tensors by their names.

    Args:
        content: None, bool, int, float, str, tensors, and lists, tuples and dicts of these.
        where: what messages call the content.

    Raises:
        CheckpointError: content holds something else; the message says where and what.

    Example:
        >>> pack({"at": (1, float("inf"))}, "state")
        ({'dict': [['at', {'tuple': [1, {'float': '7ff0000000000000'}]}]]}, {})
    """
    packer = _Packer(where)
    return packer.pack(content, where, _MOST_LEVELS), packer.tensors


def unpack(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """Undo pack().

    Args:
        tree: what JSON gave, from anywhere.
        tensors: the tensors by their names; it is empty afterwards.

    Raises:
        RefusedError: pack() does not give this.
    """
    content = _unpack(tree, tensors, _MOST_LEVELS)
    if tensors:
        raise RefusedError(f"holds a tensor that belongs nowhere: {shown(min(tensors))}")
    return content


def parse_json(text: str) -> Any:
    """Read JSON in which no name stands twice in one object.

    Raises:
        RefusedError: one does.
        ValueError: the text is no JSON.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)


def shown(text: str) -> str:
    """Spell text that somebody else chose: on one line, and not too long."""
    return ascii(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}...")


class _Packer:
    """Packs values, and collects the tensors among them.

    Attributes:
        tensors: the tensors, as they are stored, by their names in the file.
    """

    def __init__(self, label: str) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._label = label
        self._memory: set[int] = set()

    def pack(self, value: Any, where: str, levels: int) -> Any:
        if isinstance(value, Tensor):
            return {"tensor": self._pack_tensor(value, where)}
        if not isinstance(value, Mapping | list | tuple):
            return _pack_scalar(value, where)
        if levels == 0:
            raise CheckpointError(self._label, "is nested too deeply, or holds itself")
        if isinstance(value, Mapping):
            return {"dict": self._pack_dict(value, where, levels - 1)}
        items = [
            self.pack(each, f"{where}[{index}]", levels - 1) for index, each in enumerate(value)
        ]
        return {"tuple": items} if isinstance(value, tuple) else items

    def _pack_dict(self, value: Mapping[Any, Any], where: str, levels: int) -> list[Any]:
        for key in value:
            if type(key) not in (str, int):
                raise CheckpointError(where, f"has the key {key!r}; expected a str or an int")
            if type(key) is int and not _is_word(key):
                raise CheckpointError(where, "has an integer of more than 64 bits as a key")
        if _has_too_many_integers(value):
            raise CheckpointError(where, f"has more than {_MOST_INTEGER_KEYS} integers as keys")
        return [
            [_pack_scalar(key, where), self.pack(each, f"{where}: {_format(key)}", levels)]
            for key, each in value.items()
        ]

    def _pack_tensor(self, tensor: Tensor, where: str) -> dict[str, Any]:
        try:
            stored, notes = store(tensor)
        except RefusedError as error:
            raise CheckpointError(where, str(error)) from error
        # safetensors takes no two tensors that share memory.
        memory = stored.untyped_storage().data_ptr()
        name = self._free_name(where.removeprefix(f"{self._label}: "))
        self.tensors[name] = stored.clone() if memory in self._memory else stored
        self._memory.add(memory)
        return {"name": name, **notes}

    def _free_name(self, name: str) -> str:
        while name in self.tensors or name == _METADATA:
            name += "'"
        return name


def _pack_scalar(value: Any, where: str) -> Any:
    if value is None or type(value) is bool:
        return value
    if type(value) is int:
        return value if _is_word(value) else {"int": hex(value)}
    if type(value) is float:
        return value if math.isfinite(value) else {"float": struct.pack(">d", value).hex()}
    if type(value) is str:
        raw = value.encode("utf-8", "surrogatepass")
        return value if _is_unicode(raw) else {"str": raw.hex()}
    raise CheckpointError(where, f"is a {type(value).__name__}; expected a plain value or a tensor")


def _unpack(value: Any, tensors: dict[str, Tensor], levels: int) -> Any:
    match value:
        case list():
            return _unpack_items(value, tensors, levels)
        case dict() if len(value) == 1:
            return _unpack_object(*next(iter(value.items())), tensors, levels)
        case dict():
            raise RefusedError("holds a value of no kind, or of two")
    _check_canonical(value, value)
    return value


def _unpack_object(kind: str, value: Any, tensors: dict[str, Tensor], levels: int) -> Any:
    match kind, value:
        case "dict", list():
            return _unpack_dict(value, tensors, levels)
        case "tuple", list():
            return tuple(_unpack_items(value, tensors, levels))
        case "tensor", dict():
            return _unpack_tensor(value, tensors)
        case "int" | "float" | "str", str():
            scalar = _unpack_scalar(kind, value)
            _check_canonical(scalar, {kind: value})
            return scalar
    raise RefusedError(f"holds a value of an unknown kind: {shown(kind)}")


def _unpack_items(values: list[Any], tensors: dict[str, Tensor], levels: int) -> list[Any]:
    if levels == 0:
        raise RefusedError("is nested too deeply")
    return [_unpack(each, tensors, levels - 1) for each in values]


def _unpack_dict(pairs: list[Any], tensors: dict[str, Tensor], levels: int) -> dict[Any, Any]:
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise RefusedError("holds a dict of other than pairs")
    keys = [_unpack(key, tensors, 0) for key, _ in pairs]
    if not all(type(key) is str or (type(key) is int and _is_word(key)) for key in keys):
        raise RefusedError("holds a key that is neither text nor a 64-bit integer")
    # Before they are put into a dict, which is what takes the time.
    if sum(type(key) is int for key in keys) > _MOST_INTEGER_KEYS:
        raise RefusedError(f"holds more than {_MOST_INTEGER_KEYS} integers as keys")
    values = _unpack_items([value for _, value in pairs], tensors, levels)
    unpacked = dict(zip(keys, values, strict=True))
    if len(unpacked) != len(pairs):
        raise RefusedError("holds a key twice in one dict")
    return unpacked


def _unpack_tensor(notes: dict[str, Any], tensors: dict[str, Tensor]) -> Tensor:
    name = notes.get("name")
    if not isinstance(name, str):
        raise RefusedError("holds a tensor without a name")
    if name not in tensors:
        raise RefusedError(f"holds a tensor twice, or not at all: {shown(name)}")
    return restore(tensors.pop(name), {key: notes[key] for key in notes if key != "name"})


def _unpack_scalar(kind: str, text: str) -> int | float | str:
    if kind == "int":
        return int(text, 16)
    raw = bytes.fromhex(text)
    if kind == "str":
        return raw.decode("utf-8", "surrogatepass")
    number: float = struct.unpack(">d", raw)[0]
    return number


def _check_canonical(scalar: Any, written: Any) -> None:
    """Make sure that a value is written as pack() does it."""
    packed = _pack_scalar(scalar, "")
    if packed != written:
        raise RefusedError("holds a value that is written in another way")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RefusedError("holds a name twice")
    return found


def _refuse_constant(name: str) -> None:
    raise RefusedError(f"holds the number {name}")


def _has_too_many_integers(keys: Mapping[Any, Any]) -> bool:
    return sum(type(key) is int for key in keys) > _MOST_INTEGER_KEYS


def _is_word(value: int) -> bool:
    return -(2**63) <= value < 2**63


def _is_unicode(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _format(key: str | int) -> str:
    text = str(key)
    return text if text.isprintable() else ascii(key)
