"""Finding who takes part in a run, before the options of those are read."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..config import DEFAULT_PLUGINS, RunConfig
from ..data.source import choose_dataset
from ..extensions.component import GROUPS, Component
from ..extensions.selection import ChosenPlugin, resolve_plugins, select_plugins
from ..models.creation import choose_model
from .choice import Choice, merge
from .config_file import ConfigFile


def choose(
    given: Mapping[str, str | None],
    plugins: Sequence[str],
    recipe: ConfigFile,
    config: ConfigFile,
    *,
    quiet: bool,
) -> Choice:
    """Find the plugins, the model and the dataset of a run.

    Args:
        given: what names the model and the dataset, by kind; None if nothing does.
        plugins: what chooses the plugins; empty if nothing does.
        recipe: a recipe, which the file goes over.
        config: a configuration file, which what is given goes over.
        quiet: whether to leave out what only shows how far the run is.

    Raises:
        ThreeNetError: something cannot be found, imported, or used together.
    """
    by_recipe, _ = select_plugins(recipe.plugins(), DEFAULT_PLUGINS)
    names, removed = select_plugins(plugins or config.plugins(), by_recipe)
    names = [recipe.explain(config.explain(name)) for name in names]
    chosen = leave_out_quiet(resolve_plugins(names, removed), quiet=quiet)
    words = name_components(given, recipe, config, RunConfig.__dict__)
    components = {kind: choose_component(kind, word) for kind, word in words.items()}
    values, sources = merge(
        (each.name, each.values(chosen, components.values(), words)) for each in (recipe, config)
    )
    return Choice(tuple(chosen), components, values, sources)


def name_components(
    given: Mapping[str, str | None],
    recipe: ConfigFile,
    config: ConfigFile,
    otherwise: Mapping[str, Any],
) -> dict[str, str]:
    """Give the words that name the model and the dataset: the first that says something counts."""
    return {
        kind: next(
            word
            for word in (
                given[kind],
                config.component(kind),
                recipe.component(kind),
                str(otherwise[kind]),
            )
            if word is not None
        )
        for kind in GROUPS
    }


def choose_component(kind: str, word: str) -> Component:
    """Find a model or a dataset, and import it."""
    return choose_model(word) if kind == "model" else choose_dataset(word)


def leave_out_quiet(chosen: Sequence[ChosenPlugin], *, quiet: bool) -> list[ChosenPlugin]:
    """Leave out the plugins that say so if the run is quiet, and what they alone require.

    Args:
        chosen: the plugins, requirements first.
        quiet: whether the run is quiet.

    Returns:
        The others, and what these require.
    """
    if not quiet:
        return list(chosen)
    kept: list[ChosenPlugin] = []
    required: set[str] = set()
    for each in reversed(chosen):
        is_named = each.required_by is None and not each.cls.quiet
        if is_named or each.name in required:
            kept.append(each)
            required.update(each.cls.requires)
    return kept[::-1]
