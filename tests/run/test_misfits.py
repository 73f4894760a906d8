"""Tests of what does not fit together: refused on the first batch, or served, and nothing lost."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MakeConfig
from ignite.engine import Events
from ignite.metrics import MeanSquaredError
from ignite_threenet_plugins.checkpoint import Checkpoint
from torch import Tensor, nn
from torch.optim import SGD

from ignite_threenet import ConfigError, DataError, Plugin, Run, load_weights
from ignite_threenet.errors import PluginFailedError

SAMPLES, LABELS = torch.rand(8, 5), torch.arange(8) % 3


def net(outputs: int = 3) -> nn.Module:
    return nn.Linear(5, outputs)


def good(count: int = 3) -> list[Any]:
    return [(SAMPLES, LABELS)] * count


def make_run(make_config: MakeConfig, **parts: Any) -> Run:
    given: dict[str, Any] = {"model": net(), "loaders": {"train": good(), "test": good(1)}}
    return Run(make_config(epochs=2), **{**given, **parts})


# Loaders


BATCHES: dict[str, tuple[object, str]] = {
    "dict": ({"x": SAMPLES, "y": LABELS}, "a batch is a dict with the keys x, y"),
    "triple": ((SAMPLES, LABELS, LABELS), "a batch is a tuple of 3 (a tensor (8, 5) float32"),
    "inputs alone": (SAMPLES, "a batch is a tensor (8, 5) float32"),
    "arrays": ((SAMPLES.numpy(), LABELS.numpy()), "a batch is a tuple of 2 (of the type ndarray"),
    "two inputs": (((SAMPLES, SAMPLES), LABELS), "a batch is a tuple of 2 (a tuple of 2 (a tens"),
}


@pytest.mark.parametrize("split", ["train", "test", "valid"])
@pytest.mark.parametrize(("batch", "problem"), BATCHES.values(), ids=BATCHES)
def test_a_batch_that_is_no_pair_of_tensors_is_refused(
    make_config: MakeConfig, split: str, batch: object, problem: str
) -> None:
    run = make_run(make_config, loaders={"train": good(), split: [batch]})

    with pytest.raises(DataError) as raised:
        run.train()

    message = str(raised.value)
    assert problem in message
    assert message.endswith("; expected (inputs, targets), two tensors")
    assert run.history.epochs == []


MISFITS: dict[str, tuple[Tensor, Tensor]] = {
    "wrong shape": (torch.rand(8, 4), LABELS),
    "labels too large": (SAMPLES, LABELS + 2),
    "numbers": (SAMPLES, torch.rand(8)),
    "several labels": (SAMPLES, torch.zeros(8, 3, dtype=torch.int64)),
    "fewer labels": (SAMPLES, LABELS[:5]),
    "integers as samples": (torch.ones(8, 5, dtype=torch.int64), LABELS),
}


@pytest.mark.parametrize("split", ["train", "test", "valid"])
@pytest.mark.parametrize("batch", MISFITS.values(), ids=MISFITS)
def test_a_batch_that_does_not_fit_is_refused_before_training(
    make_config: MakeConfig, split: str, batch: tuple[Tensor, Tensor]
) -> None:
    run = make_run(make_config, loaders={"train": good(), split: [batch]})

    with pytest.raises(DataError) as raised:
        run.train()

    assert str(raised.value).startswith(f"loaders: the first batch of {split!r}, a tuple of 2 (a t")
    assert "cannot be measured: " in str(raised.value)
    assert "\n" not in str(raised.value)
    assert run.history.epochs == []
    assert run.trainer.state.iteration <= 1


@pytest.mark.parametrize(
    "outputs",
    [
        lambda each: (each, each),
        lambda each: {"logits": each},
        lambda each: each[:, :2],
        lambda each: each.sum(),
    ],
    ids=["two outputs", "a dict", "too few", "a number"],
)
def test_a_network_with_other_outputs_is_refused_before_training(
    make_config: MakeConfig, outputs: Callable[[Tensor], Any]
) -> None:
    class Other(nn.Linear):
        def forward(self, inputs: Tensor) -> Any:
            return outputs(super().forward(inputs))

    run = make_run(make_config, model=Other(5, 3))

    with pytest.raises(DataError, match=r"^loaders: the first batch of 'test'"):
        run.train()
    assert not run.directory.path.exists()


ONCE: dict[str, Callable[[], Any]] = {
    "generator": lambda: (each for each in good()),
    "map": lambda: map(tuple, good()),
    "zip": lambda: zip([SAMPLES], [LABELS], strict=True),
    "iter": lambda: iter(good()),
    "chain": lambda: itertools.chain(good(), good()),
    "filter": lambda: filter(None, [1]),
}


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("make", ONCE.values(), ids=ONCE)
def test_what_gives_its_batches_once_is_refused(
    make_config: MakeConfig, split: str, make: Callable[[], Any]
) -> None:
    with pytest.raises(ConfigError, match=rf"^loaders: '{split}' is a .*, which gives its batches"):
        make_run(make_config, loaders={"train": good(), split: make()})


def test_a_class_of_your_own_may_begin_anew_each_time(make_config: MakeConfig) -> None:
    class Again:
        def __iter__(self) -> "Again":
            self._left = 2
            return self

        def __next__(self) -> tuple[Tensor, Tensor]:
            self._left -= 1
            if self._left < 0:
                raise StopIteration
            return SAMPLES, LABELS

    run = make_run(make_config, loaders={"train": Again(), "test": Again()})

    assert run.train()["iterations"] == 4


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_loader_without_a_batch_is_refused(make_config: MakeConfig, split: str) -> None:
    run = make_run(make_config, loaders={"train": good(), split: []})

    with pytest.raises(DataError, match=split):
        run.train()


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8, torch.int8])
def test_labels_may_be_any_integers(make_config: MakeConfig, dtype: torch.dtype) -> None:
    batches = [(SAMPLES, LABELS.to(dtype))] * 3
    loaders = {"train": batches, "test": batches}
    torch.manual_seed(0)
    expected = make_run(make_config, loaders={"train": good(), "test": good()}).train()["test"]
    torch.manual_seed(0)

    run = Run(make_config(epochs=2, force=True), model=net(), loaders=loaders)

    assert run.train()["test"] == expected


def test_numbers_are_served_with_a_loss_and_metrics_for_them(make_config: MakeConfig) -> None:
    batches = [(SAMPLES, SAMPLES.sum(1, keepdim=True))] * 20
    run = make_run(
        make_config,
        model=net(1),
        loss_fn=nn.MSELoss(),
        metrics=lambda: {"error": MeanSquaredError()},
        loaders={"train": batches, "test": batches},
    )

    assert 0 <= run.train()["test"]["error"] < 10


def test_trying_out_a_batch_changes_nothing(make_config: MakeConfig) -> None:
    class Shuffled:
        def __init__(self) -> None:
            self.generator = torch.Generator().manual_seed(4)

        def __iter__(self) -> Iterator[Any]:
            for _ in range(3):
                order = torch.randperm(8, generator=self.generator)
                yield SAMPLES[order], LABELS[order]

    def train(splits: tuple[str, ...]) -> list[float]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.BatchNorm1d(5), nn.Dropout(), net())
        loaders = {split: Shuffled() for split in splits}
        run = Run(make_config(epochs=2, force=True), model=model, loaders=loaders)
        run.train()
        return [epoch.loss for epoch in run.history.epochs]

    assert train(("train",)) == train(("train", "valid", "test"))


# Losses


def test_a_loss_for_each_sample_is_refused_at_once(make_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match=r"^loss_fn: CrossEntropyLoss gives a loss for each sam"):
        make_run(make_config, loss_fn=nn.CrossEntropyLoss(reduction="none"))


def test_a_function_that_gives_several_numbers_is_refused(make_config: MakeConfig) -> None:
    def several(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    run = make_run(make_config, loss_fn=several, loaders={"train": good()}, metrics=dict)

    with pytest.raises(ConfigError, match=r"^loss_fn: gives \(8,\); expected a single number"):
        run.train()


@pytest.mark.parametrize("compiled", [False, True])
def test_a_sum_is_reported_as_a_mean(make_config: MakeConfig, compiled: bool) -> None:
    def train(reduction: str, lr: float) -> tuple[list[float], dict[str, Any]]:
        torch.manual_seed(0)
        config = make_config(epochs=2, lr=lr, force=True, compile=compiled)
        loss_fn = nn.CrossEntropyLoss(reduction=reduction)
        run = Run(config, model=net(), loss_fn=loss_fn, loaders={"train": good(), "test": good()})
        test = run.train()["test"]
        return [epoch.loss for epoch in run.history.epochs], test

    losses, test = train("sum", 0.01)
    expected_losses, expected = train("mean", 0.08)

    assert losses == pytest.approx(expected_losses)
    assert test == pytest.approx(expected)


class Scaled(nn.Module):
    """A loss with something to train."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.scale * outputs, targets) + self.scale**2


