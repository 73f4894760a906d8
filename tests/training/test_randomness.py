import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from ignite_threenet.storage import checkpoint_file as checkpoint
from ignite_threenet.training.randomness import (
    get_random_state,
    keep_random_state,
    set_random_state,
)

DATASET = TensorDataset(torch.arange(8))


GENERATORS = pytest.mark.parametrize(
    "draw",
    [random.random, np.random.random, lambda: torch.rand(1).item()],
    ids=["python", "numpy", "torch"],
)


@GENERATORS
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


@GENERATORS
def test_a_state_that_went_through_a_checkpoint_is_the_same(draw: Callable[[], float]) -> None:
    saved = checkpoint.decode(checkpoint.encode(get_random_state()))
    drawn = [draw() for _ in range(3)]

    set_random_state(saved)

    assert [draw() for _ in range(3)] == drawn


@pytest.mark.parametrize(
    "draw", [lambda: random.gauss(0, 1), np.random.normal], ids=["python", "numpy"]
)
def test_the_second_of_a_pair_of_normal_numbers_is_part_of_the_state(
    draw: Callable[[], float],
) -> None:
    draw()
    saved = checkpoint.decode(checkpoint.encode(get_random_state()))
    drawn = draw()

    set_random_state(saved)

    assert draw() == drawn


@pytest.mark.parametrize("make_loader", [with_generator, with_sampler])
def test_a_loaders_own_generator_is_saved_for_another_loader(
    make_loader: Callable[[torch.Generator], DataLoader[tuple[torch.Tensor, ...]]],
) -> None:
    loader, other = (make_loader(torch.Generator().manual_seed(seed)) for seed in (0, 1))
    saved = checkpoint.decode(checkpoint.encode(get_random_state(loader)))
    drawn = [batch[0].item() for batch in loader]

    set_random_state(saved, other)

    assert [batch[0].item() for batch in other] == drawn


def test_a_state_that_was_read_does_not_change_with_what_is_drawn() -> None:
    saved = get_random_state()
    drawn = (random.random(), np.random.random(), torch.rand(1).item())
    set_random_state(saved)

    assert (random.random(), np.random.random(), torch.rand(1).item()) == drawn
