"""Tensors as a safetensors file takes them: in one piece, of the dtypes that each version knows.

What such a file does not say of a tensor is told beside it: its shape and its strides if it does
not lie in memory row by row, and its dtype if it is stored as a view of other numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

MOST_DIMENSIONS = 64
_AS_THEY_ARE = frozenset(
    {
        torch.bfloat16,
        torch.bool,
        torch.float16,
        torch.float32,
        torch.float64,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.uint16,
        torch.uint32,
        torch.uint64,
    }
)
_AS_VIEWS = {
    torch.complex64: torch.float32,
    torch.complex128: torch.float64,
    torch.float4_e2m1fn_x2: torch.uint8,
    torch.float8_e4m3fnuz: torch.uint8,
    torch.float8_e5m2fnuz: torch.uint8,
    torch.float8_e8m0fnu: torch.uint8,
}
_VIEWED = {str(dtype).removeprefix("torch."): dtype for dtype in _AS_VIEWS}


class RefusedError(Exception):
    """Something cannot be stored, or a file holds what no checkpoint does."""


def store(tensor: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """Make a tensor one that safetensors takes.

    Args:
        tensor: a dense one, on any device, of any order in memory.

    Returns:
        The same numbers in one piece, on the CPU, and what restore() needs besides.

    Raises:
        RefusedError: no file takes its layout, its dtype or its device.

    Example:
        >>> store(torch.zeros(2, 3).T)[1]
        {'shape': [3, 2], 'stride': [1, 3]}
    """
    known = tensor.dtype in _AS_THEY_ARE or tensor.dtype in _AS_VIEWS
    if tensor.layout is not torch.strided or not known:
        raise RefusedError(f"is a tensor of {tensor.layout}, {tensor.dtype}")
    try:
        return _store(tensor)
    except RuntimeError as error:  # of a kind that has no numbers, or does not give them
        raise RefusedError(f"is a tensor without numbers, on {tensor.device}") from error


def _store(tensor: Tensor) -> tuple[Tensor, dict[str, Any]]:
    dense = _densely(tensor.detach().as_subclass(Tensor).resolve_conj().resolve_neg().cpu())
    stored = dense.permute(_memory_order(dense.stride()))
    notes: dict[str, Any] = {}
    if dense.stride() != _row_by_row(dense.shape):
        notes |= {"shape": list(dense.shape), "stride": list(dense.stride())}
    if dense.dtype in _AS_VIEWS:
        notes["dtype"] = str(dense.dtype).removeprefix("torch.")
        stored = stored.contiguous().unsqueeze(-1).view(_AS_VIEWS[dense.dtype])
    return stored, notes


def _densely(tensor: Tensor) -> Tensor:
    """Keep the order in memory: some of torch's kernels walk through memory as it lies.

    Only if elements overlap, or lie apart, are they put in order.
    """
    if torch.empty_like(tensor, device="meta").stride() == tensor.stride():
        return tensor
    return tensor.contiguous()


def restore(stored: Tensor, notes: Mapping[str, Any]) -> Tensor:
    """Undo store(), into memory of torch's own.

    Args:
        stored: what a file holds.
        notes: what stands beside it, from anywhere.

    Raises:
        RefusedError: they do not fit each other.
    """
    copy = stored.clone()
    if not notes:
        _check(copy.dtype in _AS_THEY_ARE, f"holds a tensor of {copy.dtype}")
        return copy
    _check(
        notes.keys() - {"dtype"} in (set(), {"shape", "stride"}),
        "holds a tensor with other notes than dtype, or shape and stride",
    )
    dtype, shape = _viewed(copy, notes["dtype"]) if "dtype" in notes else (copy.dtype, copy.shape)
    _check(dtype in _AS_THEY_ARE or dtype in _AS_VIEWS, f"holds a tensor of {dtype}")
    stride = _row_by_row(shape)
    if "shape" in notes:
        _check_layout(notes["shape"], notes["stride"], shape)
        shape, stride = notes["shape"], notes["stride"]
    empty = torch.empty(0, dtype=dtype, device="cpu")
    return empty.set_(copy.untyped_storage(), 0, tuple(shape), tuple(stride))


def _viewed(stored: Tensor, name: Any) -> tuple[torch.dtype, Sequence[int]]:
    """Give the dtype and the shape that numbers have, which are stored as a view."""
    dtype = _VIEWED.get(name) if isinstance(name, str) else None
    if dtype is None:
        raise RefusedError("holds a tensor of an unknown dtype")
    numbers = dtype.itemsize // _AS_VIEWS[dtype].itemsize
    fits = stored.dtype is _AS_VIEWS[dtype] and stored.shape[-1:] == (numbers,)
    _check(fits, f"holds a tensor of {dtype} that is stored as something else")
    return dtype, stored.shape[:-1]


def _check_layout(shape: Any, stride: Any, stored: Sequence[int]) -> None:
    for numbers in (shape, stride):
        is_list = isinstance(numbers, list) and len(numbers) == len(stored)
        _check(is_list, f"holds a tensor of other than {len(stored)} dimensions")
        sizes = all(type(each) is int and 0 <= each < 2**63 for each in numbers)
        _check(sizes, "holds a tensor of an impossible size")
    order = _memory_order(stride)
    _check(
        [shape[dimension] for dimension in order] == list(stored),
        "holds a tensor of another size than its numbers",
    )
    if 0 in shape:
        return
    expected = 1
    for dimension in reversed(order):
        if shape[dimension] > 1:
            is_dense = stride[dimension] == expected
            _check(is_dense, "holds a tensor whose numbers overlap or lie apart")
            expected *= shape[dimension]


def _memory_order(stride: Sequence[int]) -> list[int]:
    return sorted(range(len(stride)), key=lambda dimension: -stride[dimension])


def _row_by_row(shape: Sequence[int]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def _check(is_right: bool, problem: str) -> None:
    if not is_right:
        raise RefusedError(problem)