@pytest.mark.parametrize("options", [{}, {"optimizer": "muon"}, {"compile": True}], ids=str)
def test_the_parameters_of_a_loss_are_trained(
    make_config: MakeConfig, options: dict[str, Any]
) -> None:
    loss_fn = Scaled()
    config = make_config(epochs=2, lr=0.1, **options)

    Run(config, model=net(), loss_fn=loss_fn, loaders={"train": good()}).train()

    assert loss_fn.scale < 0.95


def test_an_optimizer_of_your_own_must_train_them_too(make_config: MakeConfig) -> None:
    loss_fn = Scaled()

    with pytest.raises(ConfigError, match=r"^optimizer: it does not train the 1 parameters of the"):
        make_run(make_config, loss_fn=loss_fn, optimizer=lambda model: SGD(model.parameters()))

    both = [*(model := net()).parameters(), *loss_fn.parameters()]
    make_run(make_config, model=model, loss_fn=loss_fn, optimizer=lambda _: SGD(both)).train()
    assert loss_fn.scale < 1


# What a plugin would replace


@pytest.mark.parametrize(
    "name", ["model", "optimizer", "loss_fn", "loaders", "trainer", "evaluators", "history"]
)
def test_what_a_run_is_made_of_cannot_be_replaced(make_config: MakeConfig, name: str) -> None:
    class Replaces(Plugin):
        def attach(self, run: Run) -> None:
            setattr(run, name, getattr(run, name))

    with pytest.raises(PluginFailedError, match=rf"run\.{name} cannot be replaced; it is made by"):
        make_run(make_config, plugins=[Replaces()])


