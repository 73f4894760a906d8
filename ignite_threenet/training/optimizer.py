"""The optimizers that a run can be asked for: torch's own."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Muon, Optimizer

from ..config import RunConfig
from ..errors import ConfigError

MakeOptimizer = Callable[[nn.Module], Optimizer]
"""What makes the optimizer of a model."""


def create_optimizer(model: nn.Module, config: RunConfig) -> Optimizer:
    """Create the optimizer of a model's parameters.

    Args:
        model: the network, already on the device.
        config: names the optimizer and its options.

    Raises:
        ConfigError: it has no parameter to train.

    Example:
        >>> create_optimizer(nn.Linear(2, 2), RunConfig(optimizer="adamw", lr=1e-2)).defaults["lr"]
        0.01
    """
    if not has_trainable_parameters(model):
        raise ConfigError(f"the model {type(model).__name__} has no parameter to train")
    common: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    # Fused: one kernel for all parameters, where the many small ones of Adam would dominate.
    averages: dict[str, Any] = {"fused": True}
    if config.betas is not None:
        averages["betas"] = config.betas
    match config.optimizer:
        case "sgd":
            momentum: dict[str, Any] = {"momentum": config.momentum, "nesterov": config.nesterov}
            return SGD(model.parameters(), **common, **momentum)
        case "adam":
            return Adam(model.parameters(), **common, **averages)
        case "adamw":
            return AdamW(model.parameters(), **common, **averages)
        case "muon":
            matrices = [each for each in model.parameters() if each.ndim == 2]
            others = [each for each in model.parameters() if each.ndim != 2]
            muon = [Muon(matrices, **common)] if matrices else []
            adamw = [AdamW(others, **common, **averages)] if others else []
            return JoinedOptimizer(*muon, *adamw)


class JoinedOptimizer(Optimizer):
    """Several optimizers, each with parameters of its own, that step together.

    torch.optim.Muon takes matrices alone; its documentation gives AdamW the other parameters.
    """

    def __init__(self, *parts: Optimizer) -> None:
        groups = [group for part in parts for group in part.param_groups]
        super().__init__([{"params": group["params"]} for group in groups], {})
        self._parts = parts
        # The parts' own groups, so that a schedule of the learning rate reaches them.
        self.param_groups = groups

    def __getstate__(self) -> dict[str, Any]:
        # torch's own leaves out what it does not know, so that a copy would have no parts.
        return {**super().__getstate__(), "_parts": self._parts}

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Let each part take its step."""
        loss = closure() if closure is not None else None
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Give the states of the parts, in their order."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what state_dict() gave."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            load_optimizer_state(part, state)
        self.param_groups = [group for part in self._parts for group in part.param_groups]


def load_optimizer_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Take back what state_dict() gave, each tensor in its own dtype and order in memory.

    torch gives a tensor its parameter's dtype, which is not always the one that it had, and leaves
    it as it lies. The fused kernels walk through the memory of a parameter and of its state side by
    side, so there a state must lie as its parameter does.

    Args:
        optimizer: the optimizer, of the same kind and parameters.
        state: what state_dict() gave.

    Raises:
        ValueError: it does not fit the optimizer's parameters.
    """
    _check_groups(optimizer, state)
    optimizer.load_state_dict(dict(state))
    if "state" not in state or "param_groups" not in state:
        return  # it has a format of its own, and has read it by itself
    for group, saved_group in zip(optimizer.param_groups, state["param_groups"], strict=True):
        for parameter, key in zip(group["params"], saved_group["params"], strict=True):
            if parameter in optimizer.state and key in state["state"]:
                like = parameter if group.get("fused") else None
                loaded, saved = optimizer.state[parameter], state["state"][key]
                optimizer.state[parameter] = _as_saved(loaded, saved, like)


def _check_groups(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Refuse settings of another kind than the optimizer's: its next step would fail on them."""
    for index, (group, saved) in enumerate(
        zip(optimizer.param_groups, state.get("param_groups", ()), strict=False)
    ):
        for name in group.keys() & saved.keys() - {"params"}:
            now, before = group[name], saved[name]
            if not _is_alike(now, before):
                raise ValueError(
                    f"param_groups[{index}] has {name} {before!r}; expected one like {now!r}"
                )


def _is_alike(one: Any, other: Any) -> bool:
    """Tell whether two settings are of one kind; a number may stand for another, or for None."""
    kinds = [int | float | Tensor | None, str, list | tuple, dict]
    return any(isinstance(one, each) and isinstance(other, each) for each in kinds)


def _as_saved(loaded: Any, saved: Any, like: Tensor | None) -> Any:
    """Give loaded tensors the dtype and the order in memory that they were saved with.

    Args:
        loaded: a tensor, or lists, tuples and dicts of some, as torch gives them.
        saved: the same as it was saved.
        like: a parameter; a tensor of its shape gets its order in memory instead.
    """
    if isinstance(loaded, Tensor) and isinstance(saved, Tensor) and loaded.shape == saved.shape:
        pattern = like if like is not None and like.shape == saved.shape else saved
        result = torch.empty_like(pattern, dtype=saved.dtype, device=loaded.device)
        return result.copy_(saved)
    if isinstance(loaded, dict) and isinstance(saved, Mapping):
        return {key: _as_saved(each, saved.get(key), like) for key, each in loaded.items()}
    if isinstance(loaded, list | tuple) and isinstance(saved, list | tuple):
        pairs = zip(loaded, saved, strict=False)
        return type(loaded)([_as_saved(each, other, like) for each, other in pairs])
    return loaded


def has_trainable_parameters(model: nn.Module) -> bool:
    """Tell whether there is anything to train."""
    return any(parameter.requires_grad for parameter in model.parameters())
