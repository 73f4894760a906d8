"""Tests of putting back what a block changes of networks and optimizers."""

import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.optim import SGD, Adam

from ignite_threenet.training.kept_state import keep_state


class FirstBatchScales(nn.Module):
    """Sets its scale from the first batch, as data-dependent initializations do."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.is_set = False

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.is_set:
            with torch.no_grad():
                self.scale.copy_(1 / (inputs.std(0) + 1e-6))
            self.is_set = True
        return inputs * self.scale


class Counting(nn.Module):
    """Counts in all ways in which a module may."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.shapes: list[Any] = []
        self.kinds: Counter[str] = Counter()
        self.last: deque[int] = deque(maxlen=2)
        self.seen = {0}
        self.array = np.zeros(2)
        self.tensor = torch.zeros(2)
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("maybe", None)
        self.generator = torch.Generator().manual_seed(1)
        self.dice = random.Random(1)
        self.noise = np.random.default_rng(1)
        self.nested = {"deep": [[0]]}
        self.lock = threading.Lock()

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        self.shapes.append(inputs.shape)
        self.kinds[str(inputs.dtype)] += 1
        self.last.append(self.calls)
        self.seen.add(self.calls)
        self.array += 1
        self.tensor += 1
        self.get_buffer("total").add_(1)
        self.maybe = inputs.mean()
        self.more = "an attribute that was not there"
        self.nested["deep"][0].append(1)
        drawn = torch.rand(3, generator=self.generator)
        return inputs + drawn + self.dice.random() + self.noise.random()

    def facts(self) -> list[Any]:
        state = self.generator.get_state().tolist()
        return [
            *(self.calls, list(self.shapes), dict(self.kinds), list(self.last), set(self.seen)),
            *(self.array.tolist(), self.tensor.tolist(), self.total, self.maybe),
            *(hasattr(self, "more"), repr(self.nested), state),
            *(self.dice.getstate(), str(self.noise.bit_generator.state)),
        ]


def weigh(layer: nn.Module) -> nn.Module:
    with pytest.warns(FutureWarning, match="weight_norm"):
        return nn.utils.weight_norm(layer)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "scales of the first batch": FirstBatchScales,
    "batch norm": lambda: nn.BatchNorm1d(3),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(3, 3)),
    "old spectral norm": lambda: nn.utils.spectral_norm(nn.Linear(3, 3)),
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(3, 3)),
    "old weight norm": lambda: weigh(nn.Linear(3, 3)),
    "one inside another": lambda: nn.Sequential(nn.Linear(3, 3), FirstBatchScales()),
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_as_it_was_and_works_as_if_nothing_had_been(
    make: Callable[[], nn.Module], training: bool
) -> None:
    torch.manual_seed(1)
    model = make().train(training)
    torch.manual_seed(1)
    other = make().train(training)
    inputs = torch.rand(5, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    with keep_state(model):
        model(torch.zeros(5, 3))
        model(torch.rand(5, 3)).sum().backward()

    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(each.grad is None for each in model.parameters())
    assert torch.equal(model(inputs), other(inputs))


def test_whatever_a_module_counts_is_put_back() -> None:
    model = Counting()
    before = model.facts()

    with keep_state(model):
        model(torch.rand(3))
        assert model.facts() != before

    assert model.facts() == before


def test_it_is_put_back_also_after_an_error() -> None:
    model = FirstBatchScales()

    def fail() -> None:
        with keep_state(model):
            model(torch.rand(5, 3))
            raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        fail()

    assert (model.scale.tolist(), model.is_set) == ([1, 1, 1], False)


class Built(nn.Module):
    """Makes its layer when it sees the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer: nn.Module | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        if self.layer is None:
            self.layer = nn.Linear(inputs.shape[1], 2)
        outputs: Tensor = self.layer(inputs)
        return outputs


@pytest.mark.parametrize("make", [lambda: nn.LazyLinear(2), Built], ids=["lazy", "built"])
def test_a_module_keeps_the_shapes_that_it_was_given(make: Callable[[], nn.Module]) -> None:
    model = nn.Sequential(make(), nn.BatchNorm1d(2))

    with keep_state(model):
        first = model(torch.ones(4, 3))

    weights = list(model.parameters())
    assert [tuple(each.shape) for each in weights] == [(2, 3), (2,), (2,), (2,)]
    assert model.get_buffer("1.num_batches_tracked") == 0
    assert torch.equal(model(torch.ones(4, 3)), first)
    assert [id(each) for each in model.parameters()] == [id(each) for each in weights]


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_an_optimizer_is_put_back_with_its_network(kind: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(2)
    model = nn.Linear(3, 2)
    optimizer = kind(model.parameters(), lr=0.1, weight_decay=0.1)  # type: ignore[call-arg]
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    weight = model.weight.tolist()

    with keep_state(model, optimizer):
        for _ in range(3):
            model(torch.rand(4, 3)).sum().backward()
            optimizer.step()
        optimizer.param_groups[0]["lr"] = 5.0

    assert model.weight.tolist() == weight
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert dict(optimizer.state) == {}
    assert scheduler.optimizer is optimizer


def test_two_layers_that_share_a_weight_share_it_afterwards() -> None:
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    weight = other.weight = one.weight

    with keep_state(nn.Sequential(one, other)), torch.no_grad():
        nn.init.constant_(weight, 7)
        other.weight = nn.Parameter(torch.zeros(3, 3))

    assert one.weight is weight
    assert other.weight is weight
    assert not (weight == 7).any()


def test_a_buffer_of_one_number_that_is_shown_several_times_can_be_kept() -> None:
    model = nn.Linear(3, 3)
    model.register_buffer("ones", torch.ones(1).expand(5))

    with keep_state(model):
        model(torch.rand(2, 3))

    assert model.get_buffer("ones").tolist() == [1] * 5