# What was trained when an error comes


def fail() -> None:
    raise RuntimeError("in the midst")


@pytest.mark.parametrize(
    ("where", "event", "iterations"),
    [
        ("trainer", Events.ITERATION_COMPLETED(once=4), 4),
        ("trainer", Events.ITERATION_STARTED(once=4), 3),
        ("trainer", Events.EPOCH_COMPLETED(once=1), 3),
        ("trainer", Events.COMPLETED, 6),
        ("test", Events.STARTED, 6),
    ],
)
def test_what_was_trained_is_saved(
    make_config: MakeConfig, where: str, event: Any, iterations: int
) -> None:
    run = make_run(make_config)
    engine = run.trainer if where == "trainer" else run.evaluators[where]
    engine.add_event_handler(event, fail)

    with pytest.raises(RuntimeError, match="in the midst"):
        run.train()

    assert run.directory.read_summary()["iterations"] == iterations
    saved = load_weights(run.directory / "unfinished.safetensors")
    assert torch.equal(saved["weight"], run.model.state_dict()["weight"])
    assert not (run.directory / "model.safetensors").exists()


def test_a_step_that_fails_says_where(make_config: MakeConfig) -> None:
    class Fragile(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            if self.training and run.trainer.state.iteration == 5:
                raise ValueError("no more")
            return super().forward(inputs)

    run = make_run(make_config, model=Fragile(5, 3))

    with pytest.raises(ValueError, match="no more") as raised:
        run.train()

    assert raised.value.__notes__ == [
        "in epoch 2, iteration 5, with the batch a tensor (8, 5) float32, a tensor (8,) int64"
    ]
    assert (run.directory / "unfinished.safetensors").exists()


def test_a_run_that_goes_on_leaves_no_unfinished_model(make_config: MakeConfig) -> None:
    run = make_run(make_config, plugins=[Checkpoint(seconds=0)])
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=5), fail)
    with pytest.raises(RuntimeError, match="in the midst"):
        run.train()
    path = Path(run.directory)
    assert (path / "unfinished.safetensors").exists()

    Run.resume(
        path,
        plugins=[Checkpoint(seconds=0)],
        model=net(),
        loaders={"train": good(), "test": good(1)},
    ).train()

    assert (path / "model.safetensors").exists()
    assert not (path / "unfinished.safetensors").exists()
