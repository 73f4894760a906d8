"""Tests of the embedded dataset `digits`."""

import runpy
import sys

import pytest
import torch
from torch import Tensor, nn

from ignite_threenet.data import digits
from ignite_threenet.data.digits import CHUNK, draw_digits

Drawing = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    return draw_digits(count=3_000, seed=7)


@pytest.mark.parametrize("count", [1, CHUNK, CHUNK + 1])
def test_draws_the_count_asked_for(count: int) -> None:
    images, labels = draw_digits(count, seed=0)

    assert images.shape == (count, 1, 28, 28)
    assert images.dtype == torch.uint8
    assert labels.shape == (count,)
    assert labels.dtype == torch.int64


@pytest.mark.parametrize("count", [0, -3])
def test_refuses_a_count_below_one(count: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, got {count}$"):
        draw_digits(count, seed=0)


def test_same_seed_repeats_the_digits(drawing: Drawing) -> None:
    images, labels = draw_digits(count=3_000, seed=7)

    assert torch.equal(images, drawing[0])
    assert torch.equal(labels, drawing[1])


def test_another_seed_draws_other_digits(drawing: Drawing) -> None:
    images, labels = draw_digits(count=3_000, seed=8)

    assert not torch.equal(labels, drawing[1])
    assert (images != drawing[0]).flatten(1).any(dim=1).all()


def test_global_random_state_is_neither_read_nor_changed() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    images, _ = draw_digits(count=5, seed=0)
    assert torch.equal(torch.get_rng_state(), before)

    torch.manual_seed(2)
    again, _ = draw_digits(count=5, seed=0)
    assert torch.equal(images, again)


def test_every_class_gets_about_a_tenth(drawing: Drawing) -> None:
    shares = torch.bincount(drawing[1], minlength=10) / len(drawing[1])

    assert len(shares) == 10
    assert shares.min() > 0.07
    assert shares.max() < 0.13


def test_every_image_shows_a_bright_stroke_on_black(drawing: Drawing) -> None:
    pixels = drawing[0].flatten(1)
    bright_share = (pixels > 100).float().mean(dim=1)
    dark_share = (pixels < 26).float().mean(dim=1)

    assert bright_share.min() > 0.02
    assert dark_share.min() > 0.4


def test_pixels_are_about_as_bright_as_in_mnist(drawing: Drawing) -> None:
    pixels = drawing[0].float()

    assert 25 < pixels.mean() < 45  # MNIST: 33
    assert 65 < pixels.std() < 85  # MNIST: 79


def test_digits_sit_in_the_middle(drawing: Drawing) -> None:
    mean_image = drawing[0].float().mean(dim=0)[0]
    positions = torch.arange(28.0) + 0.5
    row = mean_image.sum(dim=1) @ positions / mean_image.sum()
    column = mean_image.sum(dim=0) @ positions / mean_image.sum()

    assert row.item() == pytest.approx(14, abs=0.5)
    assert column.item() == pytest.approx(14, abs=0.5)


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_has_many_looks(drawing: Drawing, digit: int) -> None:
    looks = drawing[0][drawing[1] == digit].float().flatten(1)
    ink = looks.mean(dim=1)

    assert len(torch.unique(looks, dim=0)) == len(looks)
    assert looks.std(dim=0).max() > 50  # in shape: some pixel is now ink, now background
    assert ink.max() > 2 * ink.min()  # in weight: bold, bright strokes and thin, dim ones


def test_a_small_network_learns_the_digits() -> None:
    def standardised(images: Tensor) -> Tensor:
        return (images.flatten(1) / 255 - 0.5) / 0.5

    images, labels = draw_digits(count=4_000, seed=0)
    unseen_images, unseen_labels = draw_digits(count=1_000, seed=1)
    inputs = standardised(images)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(784, 60), nn.ReLU(), nn.Linear(60, 10))
    weights = list(network.parameters())
    for batch in torch.split(torch.arange(len(labels)).repeat(5), 50):
        loss = nn.functional.cross_entropy(network(inputs[batch]), labels[batch])
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.sub_(0.05 * gradient)
    accuracy = (network(standardised(unseen_images)).argmax(dim=1) == unseen_labels).float().mean()

    assert accuracy > 0.6


def test_importing_the_module_does_not_need_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # makes importing it an ImportError

    assert "draw_digits" in runpy.run_path(digits.__file__)
