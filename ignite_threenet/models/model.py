"""What a network of your own looks like."""

from typing import Any, ClassVar, dataclass_transform

from torch import nn

from ..options.declaration import make_options_class, option, option_specs


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

    Attributes:
        gives_log_probabilities: whether it ends in log-probabilities, for NLLLoss; a class says
            so for itself alone.

    Example:
        >>> import math, torch
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

    gives_log_probabilities: ClassVar[bool] = False

    input_shape: tuple[int, ...] = option((1, 28, 28), help="shape of one sample", min=1)
    classes: int = option(10, help="classes to tell apart", min=1)
