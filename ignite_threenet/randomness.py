"""Keeping measurements from drawing the random numbers that training would have drawn."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


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
    generators = _generators(loader)
    states = [generator.get_state() for generator in generators]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _generators(loader: object) -> list[torch.Generator]:
    owners = (loader, getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None))
    found = (getattr(owner, "generator", None) for owner in owners)
    return [generator for generator in found if isinstance(generator, torch.Generator)]
