"""The losses that a run trains by."""

from collections.abc import Callable

from torch import Tensor, nn

from ..errors import ConfigError

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""What takes a model's outputs and the targets, and gives a scalar."""


def check_loss(loss_fn: LossFunction) -> None:
    """Refuse a loss that gives a number for each sample.

    Raises:
        ConfigError: it says ``reduction="none"``.
    """
    if getattr(loss_fn, "reduction", None) == "none":
        name = type(loss_fn).__name__
        raise ConfigError(
            f"loss_fn: {name} gives a loss for each sample, by reduction='none'; expected 'mean' "
            "or 'sum'"
        )


def mean_of(loss_fn: LossFunction) -> LossFunction:
    """Let a loss that says ``reduction="sum"`` give the mean over the samples of a batch."""
    if getattr(loss_fn, "reduction", None) != "sum":
        return loss_fn
    return lambda outputs, targets: loss_fn(outputs, targets) / len(targets)


def create_loss(model: nn.Module, smoothing: float = 0.0) -> LossFunction:
    """Create the loss that fits a network.

    Args:
        model: the network; one whose own class says ``gives_log_probabilities`` gets NLLLoss, and
            any other one CrossEntropyLoss, which takes logits and log-probabilities.
        smoothing: share of a label that is spread over all classes.
    """
    # Of its own class: a network that is derived from ThreeNet may end in something else.
    if smoothing == 0 and vars(type(model)).get("gives_log_probabilities", False):
        return nn.NLLLoss()
    # It takes a log-softmax first, which leaves log-probabilities as they are.
    return nn.CrossEntropyLoss(label_smoothing=smoothing)
