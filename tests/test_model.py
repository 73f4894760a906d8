"""Tests of ThreeNet."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from ignite_threenet import ThreeNet


def layer_sizes(model: ThreeNet) -> list[tuple[int, int]]:
    return [
        (layer.in_features, layer.out_features)
        for layer in model.modules()
        if isinstance(layer, nn.Linear)
    ]


def test_has_the_three_layers_of_its_name() -> None:
    assert layer_sizes(ThreeNet()) == [(784, 200), (200, 60), (60, 10)]


def test_has_169670_parameters_and_trains_them_all() -> None:
    parameters = list(ThreeNet().parameters())

    assert sum(parameter.numel() for parameter in parameters) == 169_670
    assert all(parameter.requires_grad for parameter in parameters)


@pytest.mark.parametrize("shape", [(5, 784), (5, 1, 28, 28), (1, 784)])
def test_gives_a_row_of_ten_for_each_sample(shape: tuple[int, ...]) -> None:
    assert ThreeNet()(torch.rand(shape)).shape == (shape[0], 10)


def test_an_image_and_its_pixels_in_a_row_are_the_same_sample() -> None:
    model, images = ThreeNet(), torch.rand(5, 1, 28, 28)

    assert torch.equal(model(images), model(images.reshape(5, 784)))


def test_rows_are_log_probabilities() -> None:
    rows = ThreeNet()(torch.randn(20, 784))

    assert (rows < 0).all()
    torch.testing.assert_close(rows.exp().sum(dim=1), torch.ones(20))


def test_applies_relu_between_the_layers_and_log_softmax_after_them() -> None:
    model, inputs = ThreeNet(), torch.randn(4, 784)
    first, second, third = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    expected = third(second(first(inputs).clamp(min=0)).clamp(min=0)).log_softmax(dim=1)

    torch.testing.assert_close(model(inputs), expected)


@pytest.mark.parametrize("hidden", [(), (7,), [9, 8, 7]])
def test_other_sizes_can_be_asked_for(hidden: tuple[int, ...]) -> None:
    model = ThreeNet(in_features=12, hidden=hidden, classes=3)
    widths = [12, *hidden, 3]

    assert layer_sizes(model) == list(pairwise(widths))
    assert model(torch.rand(2, 3, 4)).shape == (2, 3)


def test_same_seed_makes_the_same_weights() -> None:
    torch.manual_seed(3)
    weights = ThreeNet().state_dict()
    torch.manual_seed(3)
    again = ThreeNet().state_dict()

    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_a_deep_copy_shares_nothing() -> None:
    model, inputs = ThreeNet(), torch.rand(2, 784)
    twin = copy.deepcopy(model)
    before = twin(inputs)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()

    assert torch.equal(twin(inputs), before)
    assert not torch.equal(model(inputs), before)


def test_refuses_samples_of_another_size() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        ThreeNet()(torch.rand(5, 783))
