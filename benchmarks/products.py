"""The floor: the network's matrix products alone, whose results nobody uses."""

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor

WIDTHS = (784, 200, 60, 10)

Product = tuple[Tensor, Tensor, Tensor]
"""The two factors, and where their product goes."""


def forward_products(size: int, device: torch.device) -> list[Product]:
    """Make the factors of a forward pass: one product for each layer.

    Args:
        size: samples in the batch.
        device: where they are.
    """
    return [
        (
            torch.rand(size, fan_in, device=device),
            torch.rand(fan_out, fan_in, device=device).t(),
            torch.empty(size, fan_out, device=device),
        )
        for fan_in, fan_out in pairwise(WIDTHS)
    ]


def backward_products(size: int, device: torch.device) -> list[Product]:
    """Make the factors of a backward pass: gradients of three weights, and of two layers' inputs.

    Args:
        size: samples in the batch.
        device: where they are.
    """
    of_weights = [
        (
            torch.rand(size, fan_out, device=device).t(),
            torch.rand(size, fan_in, device=device),
            torch.empty(fan_out, fan_in, device=device),
        )
        for fan_in, fan_out in pairwise(WIDTHS)
    ]
    of_inputs = [
        (
            torch.rand(size, fan_out, device=device),
            torch.rand(fan_out, fan_in, device=device),
            torch.empty(size, fan_in, device=device),
        )
        for fan_in, fan_out in pairwise(WIDTHS[1:])
    ]
    return [*of_weights, *of_inputs]


def multiply(products: Iterable[Product]) -> None:
    """Compute the products, one after the other."""
    for left, right, result in products:
        torch.mm(left, right, out=result)
