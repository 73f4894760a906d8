import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from ignite_threenet.randomness import keep_random_state

DATASET = TensorDataset(torch.arange(8))


@pytest.mark.parametrize(
    "draw",
    [random.random, np.random.random, lambda: torch.rand(1).item()],
    ids=["python", "numpy", "torch"],
)
def test_what_is_drawn_inside_is_drawn_again_after_it(draw: Callable[[], float]) -> None:
    with keep_random_state([]):
        inside = draw()

    assert draw() == inside


def with_generator(generator: torch.Generator) -> DataLoader[tuple[torch.Tensor, ...]]:
    return DataLoader(DATASET, shuffle=True, generator=generator)


def with_sampler(generator: torch.Generator) -> DataLoader[tuple[torch.Tensor, ...]]:
    return DataLoader(DATASET, sampler=RandomSampler(DATASET, generator=generator))


@pytest.mark.parametrize("make_loader", [with_generator, with_sampler])
def test_a_loaders_own_generator_is_restored(
    make_loader: Callable[[torch.Generator], DataLoader[tuple[torch.Tensor, ...]]],
) -> None:
    loader = make_loader(torch.Generator().manual_seed(0))

    with keep_random_state(loader):
        inside = [batch[0].item() for batch in loader]

    assert [batch[0].item() for batch in loader] == inside


def test_an_error_restores_too() -> None:
    drawn = []

    def draw_and_fail() -> None:
        drawn.append(torch.rand(1))
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"), keep_random_state([]):
        draw_and_fail()

    assert torch.equal(torch.rand(1), drawn[0])
