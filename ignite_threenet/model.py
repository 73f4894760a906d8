"""ThreeNet, the network that is trained by default."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class ThreeNet(nn.Module):
    """Three fully connected layers, two of them with ReLU, ending in log-probabilities.

    Args:
        in_features: numbers in one sample; 784 for an image of 28x28.
        hidden: widths of the hidden layers.
        classes: classes to tell apart.

    Example:
        >>> model = ThreeNet()
        >>> sum(parameter.numel() for parameter in model.parameters())
        169670
        >>> model(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self, in_features: int = 784, hidden: Sequence[int] = (200, 60), classes: int = 10
    ) -> None:
        super().__init__()
        widths = (in_features, *hidden, classes)
        layers = [nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(widths)]
        _store_by_columns(layers[0])
        self.layers = nn.ModuleList(layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the log-probability of each class.

        Args:
            inputs: (N, in_features) or (N, 1, H, W) with H * W = in_features; float32.

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
