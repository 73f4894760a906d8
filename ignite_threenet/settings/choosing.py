"""Finding who takes part in a run: of the command line, and of a script."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ..config import DEFAULT_PLUGINS, RunConfig
from ..data.source import choose_dataset
from ..errors import ConfigError
from ..extensions.component import GROUPS, Component
from ..extensions.plugin import Plugin
from ..extensions.selection import ChosenPlugin, resolve_plugins, select_plugins
from ..models.creation import choose_model
from .choice import Choice, key_of, merge
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
    resolved = resolve_plugins(names, removed)
    chosen = leave_out_quiet(resolved, quiet=quiet)
    absent = removed | {each.name for each in resolved}
    defaults = {kind: str(getattr(RunConfig, kind)) for kind in GROUPS}
    words = {**defaults, **name_components(given, recipe, config)}
    components = {kind: choose_component(kind, word) for kind, word in words.items()}
    values, sources = merge(
        (each.name, each.values(chosen, components.values(), words, absent))
        for each in (recipe, config)
    )
    return Choice(tuple(chosen), components, values, sources)


def choose_for_script(
    config: RunConfig,
    plugins: Iterable[str | Plugin],
    options: Mapping[str, Mapping[str, Any]],
    own: Collection[str],
) -> Choice:
    """Find the plugins, the model and the dataset that a script asks for.

    Args:
        config: what to do; names the model and the dataset.
        plugins: names of plugins, and plugins.
        options: the options of the model and the dataset, by kind and name.
        own: the kinds of components that the script brings by itself.

    Raises:
        ConfigError: there are options of something that the script brings.
        ThreeNetError: something cannot be found, imported, or used together.
    """
    for kind in own:
        if options[kind]:
            what = "loaders are" if kind == "dataset" else f"{kind} is"
            raise ConfigError(f"{kind}_options: the {what} your own")
    components = {
        kind: choose_component(kind, getattr(config, kind)) for kind in GROUPS if kind not in own
    }
    values = config.as_dict()
    for kind, component in components.items():
        given = component.with_options(options[kind]).options
        values |= {key_of(name, kind): value for name, value in given.items()}
    return Choice(tuple(resolve_plugins(plugins)), components, values)


def name_components(
    given: Mapping[str, str | None], recipe: ConfigFile, config: ConfigFile
) -> dict[str, str]:
    """Give the words that name the model and the dataset, by kind, if something says them.

    What is given goes over the file, and the file over the recipe.
    """
    said = {kind: (given[kind], config.component(kind), recipe.component(kind)) for kind in GROUPS}
    return {
        kind: next(word for word in words if word is not None)
        for kind, words in said.items()
        if any(word is not None for word in words)
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
