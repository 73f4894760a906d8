"""What a run is asked to do: checked, and found, before anything is built."""

import os
from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist

from ..config import RunConfig
from ..data.data_module import check_loaders
from ..data.source import choose_dataset
from ..errors import ConfigError
from ..extensions.component import Component
from ..models.creation import choose_model
from ..storage.directory import check_usable
from .assembly import Given
from .compatibility import check_epochs, check_own_loaders
from .saved_run import SavedRun


def choose_components(
    config: RunConfig,
    given: Given,
    options: Mapping[str, Mapping[str, Any]],
    saved: SavedRun | None,
) -> dict[str, Component]:
    """Find the model and the dataset that no script gives, with their options.

    Args:
        config: names them.
        given: what a script gives in their place.
        options: their options, by kind.
        saved: what the run goes on from, or None.

    Raises:
        ConfigError: options are given of what a script gives.
        ComponentError: one cannot be used.
    """
    wanted = {
        "dataset": (choose_dataset, given.loaders is None),
        "model": (choose_model, given.model is None),
    }
    chosen: dict[str, Component] = {}
    for kind, (choose, is_wanted) in wanted.items():
        if not is_wanted:
            if options[kind] and saved is None:
                what = "loaders are" if kind == "dataset" else "model is"
                raise ConfigError(f"{kind}_options: the {what} your own")
            continue
        part = choose(getattr(config, kind))
        # Of another one than it was, check_components() says so.
        known = {spec.name for spec in part.specs}
        values = {name: each for name, each in options[kind].items() if not saved or name in known}
        chosen[kind] = part.with_options(values)
    return chosen


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
