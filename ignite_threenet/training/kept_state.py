"""Putting back what a block of code changes of networks, losses and optimizers.

A copy of the object itself would do for few: locks, hooks and normalized weights cannot be copied.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

_Undo = Callable[[], object]

# Where a module holds what is registered in it.
_WITH_WEIGHTS = ("_parameters", "_modules")
_REGISTERED = (*_WITH_WEIGHTS, "_buffers")


@contextmanager
def keep_state(*owners: object) -> Iterator[None]:
    """Put back all that a block changes of modules and optimizers.

    That is: weights, buffers, gradients, modes, attributes, and what lists, dicts, arrays and
    generators among these hold. A module that was given its shapes in the block keeps them, with
    the weights that it made.

    Args:
        owners: the modules and optimizers; of what is neither, nothing is noted.

    Example:
        >>> layer = nn.BatchNorm1d(2)
        >>> with keep_state(layer):
        ...     _ = layer(torch.rand(5, 2))
        >>> layer.running_mean, layer.num_batches_tracked
        (tensor([0., 0.]), tensor(0))
    """
    snapshot = _Snapshot()
    for owner in owners:
        snapshot.take(owner)
    try:
        yield
    finally:
        snapshot.put_back()


class _Snapshot:
    """What objects hold, each looked at once, and how to put it back.

    Args:
        seen: the objects that were looked at, by identity. They are held, so that no other one
            gets the identity of one that is gone.
    """

    def __init__(self, seen: dict[int, object] | None = None) -> None:
        self._seen: dict[int, object] = {} if seen is None else seen
        self._undos: list[_Undo] = []

    def take(self, value: object) -> None:
        """Note what an object holds, if it is of a kind that can change."""
        if id(value) in self._seen:
            return
        undo = self._undo_module(value) if isinstance(value, nn.Module) else _undo_of(value)
        if undo is not None:
            self._seen[id(value)] = value
            self._undos.append(undo)
            self.take_all(_held_by(value))

    def take_all(self, values: Iterable[object]) -> None:
        """Note what several objects hold."""
        for each in values:
            self.take(each)

    def put_back(self) -> None:
        """Put everything back, the outer before the inner."""
        with torch.no_grad():
            for undo in self._undos:
                undo()

    def _undo_module(self, module: nn.Module) -> _Undo:
        held = vars(module)
        kept = dict(held)
        registered = {name: dict(held[name]) for name in _REGISTERED}
        was_lazy = _is_lazy(module)
        attributes = _Snapshot(self._seen)
        if not was_lazy:
            attributes.take_all(value for name, value in kept.items() if name not in _REGISTERED)

        def undo() -> None:
            # One that made weights when it saw its first batch has its shapes now.
            is_built = any(held[name].keys() - registered[name] for name in _WITH_WEIGHTS)
            if was_lazy or is_built:
                module.training = kept["training"]
                return
            _undo_mapping(held, kept)
            for name in _REGISTERED:
                _undo_mapping(held[name], registered[name])
            attributes.put_back()

        return undo


def _held_by(value: Any) -> list[object]:
    """Give what can change in an object by itself."""
    match value:
        case nn.Module():
            return [each for name in _REGISTERED for each in vars(value)[name].values()]
        case Optimizer():
            return list(vars(value).values())
        case Mapping():
            return [*value.keys(), *value.values()]
        case list() | tuple() | deque() | set():
            return list(value)
        case _:
            return []


def _undo_of(value: Any) -> _Undo | None:
    match value:
        case Tensor():
            return _undo_tensor(value)
        case Optimizer():
            return partial(_undo_mapping, vars(value), dict(vars(value)))
        case MutableMapping():
            return partial(_undo_mapping, value, dict(value))
        case list() | deque() | bytearray():
            return partial(_undo_sequence, value, list(value))
        case set():
            return partial(_undo_mapping, value, set(value))
        case np.ndarray():
            return partial(np.copyto, value, value.copy())
        case torch.Generator():
            return partial(value.set_state, value.get_state())
        case random.Random():
            return partial(value.setstate, value.getstate())
        case np.random.Generator():
            return partial(setattr, value.bit_generator, "state", value.bit_generator.state)
        case tuple():
            return lambda: None  # what it holds may change
        case _:
            return None


def _undo_mapping(held: Any, kept: Any) -> None:
    held.clear()
    held.update(kept)


def _undo_sequence(held: Any, kept: list[Any]) -> None:
    held.clear()
    held.extend(kept)


def _is_lazy(module: nn.Module) -> bool:
    own = (*module._parameters.values(), *module._buffers.values())
    return any(each is not None and is_lazy(each) for each in own)


def _undo_tensor(tensor: Tensor) -> _Undo:
    needs_gradient, gradient = tensor.requires_grad, tensor.grad if tensor.is_leaf else None
    if is_lazy(tensor) or tensor.is_meta or tensor.is_inference():
        return lambda: None
    kept = tensor.detach().clone()
    kept_gradient = gradient.clone() if gradient is not None else None

    def undo() -> None:
        data = tensor.detach()
        if data.shape != kept.shape or data.dtype != kept.dtype:
            tensor.data = kept
        elif not torch.equal(data, kept):
            data.copy_(kept)
        if tensor.is_leaf:
            tensor.requires_grad_(needs_gradient)
            if gradient is not None and kept_gradient is not None:
                gradient.copy_(kept_gradient)
            tensor.grad = gradient

    return undo
