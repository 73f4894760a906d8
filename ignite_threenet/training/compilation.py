"""The gradients of a training step, computed by code that torch.compile makes of the model."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

logger = logging.getLogger("ignite_threenet")


class CompiledGradients:
    """Computes the loss of a batch and its gradients, in one compiled function.

    Forward and backward pass are compiled as one: that is where the time is won, and the reason
    for torch.func, since torch.compile does not see into ``backward()``. Where the function
    cannot be compiled, because there is no compiler or because the model changes its buffers
    (batch normalization), that is logged once as a warning and autograd does the work.

    Args:
        model: the network.
        loss_fn: takes the model's output and the targets, returns a scalar.
        fallback: does the same by autograd: sets the gradients and returns the loss.
        precision: makes the context in which the forward pass runs.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: Callable[[Tensor, Tensor], Tensor],
        fallback: Callable[[Tensor, Tensor], Tensor],
        precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        objective = _Objective(model, loss_fn)

        def compute_loss(parameters: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
            with precision():
                loss: Tensor = functional_call(objective, parameters, (inputs, targets))
                return loss

        # A shape is compiled for itself: there are two, that of the last batch being smaller.
        self._compute = torch.compile(grad_and_value(compute_loss), dynamic=False)
        self._parameters = dict(objective.named_parameters())
        self._fallback = fallback
        self._is_compiled = False
        self._falls_back = False

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Give each parameter its gradient, in ``grad``, in place of what was there.

        Returns:
            The loss: a scalar, detached.
        """
        if not (self._is_compiled or self._falls_back):
            self._try(inputs, targets)
        if self._falls_back:
            return self._fallback(inputs, targets)
        return self._differentiate(inputs, targets)

    def _try(self, inputs: Tensor, targets: Tensor) -> None:
        logger.info("compiling the training step, which takes some ten seconds")
        try:
            self._differentiate(inputs, targets)
            self._is_compiled = True
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            logger.warning("the training step cannot be compiled, so it runs as it is: %s", reason)
            self._falls_back = True

    def _differentiate(self, inputs: Tensor, targets: Tensor) -> Tensor:
        for parameter in self._parameters.values():
            # What has been frozen must not be moved by an old gradient.
            parameter.grad = None
        parameters = {name: each for name, each in self._parameters.items() if each.requires_grad}
        values = {name: parameter.detach() for name, parameter in parameters.items()}
        loss: Tensor
        with torch.no_grad():
            gradients, loss = self._compute(values, inputs, targets)
        for name, parameter in parameters.items():
            parameter.grad = _laid_out_as(parameter, gradients[name])
        return loss


class _Objective(nn.Module):
    """The loss of a batch as one module, so that a loss's own parameters are trained, too."""

    def __init__(self, model: nn.Module, loss_fn: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.loss_fn = loss_fn

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self.loss_fn(self.model(inputs), targets)
        return loss


def _laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """Let a gradient lie in memory as its parameter does: fused optimizers count on that."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
