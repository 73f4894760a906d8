"""The losses that a run trains by."""

from torch import nn

from .engines import LossFunction


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
