"""Networks, made for their data and tried out."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..data.dataset import DataShape
from ..extensions.component import Component, choose_component
from ..training.engines import evaluation_mode
from ..training.kept_state import keep_state
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


def choose_model(word: str) -> Component:
    """Find a network, and import what makes it; see choose_component()."""
    what = "a kind of torch.nn.Module, or a function that makes one"
    return choose_component("model", word, is_model, what)


def create_model(component: Component, shape: DataShape | None) -> nn.Module:
    """Make a network for the data, and try it out on a batch of zeros.

    Args:
        component: what makes it; called with its options, and with ``input_shape`` and
            ``classes`` if it accepts them.
        shape: what the data is like; None if that is not known.

    Raises:
        ComponentError: it raised, or gives what is no network for this data.
    """
    if shape is None:
        return _checked(component.create(), component)
    model = _checked(
        component.create(input_shape=shape.of_sample, classes=shape.classes), component
    )
    try_out(model, component, shape)
    return model


def try_out(model: nn.Module, component: Component, shape: DataShape) -> None:
    """Refuse a network that does not fit the data.

    The network is as it was afterwards, but for lazy modules, which have their shapes then.

    Args:
        model: the network.
        component: what made it, for the message.
        shape: what the data is like.

    Raises:
        ComponentError: it cannot take a batch, or does not give a number for each class.
    """
    device = next((each.device for each in model.parameters()), None)
    inputs = torch.zeros(_TRIED, *shape.of_sample, device=device)

    def apply() -> object:
        with (
            keep_random_state(None),
            keep_state(model),
            torch.no_grad(),
            evaluation_mode(model),
        ):
            return model(inputs)

    outputs = component.call(apply, {}, f"cannot take a batch of shape {tuple(inputs.shape)}")
    expected = (_TRIED, shape.classes)
    found = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    if found != expected:
        raise component.error(
            f"gives {found} for a batch of shape {tuple(inputs.shape)}; expected {expected}, a "
            "number for each class"
        )


def component_of(make: Callable[..., nn.Module]) -> Component:
    """Take a class or a function for a network that was chosen."""
    component = Component("model", getattr(make, "__name__", type(make).__name__), "", make)
    return component.with_options({})


def _checked(model: object, component: Component) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise component.error(f"gives {type(model).__name__}; expected a torch.nn.Module")
    if not has_trainable_parameters(model):
        raise component.error("has no parameter to train")
    return model
