"""Networks, made for their data and tried out."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..data.dataset import DataShape
from ..extensions.component import ChosenPart, choose_part
from ..training.engines import evaluation_mode
from ..training.optimizer import has_trainable_parameters
from ..training.randomness import keep_random_state
from .model import Model

# Samples of the batch that tries a network out.
_TRIED = 2


def is_model(value: object) -> bool:
    """Tell whether something can make a network: a kind of torch.nn.Module, or a function."""
    if isinstance(value, type):
        return issubclass(value, nn.Module) and value is not Model
    return callable(value) and not isinstance(value, nn.Module)


def choose_model(word: str) -> ChosenPart:
    """Find a network, and import what makes it; see choose_part()."""
    what = "a kind of torch.nn.Module, or a function that makes one"
    return choose_part("model", word, is_model, what)


def create_model(part: ChosenPart, shape: DataShape | None) -> nn.Module:
    """Make a network for the data, and try it out on a batch of zeros.

    Args:
        part: what makes it; called with ``input_shape`` and ``classes``, as far as it takes them,
            and with its options.
        shape: what the data is like; None where that is not known.

    Raises:
        PartError: it raised, or gives what is no network for this data.
    """
    if shape is None:
        return _checked(part.create(), part)
    model = _checked(part.create(input_shape=shape.of_sample, classes=shape.classes), part)
    try_out(model, part, shape)
    return model


def try_out(model: nn.Module, part: ChosenPart, shape: DataShape) -> None:
    """Refuse a network that does not fit the data; it also gives lazy modules their shapes.

    Args:
        model: the network.
        part: what made it, for the message.
        shape: what the data is like.

    Raises:
        PartError: it cannot take a batch, or gives something else than a number for each class.
    """
    device = next((each.device for each in model.parameters()), None)
    inputs = torch.zeros(_TRIED, *shape.of_sample, device=device)

    def apply() -> object:
        with torch.no_grad(), evaluation_mode(model), keep_random_state(None):
            return model(inputs)

    outputs = part.call(apply, {}, f"cannot take a batch of shape {tuple(inputs.shape)}")
    expected = (_TRIED, shape.classes)
    found = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    if found != expected:
        raise part.error(
            f"gives {found} for a batch of shape {tuple(inputs.shape)}; expected {expected}, a "
            "number for each class"
        )


def part_of(make: Callable[..., nn.Module]) -> ChosenPart:
    """Take a class or a function for a network that was chosen."""
    part = ChosenPart("model", getattr(make, "__name__", type(make).__name__), "", make)
    return part.with_options({})


def _checked(model: object, part: ChosenPart) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise part.error(f"gives {type(model).__name__}; expected a torch.nn.Module")
    if not has_trainable_parameters(model):
        raise part.error("has no parameter to train")
    return model
