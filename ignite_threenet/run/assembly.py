"""What a run is put together from: the data, the model that is made for it, and the rest."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from ignite.metrics import Accuracy, Loss, Metric
from ignite.utils import manual_seed
from torch import nn
from torch.optim import Optimizer

from ..config import RunConfig
from ..data.data_module import DataModule
from ..errors import ConfigError
from ..extensions.component import Component
from ..models.creation import component_of, create_model, try_out
from ..settings.choice import Choice
from ..training.device import select_device
from ..training.engines import Batch, create_evaluator, create_trainer
from ..training.history import History
from ..training.loss import LossFunction, create_loss, mean_of
from ..training.optimizer import MakeOptimizer, create_optimizer
from ..training.recorders import EpochRecorder, MeasurementRecorder
from ..training.tracked_engine import TrackedEngine

logger = logging.getLogger("ignite_threenet")
# An optimizer holds the state of one run: a second one would mix with it.
_used_optimizers: WeakSet[Optimizer] = WeakSet()
MakeMetrics = Callable[[], Mapping[str, Metric]]
"""What makes the metrics of an evaluator, anew for each."""


@dataclass(frozen=True)
class Given:
    """What a script gives in place of what is configured; None for what is configured.

    Attributes:
        model: the network, or what makes it.
        loaders: batches by split.
        loss_fn: the loss.
        make_optimizer: makes the optimizer of the model.
        make_metrics: makes the metrics of an evaluator.
    """

    model: nn.Module | Callable[..., nn.Module] | None = None
    loaders: Mapping[str, Iterable[Batch]] | None = None
    loss_fn: LossFunction | None = None
    make_optimizer: MakeOptimizer | None = None
    make_metrics: MakeMetrics | None = None

    @property
    def components(self) -> list[str]:
        """The kinds of components that need not be chosen."""
        brought = {"model": self.model, "dataset": self.loaders}
        return [kind for kind, each in brought.items() if each is not None]


@dataclass(frozen=True)
class Parts:
    """All that a run trains, and trains with.

    Attributes:
        config: what to do.
        components: the model and the dataset as they were chosen; not those that a script gives.
        device: where it is done.
        data: the loaders.
        model: the network.
        loss_fn: the loss of the training.
        optimizer: the optimizer.
        trainer: the engine of the training.
        evaluators: the engines of the measurements, by split.
        history: what is measured.
        recorder: sums up the epoch in hand.
        make_metrics: makes the metrics of an evaluator.
    """

    config: RunConfig
    components: Mapping[str, Component]
    device: torch.device
    data: DataModule
    model: nn.Module
    loss_fn: LossFunction
    optimizer: Optimizer
    trainer: TrackedEngine
    evaluators: Mapping[str, TrackedEngine]
    history: History
    recorder: EpochRecorder
    make_metrics: MakeMetrics


def assemble(choice: Choice, given: Given) -> Parts:
    """Put a run together.

    Args:
        choice: what to do, with which model and dataset; a script may give its own.
        given: what a script gives.

    Raises:
        DataError: the dataset cannot be had.
        ComponentError: the network does not fit the data.
        ConfigError: what was asked for cannot be done.
    """
    config, components = choice.config, choice.configured
    device = select_device(config.device)
    data = _load_data(config, components, given, device)
    manual_seed(config.seed)
    model = _make_model(components, given, data).to(device)
    loss_fn = given.loss_fn if given.loss_fn is not None else _configured_loss(model, config)
    if isinstance(loss_fn, nn.Module):
        loss_fn.to(device)
    optimizer = _make_optimizer(given, config, model, loss_fn)
    autocast = torch.bfloat16 if config.precision == "bf16" else None
    trainer = create_trainer(
        model, optimizer, loss_fn, device, autocast=autocast, compiled=config.compile
    )
    trainer.reraises = True
    history = History()
    make_metrics = given.make_metrics or _metrics_of(model, given.loss_fn, device)
    evaluators = {
        split: _create_evaluator(split, model, make_metrics(), trainer, history, device)
        for split in data.split_names
    }
    recorder = EpochRecorder(history, optimizer)
    return Parts(
        config,
        components,
        device,
        data,
        model,
        loss_fn,
        optimizer,
        trainer,
        evaluators,
        history,
        recorder,
        make_metrics,
    )


def _load_data(
    config: RunConfig, components: Mapping[str, Component], given: Given, device: torch.device
) -> DataModule:
    if given.loaders is not None:
        return DataModule(given.loaders)
    return DataModule.load(components["dataset"], config, device)


def _make_model(components: Mapping[str, Component], given: Given, data: DataModule) -> nn.Module:
    if given.model is None:
        return create_model(components["model"], data.shape)
    if not isinstance(given.model, nn.Module):
        return create_model(component_of(given.model), data.shape)
    if data.shape is not None:
        try_out(given.model, component_of(type(given.model)), data.shape)
    return given.model


def _configured_loss(model: nn.Module, config: RunConfig) -> LossFunction:
    return create_loss(model, config.label_smoothing)


def _make_optimizer(
    given: Given, config: RunConfig, model: nn.Module, loss_fn: LossFunction
) -> Optimizer:
    """Make the optimizer of all that is trained: the model, and the loss if it has parameters."""
    own = loss_fn if isinstance(loss_fn, nn.Module) else nn.Module()
    trained = [each for each in own.parameters() if each.requires_grad]
    if given.make_optimizer is None:
        return create_optimizer(nn.ModuleList([model, own]) if trained else model, config)
    optimizer = given.make_optimizer(model)
    if optimizer in _used_optimizers:
        raise ConfigError("optimizer: another run has this one; make a new one for each")
    _used_optimizers.add(optimizer)
    held = {id(each) for group in optimizer.param_groups for each in group["params"]}
    if any(id(each) not in held for each in trained):
        raise ConfigError(
            f"optimizer: it does not train the {len(trained)} parameters of the loss "
            f"{type(loss_fn).__name__}; give it those as well"
        )
    return optimizer


def _metrics_of(
    model: nn.Module, loss_fn: LossFunction | None, device: torch.device
) -> MakeMetrics:
    """Give what is measured by default; the loss without smoothing."""
    measured: Any = mean_of(loss_fn if loss_fn is not None else create_loss(model))
    return lambda: {"accuracy": Accuracy(device=device), "loss": Loss(measured, device=device)}


def _create_evaluator(
    split: str,
    model: nn.Module,
    metrics: Mapping[str, Metric],
    trainer: TrackedEngine,
    history: History,
    device: torch.device,
) -> TrackedEngine:
    evaluator = create_evaluator(model, metrics, device, name=f"evaluators[{split}]")
    evaluator.reraises = True
    MeasurementRecorder(history, split, trainer).attach(evaluator)
    return evaluator
