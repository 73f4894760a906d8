"""The networks: what one of one's own looks like, and ThreeNet, which is trained by default."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, dataclass_transform

import torch
from torch import Tensor, nn

from .options import make_options_class, option, option_specs
from .parts import ChosenPart, DataShape
from .randomness import keep_random_state

# Samples of the batch that tries a network out.
_TRIED = 2


@dataclass_transform(kw_only_default=True, eq_default=False)
class _OptionsModule(nn.Module):
    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        make_options_class(cls, build="build", eq=False, repr=False)
        for spec in option_specs(cls):
            if hasattr(nn.Module, spec.name) or spec.name in nn.Module.__annotations__:
                raise TypeError(f"{cls.__name__}.{spec.name}: every module has that already")

    def __post_init__(self) -> None:
        nn.Module.__init__(self)
        self.build()
        for name in {*self._modules, *self._parameters, *self._buffers}:
            if name in {spec.name for spec in option_specs(type(self))}:
                raise TypeError(
                    f"{type(self).__name__}.{name}: is an option and a layer of one name"
                )

    def build(self) -> None:
        """Make the layers; the options are there."""


class Model(_OptionsModule):
    """A network whose options are declared as a plugin's are.

    A subclass declares them with option(), becomes a keyword-only dataclass of them, and makes its
    layers in build(). What a run knows of its data comes in the two options declared here.

    Example:
        >>> class Linear(Model):
        ...     bias: bool = option(True, help="whether there is a bias")
        ...
        ...     def build(self):
        ...         pixels = math.prod(self.input_shape)
        ...         self.layer = nn.Linear(pixels, self.classes, bias=self.bias)
        ...
        ...     def forward(self, inputs):
        ...         return self.layer(inputs.flatten(start_dim=1)).log_softmax(dim=1)
        >>> Linear(input_shape=(5,), classes=3)(torch.zeros(2, 5)).shape
        torch.Size([2, 3])
    """

    input_shape: tuple[int, ...] = option((1, 28, 28), help="shape of one sample", min=1)
    classes: int = option(10, help="classes to tell apart", min=1)


class ThreeNet(Model):
    """Three fully connected layers, two of them with ReLU, ending in log-probabilities.

    Example:
        >>> model = ThreeNet()
        >>> sum(parameter.numel() for parameter in model.parameters())
        169670
        >>> model(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 10])
    """

    hidden: tuple[int, ...] = option((200, 60), help="widths of the hidden layers", min=1)

    def build(self) -> None:
        """Make the layers."""
        widths = (math.prod(self.input_shape), *self.hidden, self.classes)
        layers = [nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(widths)]
        _store_by_columns(layers[0])
        self.layers = nn.ModuleList(layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the log-probability of each class.

        Args:
            inputs: (N, ...) float32, such as (N, 784) or (N, 1, 28, 28): as many numbers a sample
                as input_shape says.

        Returns:
            (N, classes) float32, natural logarithms; each row's exponentials sum to 1.
        """
        *hidden, last = self.layers
        outputs = inputs.flatten(start_dim=1)
        for layer in hidden:
            # In place: a linear layer's gradient does not need its output.
            outputs = layer(outputs).relu_()
        return torch.log_softmax(last(outputs), dim=1)


def _store_by_columns(layer: nn.Linear) -> None:
    """Store a layer's weight by columns, with the same values and the same shape.

    The first layer does nearly all of the arithmetic, and the products of its training step are
    faster so on processors, with the same results; docs/performance.md has figures.
    """
    layer.weight = nn.Parameter(layer.weight.detach().t().contiguous().t())


def is_model(value: object) -> bool:
    """Tell whether something can make a network: a kind of torch.nn.Module, or a function."""
    if isinstance(value, type):
        return issubclass(value, nn.Module) and value is not Model
    return callable(value) and not isinstance(value, nn.Module)


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


def has_trainable_parameters(model: nn.Module) -> bool:
    """Tell whether there is anything to train."""
    return any(parameter.requires_grad for parameter in model.parameters())


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


def _checked(model: object, part: ChosenPart) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise part.error(f"gives {type(model).__name__}; expected a torch.nn.Module")
    if not has_trainable_parameters(model):
        raise part.error("has no parameter to train")
    return model
