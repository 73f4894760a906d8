"""The training loop and the evaluation loop, as Ignite engines."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import ConfigError, DataError
from .compilation import CompiledGradients
from .loss import LossFunction, check_loss, mean_of
from .tracked_engine import TrackedEngine

Batch = tuple[Tensor, Tensor]

# Parts of a batch that a message names.
_MOST_DESCRIBED = 4


def create_trainer(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: LossFunction,
    device: torch.device | str = "cpu",
    *,
    autocast: torch.dtype | None = None,
    compiled: bool = False,
) -> TrackedEngine:
    """Create an engine that takes one optimizer step for each batch.

    Each module keeps its own mode: one that came in evaluation mode, such as a frozen BatchNorm,
    stays so. Of a network that came in evaluation mode as a whole, all modules are trained.

    ``engine.state.output`` is the batch's mean loss: a scalar tensor, detached, on the device.
    Reading it with ``.item()`` makes the host wait for the device, so do that seldom.

    Args:
        model: the network, already on the device.
        optimizer: the optimizer of its parameters.
        loss_fn: takes the model's output and the targets, returns a scalar. One that says
            ``reduction="sum"`` is differentiated as it is, and reported as a mean.
        device: where the batches go.
        autocast: the dtype in which torch.autocast computes what it deems safe, such as matrix
            products; None for the dtypes of the tensors themselves.
        compiled: compute the loss and its gradients by torch.compile: seconds of compiling for
            less time in each iteration. What cannot be compiled runs as it is, with a warning.

    Returns:
        An engine for any iterable of ``(inputs, targets)``, two tensors. Targets that are integers
        become int64.

    Raises:
        ConfigError: loss_fn gives a loss for each sample.

    Example:
        >>> model = nn.Linear(4, 2)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = create_trainer(model, optimizer, nn.CrossEntropyLoss())
        >>> batches = [(torch.ones(3, 4), torch.tensor([0, 1, 1]))] * 5
        >>> state = trainer.run(batches, max_epochs=2)
        >>> state.iteration, state.output.shape
        (10, torch.Size([]))
    """
    check_loss(loss_fn)
    is_sum = mean_of(loss_fn) is not loss_fn
    if autocast is None:
        precision: Callable[[], AbstractContextManager[Any]] = nullcontext
    else:
        precision = partial(torch.autocast, torch.device(device).type, autocast)

    def differentiate(inputs: Tensor, targets: Tensor) -> Tensor:
        optimizer.zero_grad()
        with precision():
            loss = loss_fn(model(inputs), targets)
        if loss.dim() > 0:
            raise ConfigError(f"loss_fn: gives {tuple(loss.shape)}; expected a single number")
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    if compiled:
        differentiate = CompiledGradients(model, loss_fn, differentiate, precision)

    mode = _TrainingMode(model)

    def train_step(engine: Engine, batch: Batch) -> Tensor:
        mode.resume()
        inputs, targets = _to_device(batch, device, "trainer")
        try:
            loss = differentiate(inputs, targets)
            optimizer.step()
        except Exception as error:
            error.add_note(_describe_place(engine, inputs, targets))
            raise
        return loss / len(targets) if is_sum else loss

    return TrackedEngine(train_step, name="trainer")


def create_evaluator(
    model: nn.Module,
    metrics: Mapping[str, Metric] | None = None,
    device: torch.device | str = "cpu",
    *,
    name: str = "evaluator",
) -> TrackedEngine:
    """Create an engine that applies the model to each batch, in evaluation mode.

    ``engine.state.output`` is ``(outputs, targets)``, on the device and without a graph;
    ``engine.state.metrics`` holds the metrics once the engine has run. Each module is left in the
    mode in which it was found.

    Args:
        model: the network, already on the device.
        metrics: Ignite metrics by name, attached in this order.
        device: where the batches go.
        name: what errors and plans call the engine.

    Returns:
        An engine for any iterable of ``(inputs, targets)``.

    Example:
        >>> from ignite.metrics import Accuracy
        >>> evaluator = create_evaluator(nn.Identity(), {"accuracy": Accuracy()})
        >>> outputs, targets = torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1])
        >>> evaluator.run([(outputs, targets)]).metrics
        {'accuracy': 0.5}
    """

    def evaluation_step(engine: Engine, batch: Batch) -> Batch:
        with evaluation_mode(model), torch.no_grad():
            inputs, targets = _to_device(batch, device, name)
            return model(inputs), targets

    engine = TrackedEngine(evaluation_step, name=name)
    for metric_name, metric in (metrics or {}).items():
        metric.attach(engine, metric_name)
    return engine


def _to_device(batch: Batch, device: torch.device | str, engine: str) -> Batch:
    """Check that a batch is a pair of tensors, and put them on the device."""
    is_pair = isinstance(batch, list | tuple) and len(batch) == 2
    if not (is_pair and all(isinstance(each, Tensor) for each in batch)):
        expected = "expected (inputs, targets), two tensors"
        raise DataError(f"{engine}: a batch is {describe(batch)}; {expected}")
    inputs, targets = (each.to(device, non_blocking=True) for each in batch)
    is_integer = not (targets.is_floating_point() or targets.is_complex())
    if is_integer and targets.dtype not in (torch.int64, torch.bool):
        # Losses take classes as int64 alone.
        targets = targets.long()
    return inputs, targets


def describe(value: object) -> str:
    """Say what a batch, or something in its place, is and holds."""
    match value:
        case Tensor():
            return f"a tensor {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
        case list() | tuple():
            what = ", ".join(describe(each) for each in value[:_MOST_DESCRIBED])
            more = ", ..." if len(value) > _MOST_DESCRIBED else ""
            return f"a {type(value).__name__} of {len(value)} ({what}{more})"
        case Mapping():
            return f"a {type(value).__name__} with the keys {', '.join(map(str, value))}"
        case _:
            return f"of the type {type(value).__name__}"


def _describe_place(engine: Engine, inputs: Tensor, targets: Tensor) -> str:
    """Say at which batch something went wrong, for whoever reads the error."""
    return (
        f"in epoch {engine.state.epoch}, iteration {engine.state.iteration}, with the batch "
        f"{describe(inputs)}, {describe(targets)}"
    )


class _TrainingMode:
    """Puts a network back into training mode, but for the modules that were frozen."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        is_whole = not any(module.training for module in model.modules())
        self._frozen = [] if is_whole else self._find_frozen()

    def _find_frozen(self) -> list[nn.Module]:
        return [module for module in self._model.modules() if not module.training]

    def resume(self) -> None:
        """Do so if the whole network is in evaluation mode; else note what is frozen."""
        if self._model.training:
            self._frozen = self._find_frozen()
            return
        self._model.train()
        for module in self._frozen:
            # Not by eval(), which would reach the modules below it.
            module.training = False


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and then each module back into its own."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
