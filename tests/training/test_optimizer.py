"""Tests of the optimizers that a run can be asked for."""

import copy
import io
from typing import Any

import pytest
import torch
from helpers import assert_same_weights
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Muon, Optimizer

from ignite_threenet import RunConfig
from ignite_threenet.training.optimizer import JoinedOptimizer, create_optimizer

NAMES = ("sgd", "adam", "adamw", "muon")


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))


def create(name: str, model: nn.Module, **options: Any) -> Optimizer:
    return create_optimizer(model, RunConfig(optimizer=name, **{"lr": 0.1} | options))  # type: ignore[arg-type]


def compute_loss(model: nn.Module) -> Tensor:
    outputs: Tensor = model(torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.0, 2.0]]))
    return (outputs - 1).square().sum()


def take_steps(model: nn.Module, *optimizers: Optimizer, count: int = 1) -> None:
    for _ in range(count):
        model.zero_grad()
        compute_loss(model).backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()


def copy_values(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def assert_close(first: nn.Module, second: nn.Module) -> None:
    torch.testing.assert_close(dict(first.named_parameters()), dict(second.named_parameters()))


# Which one, with what


@pytest.mark.parametrize(
    ("name", "cls"), [("sgd", SGD), ("adam", Adam), ("adamw", AdamW), ("muon", JoinedOptimizer)]
)
def test_the_name_chooses_the_class(name: str, cls: type[Optimizer], model: nn.Module) -> None:
    assert type(create(name, model)) is cls


@pytest.mark.parametrize("name", NAMES)
def test_rate_and_weight_decay_reach_every_group(name: str, model: nn.Module) -> None:
    groups = create(name, model, lr=0.02, weight_decay=0.3).param_groups

    assert {(group["lr"], group["weight_decay"]) for group in groups} == {(0.02, 0.3)}


@pytest.mark.parametrize("name", NAMES)
def test_weights_do_not_decay_where_nobody_asks_for_it(name: str, model: nn.Module) -> None:
    assert {group["weight_decay"] for group in create(name, model).param_groups} == {0.0}


def test_momentum_reaches_sgd(model: nn.Module) -> None:
    group = create("sgd", model, momentum=0.9, nesterov=True).param_groups[0]

    assert (group["momentum"], group["nesterov"]) == (0.9, True)


@pytest.mark.parametrize("name", ["adam", "adamw", "muon"])
def test_betas_reach_adams_averages(name: str, model: nn.Module) -> None:
    assert create(name, model, betas=(0.8, 0.95)).param_groups[-1]["betas"] == (0.8, 0.95)


@pytest.mark.parametrize("name", ["adam", "adamw", "muon"])
def test_betas_are_torchs_own_where_none_are_given(name: str, model: nn.Module) -> None:
    assert create(name, model).param_groups[-1]["betas"] == (0.9, 0.999)


@pytest.mark.parametrize("name", NAMES)
def test_each_parameter_is_in_one_group(name: str, model: nn.Module) -> None:
    optimizer = create(name, model)

    found = [id(each) for group in optimizer.param_groups for each in group["params"]]

    assert sorted(found) == sorted(id(each) for each in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_one_step_moves_every_parameter(name: str, model: nn.Module) -> None:
    before = copy_values(model)

    take_steps(model, create(name, model))

    after = copy_values(model)
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_zero_grad_reaches_every_parameter(name: str, model: nn.Module) -> None:
    compute_loss(model).backward()  # type: ignore[no-untyped-call]

    create(name, model).zero_grad()

    assert [parameter.grad for parameter in model.parameters()] == [None] * 4


@pytest.mark.parametrize("name", NAMES)
def test_the_state_goes_on_where_it_was_saved(name: str, model: nn.Module) -> None:
    optimizer = create(name, model, **({"momentum": 0.9} if name == "sgd" else {}))
    take_steps(model, optimizer, count=3)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    other_model = copy.deepcopy(model)
    other = create(name, other_model)

    other.load_state_dict(torch.load(file, weights_only=True))

    take_steps(model, optimizer, count=2)
    take_steps(other_model, other, count=2)
    assert_same_weights(model.state_dict(), other_model.state_dict())


# Muon


def test_muon_takes_the_matrices_and_adamw_the_biases(model: nn.Module) -> None:
    by_hand = copy.deepcopy(model)
    matrices = [each for each in by_hand.parameters() if each.ndim == 2]
    biases = [each for each in by_hand.parameters() if each.ndim == 1]
    parts = (
        Muon(matrices, lr=0.1, weight_decay=0.01),
        AdamW(biases, lr=0.1, weight_decay=0.01, betas=(0.8, 0.9)),
    )

    take_steps(model, create("muon", model, weight_decay=0.01, betas=(0.8, 0.9)), count=3)
    take_steps(by_hand, *parts, count=3)

    assert_close(model, by_hand)


@pytest.mark.parametrize("loaded", [False, True], ids=["new", "loaded"])
def test_a_change_of_the_rate_reaches_muon_and_adamw(model: nn.Module, loaded: bool) -> None:
    optimizer = create("muon", model)
    if loaded:
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    before = copy_values(model)

    for group in optimizer.param_groups:
        group["lr"] = 0.0
    take_steps(model, optimizer)

    after = copy_values(model)
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_muon_steps_by_the_gradients_of_a_closure_called_once(model: nn.Module) -> None:
    optimizer = create("muon", model)
    expected = compute_loss(model).item()
    before = copy_values(model)
    losses: list[float] = []

    def closure() -> float:
        optimizer.zero_grad()
        loss = compute_loss(model)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        return losses[-1]

    assert optimizer.step(closure) == expected
    assert losses == [expected]
    after = copy_values(model)
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_a_step_of_muon_without_a_closure_gives_no_loss(model: nn.Module) -> None:
    compute_loss(model).backward()  # type: ignore[no-untyped-call]

    assert create("muon", model).step() is None


def test_muon_trains_a_model_that_has_matrices_alone() -> None:
    model = nn.Linear(4, 2, bias=False)
    before = model.weight.detach().clone()

    take_steps(model, create("muon", model))

    assert not torch.equal(model.weight, before)


def test_muon_leaves_a_model_without_matrices_to_adamw() -> None:
    model = nn.LayerNorm(4)
    by_hand = copy.deepcopy(model)

    take_steps(model, create("muon", model))
    take_steps(by_hand, AdamW(by_hand.parameters(), lr=0.1, weight_decay=0.0))

    assert_close(model, by_hand)
