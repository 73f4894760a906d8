"""Tests of a compiled training step."""

import logging
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from conftest import Batches, MakeBatches, MakeConfig
from ignite.engine import Events
from torch import Tensor, nn

from ignite_threenet import Run, ThreeNet, create_trainer


def train(model: nn.Module, batches: Batches, **options: Any) -> list[Tensor]:
    """Train from the same weights; give the losses of the iterations."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = create_trainer(model, optimizer, nn.NLLLoss(), **options)
    losses: list[Tensor] = []

    @trainer.on(Events.ITERATION_COMPLETED)
    def keep_loss() -> None:
        assert isinstance(trainer.state.output, Tensor)
        losses.append(trainer.state.output)

    trainer.run(batches, max_epochs=2)
    return losses


def weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in model.parameters()]


def twins(make: Any) -> tuple[nn.Module, nn.Module]:
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(make())
    return models[0], models[1]


def assert_close(ones: Iterable[Tensor], others: Iterable[Tensor], atol: float = 1e-5) -> None:
    for one, other in zip(ones, others, strict=True):
        torch.testing.assert_close(one, other, atol=atol, rtol=1e-4)


@pytest.mark.usefixtures("without_code")
def test_losses_and_weights_are_those_of_autograd(make_batches: MakeBatches) -> None:
    compiled, plain = twins(ThreeNet)
    batches = make_batches(count=3) + make_batches(count=1, batch_size=5)

    losses = train(compiled, batches, compiled=True)

    assert_close(losses, train(plain, batches))
    assert_close(weights(compiled), weights(plain))
    assert all(not loss.requires_grad and loss.shape == () for loss in losses)


@pytest.mark.usefixtures("without_code")
def test_the_precision_is_that_of_autocast(make_batches: MakeBatches) -> None:
    compiled, plain = twins(ThreeNet)

    losses = train(compiled, make_batches(), compiled=True, autocast=torch.bfloat16)

    assert_close(losses, train(plain, make_batches(), autocast=torch.bfloat16), atol=1e-2)


@pytest.mark.usefixtures("without_code")
def test_shared_and_frozen_parameters_are_respected(make_batches: MakeBatches) -> None:
    def make() -> nn.Module:
        shared = nn.Linear(784, 784)
        model = nn.Sequential(shared, shared, nn.Linear(784, 10), nn.LogSoftmax(dim=1))
        shared.bias.requires_grad_(False)
        return model

    compiled, plain = twins(make)
    batches = [(images / 100, labels) for images, labels in make_batches(count=2)]

    assert_close(train(compiled, batches, compiled=True), train(plain, batches))
    assert_close(weights(compiled), weights(plain))


@pytest.mark.usefixtures("without_code")
def test_a_model_that_changes_its_buffers_trains_uncompiled_with_a_warning(
    make_batches: MakeBatches, caplog: pytest.LogCaptureFixture
) -> None:
    def make() -> nn.Module:
        layers = (nn.Linear(784, 8), nn.BatchNorm1d(8), nn.Linear(8, 10), nn.LogSoftmax(dim=1))
        return nn.Sequential(*layers)

    compiled, plain = twins(make)

    train(compiled, make_batches(), compiled=True)
    train(plain, make_batches())

    assert caplog.text.count("cannot be compiled") == 1
    pairs = zip(compiled.state_dict().values(), plain.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_without_a_compiler_training_goes_on_with_a_warning(
    make_batches: MakeBatches,
    make_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def compile_nothing(function: Any, **options: Any) -> Any:
        def fail(*arguments: Any) -> None:
            raise RuntimeError("no working C++ compiler found\nin a long report")

        return fail

    monkeypatch.setattr(torch, "compile", compile_nothing)
    run = Run(make_config(compile=True), loaders={"train": make_batches()})
    run.train()

    warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert [each.getMessage() for each in warnings] == [
        "the training step cannot be compiled, so it runs as it is: no working C++ compiler found"
    ]
    other = Run(make_config(force=True), loaders={"train": make_batches()})
    other.train()
    pairs = zip(weights(run.model), weights(other.model), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.usefixtures("without_code")
def test_an_error_of_the_model_is_its_own(make_batches: MakeBatches) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(784, 10)

        def forward(self, inputs: Tensor) -> Tensor:
            raise ZeroDivisionError("in forward")

    with pytest.raises(ZeroDivisionError, match="in forward"):
        train(Broken(), make_batches(), compiled=True)


def test_a_run_compiles_for_real_and_learns(
    make_batches: MakeBatches, make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    loaders = {"train": make_batches(), "test": make_batches(seed=1)}
    model = nn.Sequential(nn.Linear(784, 10), nn.LogSoftmax(dim=1))

    summary = Run(make_config(compile=True, epochs=30), model=model, loaders=loaders).train()

    assert summary["test"]["accuracy"] > 0.9
    assert "compiling the training step" in caplog.text
