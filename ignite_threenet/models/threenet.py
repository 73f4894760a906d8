"""ThreeNet, which is trained by default."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..options.declaration import option
from .model import Model


class ThreeNet(Model):
    """Three fully connected layers, two of them with ReLU, ending in log-probabilities.

    Example:
        >>> model = ThreeNet()
        >>> sum(parameter.numel() for parameter in model.parameters())
        169670
        >>> model(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 10])
    """

    gives_log_probabilities = True

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
