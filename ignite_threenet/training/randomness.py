"""The state of all random generators: to put back after a measurement, and to save."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def get_random_state(loader: object = None) -> dict[str, Any]:
    """Read the state of every random generator that training may draw from.

    Args:
        loader: its own generator, or its sampler's, is read too.

    Returns:
        Plain values and tensors: of Python, of NumPy, of torch on the CPU and on each CUDA device
        in use, and of the loader.
    """
    state: Any = np.random.get_state()
    name, keys, position, has_gauss, gauss = state
    return {
        "python": _as_lists(random.getstate()),
        "numpy": [str(name), torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        "torch": torch.get_rng_state(),
        "cuda": _cuda_states(),
        "loader": [generator.get_state() for generator in _generators(loader)],
    }


def set_random_state(state: Mapping[str, Any], loader: object = None) -> None:
    """Put back what get_random_state() gave."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    for generator, saved in zip(_generators(loader), state["loader"], strict=True):
        generator.set_state(saved)


def check_random_state(state: Mapping[str, Any], loader: object = None) -> None:
    """Refuse what set_random_state() would not take; the generators stay as they are.

    Raises:
        ValueError: a state has another length or another range.
        RuntimeError: torch refuses one.
    """
    with keep_random_state(loader):
        set_random_state(state, loader)


@contextmanager
def keep_random_state(loader: object) -> Iterator[None]:
    """Restore the random generators after a pass over a loader, which may shuffle or distort.

    Args:
        loader: its own generator, or its sampler's, is restored too.

    Example:
        >>> torch.manual_seed(0).initial_seed()
        0
        >>> with keep_random_state([]):
        ...     drawn = torch.rand(1)
        >>> drawn == torch.rand(1)
        tensor([True])
    """
    state = get_random_state(loader)
    try:
        yield
    finally:
        set_random_state(state, loader)


def _cuda_states() -> list[torch.Tensor]:
    # Asked for, a state would bring CUDA up where nobody uses it.
    is_up = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.cuda.get_rng_state_all() if is_up else []


def _generators(loader: object) -> list[torch.Generator]:
    batch_sampler = getattr(loader, "batch_sampler", None)
    owners = (
        loader,
        batch_sampler,
        *(getattr(each, "sampler", None) for each in (loader, batch_sampler)),
    )
    found = (getattr(owner, "generator", None) for owner in owners)
    generators = {id(each): each for each in found if isinstance(each, torch.Generator)}
    return list(generators.values())


def _as_lists(value: Any) -> Any:
    return [_as_lists(each) for each in value] if isinstance(value, tuple) else value
