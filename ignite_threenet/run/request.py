"""What a run is asked to do: checked before anything is built."""

import logging
import os
from collections.abc import Iterable
from weakref import WeakSet

import ignite.distributed as idist

from ..config import RunConfig
from ..data.data_module import check_loaders
from ..errors import ConfigError, PluginChoiceError
from ..extensions.plugin import Plugin
from ..options.declaration import option_specs
from ..storage.contents import check_usable
from .assembly import Given
from .compatibility import check_epochs, check_own_loaders
from .saved_run import SavedRun

logger = logging.getLogger("ignite_threenet")

# The options that are useless beside what a script gives.
_REPLACED = {
    "loaders": ("dataset", "data_dir", "batch_size", "normalize"),
    "loss_fn": ("label_smoothing",),
    "model": ("model",),
    "optimizer": ("optimizer", "lr", "momentum", "nesterov", "betas", "weight_decay"),
}
_MOST_DIGITS = 10

# Plugins hold the state of one run: a second one would mix with it.
_used: WeakSet[Plugin] = WeakSet()


def check_unused(plugins: Iterable[Plugin]) -> None:
    """Refuse plugins that take part in another run.

    Raises:
        PluginChoiceError: one does.
    """
    plugins = list(plugins)
    for plugin in plugins:
        if plugin in _used:
            problem = "takes part in another run; make a new one for each"
            raise PluginChoiceError(plugin.name, plugin.distribution, problem)
    _used.update(plugins)


def check_request(config: RunConfig, given: Given, saved: SavedRun | None) -> None:
    """Refuse what can be refused before anything is built.

    Raises:
        ConfigError: what is asked for cannot be done.
        CheckpointError: a saved run cannot go on so.
    """
    if idist.get_world_size() > 1 or _announced_processes() > 1:
        raise ConfigError("a run takes one process; several (torchrun) are not supported")
    _check_kinds(given)
    if saved is not None:
        check_own_loaders(saved, are_own=given.loaders is not None)
        if not saved.is_completed(config.epochs):
            check_epochs(saved, config.epochs)
    else:
        if config.out is not None:
            check_usable(config.out, force=config.force)
        _warn_of_unused(config, given)
    if given.loaders is None:
        return
    check_loaders(given.loaders)
    if config.valid_size > 0:
        raise ConfigError("valid_size: loaders of your own bring their own split 'valid'")


def _check_kinds(given: Given) -> None:
    """Refuse names and finished things in place of what is called."""
    wanted = {
        "model": (given.model, "a torch.nn.Module, a function that makes one, or a name"),
        "loss_fn": (given.loss_fn, "a function of outputs and targets"),
        "optimizer": (given.make_optimizer, "a function that makes the optimizer of a model"),
        "metrics": (given.make_metrics, "a function that makes the metrics of an evaluator"),
    }
    for name, (each, allowed) in wanted.items():
        if each is not None and not callable(each):
            kind = type(each).__name__
            raise ConfigError(f"{name}: {kind} cannot be called; expected {allowed}")


def _announced_processes() -> int:
    """Read how many processes torchrun has started; what it never says counts as one."""
    said = os.environ.get("WORLD_SIZE", "").strip()
    return int(said) if said.isascii() and said.isdigit() and len(said) < _MOST_DIGITS else 1


def _warn_of_unused(config: RunConfig, given: Given) -> None:
    """Name the options that were set, and that what a script gives makes useless."""
    gifts = {
        "loaders": given.loaders,
        "loss_fn": given.loss_fn,
        "model": given.model,
        "optimizer": given.make_optimizer,
    }
    brought = {name for name, each in gifts.items() if each is not None}
    for what, names in _REPLACED.items():
        specs = [spec for spec in option_specs(RunConfig) if spec.name in names]
        changed = [each.name for each in specs if getattr(config, each.name) != each.default]
        if changed and what in brought:
            verb = "are" if what == "loaders" else "is"
            logger.warning("%s: not used: the %s %s your own", ", ".join(changed), what, verb)
