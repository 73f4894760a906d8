"""What may be said beside --resume."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..config import RunConfig
from ..errors import ConfigError
from ..extensions.component import Component
from ..extensions.selection import ChosenPlugin, is_whole_selection, resolve_plugins, select_plugins
from ..options.declaration import option_specs
from ..options.plain import to_plain
from ..run.saved_run import (
    PLACES,
    SavedRun,
    check_places,
    convert_options,
    open_saved_run,
    removed_of,
    words_of,
)
from ..settings.choice import Choice, key_of, owners_of
from ..settings.choosing import choose_component, leave_out_quiet, name_components
from ..settings.config_file import ConfigFile
from .log import set_up_logging

EPOCHS = "epochs"


def choose_as_saved(
    saved: SavedRun,
    given: Mapping[str, str | None],
    plugins: Sequence[str],
    recipe: ConfigFile,
    config: ConfigFile,
    *,
    allow_changes: bool,
    quiet: bool,
) -> tuple[SavedRun, Choice]:
    """Take plugins and options from a checkpoint; what else is given must agree with it.

    Args:
        saved: the run.
        given: what names a new place of the model and the dataset, by kind; None if nothing does.
        plugins: what names new places of plugins, or takes some away.
        recipe: a recipe.
        config: a configuration file.
        allow_changes: whether the run may go on with another source.
        quiet: whether to leave out what only shows how far the run is.

    Raises:
        ConfigError: something else than an epoch number or a place differs.
        CheckpointError: something is not where it was.
    """
    items = plugins or config.plugins() or recipe.plugins()
    words_of_plugins, removed = select_plugins(items, ())
    words_of_plugins = [recipe.explain(config.explain(word)) for word in words_of_plugins]
    saved = saved._replace(allow_changes=allow_changes, without=removed)
    if is_whole_selection(items):
        wanted = ",".join(each.name for each in resolve_plugins(words_of_plugins))
        before = ",".join(each["name"] for each in saved.plugins)
        check_agrees("--plugins", wanted, before, saved)
    words = name_components(given, recipe, config, saved.config)
    check_places(saved, words)
    found = resolve_plugins(words_of(saved, words_of_plugins), removed_of(saved))
    chosen = leave_out_quiet(found, quiet=quiet)
    for each in found:
        if each not in chosen:
            saved = saved.forget(each.name)
    components = {kind: choose_component(kind, words[kind]) for kind in saved.parts}
    values = saved_values(saved, chosen, components.values()) | words
    for file in (recipe, config):
        for key, value in file.values(chosen, components.values(), words).items():
            if key == EPOCHS or is_place(key, values.get(key)):
                values[key] = value
            else:
                check_agrees(f"{file.name}: {key}", value, values.get(key), saved)
    sources = dict.fromkeys(values, "checkpoint")
    return saved, Choice(tuple(chosen), components, values, sources)


def open_for_resuming(ctx: click.Context, path: Path, *, quiet: bool) -> SavedRun:
    """Take the directory of a run that is to go on, until the command has ended."""
    set_up_logging(quiet=quiet, verbose=False)
    saved = open_saved_run(path)
    ctx.call_on_close(saved.directory.release)
    return saved


def saved_values(
    saved: SavedRun, chosen: Iterable[ChosenPlugin], parts: Iterable[Component]
) -> dict[str, Any]:
    """Give the options of a saved run and of all in it, by ``option`` or ``owner.option``."""
    values = convert_options(option_specs(RunConfig), saved.config, f"{saved.path}")
    options = {kind: component["options"] for kind, component in saved.parts.items()}
    options |= {each["name"]: each["options"] for each in saved.plugins}
    for owner in owners_of(parts, chosen):
        converted = convert_options(owner.specs, options[owner.prefix], owner.prefix)
        values |= {key_of(key, owner.prefix): value for key, value in converted.items()}
    return values


def check_agrees(where: str, given: object, before: object, saved: SavedRun) -> None:
    """Refuse what differs from the run that goes on."""
    if given != before:
        raise ConfigError(
            f"{where}: {to_plain(given)} differs from {to_plain(before)}, with which the run in "
            f"{saved.directory.path} began; only --epochs may change, and where things are"
        )


def is_place(name: str, before: object) -> bool:
    """Tell whether an option says where something is; what it leads to is compared instead."""
    return name in PLACES or (name.startswith("dataset.") and isinstance(before, Path))
