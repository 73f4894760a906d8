"""Whose hook is it: what a plugin hooked into a model, its parameters and its optimizer.

torch calls such hooks in the midst of a training step, where no handler of the plugin runs. So
each hook that a plugin registers is replaced by one that runs under the plugin's guard: timed,
and blamed on it where it fails. Hooks are told apart by the numbers of their handles, which torch
counts up: to see whether there are new ones takes no time.
"""

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules import module as of_modules
from torch.optim import Optimizer
from torch.optim import optimizer as of_optimizers
from torch.utils.hooks import RemovableHandle

from .tracked_engine import HandlerOwner, qualified_name

Hooks = MutableMapping[int, Callable[..., Any]]

_OF_A_MODULE = {
    "_forward_pre_hooks": "forward pre-hook",
    "_forward_hooks": "forward hook",
    "_backward_pre_hooks": "backward pre-hook",
    "_backward_hooks": "backward hook",
    "_state_dict_pre_hooks": "state-dict pre-hook",
    "_state_dict_hooks": "state-dict hook",
    "_load_state_dict_pre_hooks": "load-state-dict pre-hook",
    "_load_state_dict_post_hooks": "load-state-dict hook",
}
_OF_A_TENSOR = {
    "_backward_hooks": "gradient hook",
    "_post_accumulate_grad_hooks": "accumulated-gradient hook",
}
_OF_AN_OPTIMIZER = {
    "_optimizer_step_pre_hooks": "step pre-hook",
    "_optimizer_step_post_hooks": "step post-hook",
    "_optimizer_state_dict_pre_hooks": "state-dict pre-hook",
    "_optimizer_state_dict_post_hooks": "state-dict hook",
    "_optimizer_load_state_dict_pre_hooks": "load-state-dict pre-hook",
    "_optimizer_load_state_dict_post_hooks": "load-state-dict hook",
}
_OF_ALL_MODULES = {
    "_global_forward_pre_hooks": "forward pre-hook",
    "_global_forward_hooks": "forward hook",
    "_global_backward_pre_hooks": "backward pre-hook",
    "_global_backward_hooks": "backward hook",
    "_global_buffer_registration_hooks": "buffer-registration hook",
    "_global_module_registration_hooks": "module-registration hook",
    "_global_parameter_registration_hooks": "parameter-registration hook",
}
_OF_ALL_OPTIMIZERS = {
    "_global_optimizer_pre_hooks": "step pre-hook",
    "_global_optimizer_post_hooks": "step post-hook",
}


class Place(NamedTuple):
    """Where hooks are registered.

    Attributes:
        kind: what they are called: ``forward hook``.
        owner: what they are registered on: ``the model``, ``tiny.1.weight``.
        hooks: the hooks by the numbers of their handles.
    """

    kind: str
    owner: str
    hooks: Hooks


def count_hooks() -> int:
    """Tell how many hooks were ever registered in this process: the number of the next one."""
    return RemovableHandle.next_id


def hook_places(model: nn.Module, optimizer: Optimizer) -> Iterator[Place]:
    """Give all places of a run where hooks may be, and are."""
    for name, module in model.named_modules():
        yield from _places(module, _OF_A_MODULE, name or "the model")
    for name, tensor in _named_tensors(model):
        yield from _places(tensor, _OF_A_TENSOR, name)
    yield from _places(optimizer, _OF_AN_OPTIMIZER, "the optimizer")
    yield from _places(of_modules, _OF_ALL_MODULES, "all modules")
    yield from _places(of_optimizers, _OF_ALL_OPTIMIZERS, "all optimizers")


def guard_hooks(since: int, owner: HandlerOwner, model: nn.Module, optimizer: Optimizer) -> None:
    """Let the hooks that were registered since then run under their owner's guard.

    Args:
        since: what count_hooks() gave before.
        owner: whose hooks they are.
        model: the network that may have them.
        optimizer: the optimizer that may have them.
    """
    for place in hook_places(model, optimizer):
        for number, hook in place.hooks.items():
            if number >= since:
                _guard(place, number, hook, owner)


def _guard(place: Place, number: int, hook: Callable[..., Any], owner: HandlerOwner) -> None:
    if isinstance(hook, of_modules._WrappedHook):
        if not _is_left_alone(hook.hook):
            hook.hook = _GuardedHook(hook.hook, owner, place)
    elif not _is_left_alone(hook):
        place.hooks[number] = _GuardedHook(hook, owner, place)


def _is_left_alone(hook: Callable[..., Any]) -> bool:
    """Tell whether a hook is guarded already, or torch's own, which torch knows by its class."""
    if isinstance(hook, _GuardedHook):
        return True
    kinds = [getattr(hook, "__module__", None), *(each.__module__ for each in type(hook).__mro__)]
    return any(str(kind).partition(".")[0] == "torch" for kind in kinds)


def _places(holder: object, kinds: dict[str, str], owner: str) -> Iterator[Place]:
    for attribute, kind in kinds.items():
        hooks = getattr(holder, attribute, None)
        if hooks:
            yield Place(kind, owner, hooks)


def _named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


class _GuardedHook:
    """A plugin's hook, run under its owner's guard; one that was detached changes nothing.

    A copy of the model has the same hook; a pickle of it has the plugin's own.
    """

    def __init__(self, hook: Callable[..., Any], owner: HandlerOwner, place: Place) -> None:
        self.__wrapped__ = hook
        self._owner = owner
        self._where = f"{place.kind} {qualified_name(hook)} of {place.owner}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._owner.call(self._where, self.__wrapped__, *args, **kwargs)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_GuardedHook":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _give, (self.__wrapped__,)


def _give(hook: Callable[..., Any]) -> Callable[..., Any]:
    return hook
