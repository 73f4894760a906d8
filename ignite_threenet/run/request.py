"""What a run is asked to do: checked before anything is built."""

import os
from collections.abc import Iterable
from weakref import WeakSet

import ignite.distributed as idist

from ..config import RunConfig
from ..data.data_module import check_loaders
from ..errors import ConfigError, PluginChoiceError
from ..extensions.plugin import Plugin
from ..storage.contents import check_usable
from .assembly import Given
from .compatibility import check_epochs, check_own_loaders
from .saved_run import SavedRun

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
    if idist.get_world_size() > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("a run takes one process; several (torchrun) are not supported")
    if saved is not None:
        check_own_loaders(saved, are_own=given.loaders is not None)
        if not saved.is_completed(config.epochs):
            check_epochs(saved, config.epochs)
    elif config.out is not None:
        check_usable(config.out, force=config.force)
    if given.loaders is None:
        return
    check_loaders(given.loaders)
    if config.valid_size > 0:
        raise ConfigError("valid_size: loaders of your own bring their own split 'valid'")
