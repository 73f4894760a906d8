"""Who takes part in a run that goes on: as the checkpoint says, but for what may change."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..config import RunConfig
from ..errors import CheckpointError, ConfigError
from ..extensions.component import GROUPS
from ..extensions.plugin import Plugin
from ..extensions.reference import Reference
from ..extensions.selection import (
    find_plugins,
    is_whole_selection,
    resolve_plugins,
    select_plugins,
)
from ..options.declaration import OptionSpec, option_specs
from ..options.plain import to_plain
from ..settings.choice import Choice, key_of, owners_of
from ..settings.choosing import choose_component, leave_out_quiet, name_components
from ..settings.config_file import ConfigFile
from ..settings.environment import environment_name, parameter_name
from ..text import each_text, mask_addresses
from .saved_run import SavedRun

EPOCHS = "epochs"

# Options that say where something is. It may have moved; what it holds is what counts.
_PLACES = (*GROUPS, "data_dir")


class Saying(NamedTuple):
    """An option that is given beside a saved run.

    Attributes:
        where: what messages call it: ``--lr``, ``run.toml: lr``.
        key: the option, as ``option`` or ``owner.option``.
        value: its value.
        source: who says so, for the manifest.
    """

    where: str
    key: str
    value: Any
    source: str


def choose_saved(
    saved: SavedRun,
    plugins: Iterable[str | Plugin] | None = None,
    places: Mapping[str, str] | None = None,
    own: Collection[str] = (),
) -> Choice:
    """Take plugins, components and their options from a checkpoint.

    Args:
        saved: the run.
        plugins: the plugins, or what names them; if None, those that the run had and that are
            still there.
        places: where the model and the dataset are now, by kind; the others are where they were.
        own: the kinds of components that a script brings by itself.

    Raises:
        CheckpointError: something is not where it was, or is an option that this version does
            not know or take.
        PluginError: a plugin cannot be used.
    """
    values = _config_values(saved)
    words = {kind: saved.config.get(kind, values.get(kind)) for kind in GROUPS}
    words |= dict(places or {})
    if "model" not in {*saved.components, *own}:
        raise CheckpointError(saved.path, "the model was your own, and is chosen by name")
    _check_places(saved, words)
    wanted = name_plugins(saved) if plugins is None else plugins
    chosen = tuple(resolve_plugins(wanted, set(saved.without) & find_plugins().keys()))
    kinds = [kind for kind in saved.components if kind not in own]
    components = {kind: choose_component(kind, words[kind]) for kind in kinds}
    values |= words
    options = {kind: each["options"] for kind, each in saved.components.items()}
    options |= {each["name"]: each["options"] for each in saved.plugins}
    for owner in owners_of(components.values(), chosen):
        known = _convert(owner.specs, options.get(owner.prefix, {}), owner.prefix)
        values |= {key_of(name, owner.prefix): value for name, value in known.items()}
    return Choice(chosen, components, values, dict.fromkeys(values, "checkpoint"))


def choose_for_resume(
    saved: SavedRun,
    plugins: Iterable[str | Plugin] | None,
    options: Mapping[str, Any],
    own: Collection[str],
) -> Choice:
    """Take plugins and options from a checkpoint; what a script says must agree with it.

    Args:
        saved: the run.
        plugins: the plugins, or what names them; if None, those that the run had.
        options: what the script says, by ``option`` or ``owner.option``; None if nothing.
        own: the kinds of components that the script brings by itself.

    Raises:
        ConfigError: something else than an epoch number or a place differs.
        CheckpointError: something is not where it was.
    """
    said = {key: value for key, value in options.items() if value is not None}
    places = {kind: said[kind] for kind in GROUPS if kind in said}
    choice = choose_saved(saved, plugins, places, own)
    sayings = [Saying(key, key, value, "script") for key, value in said.items()]
    choice = add_sayings(saved, choice, sayings)
    check_secrets(saved, choice)
    return choice


def choose_beside(
    saved: SavedRun,
    given: Mapping[str, str | None],
    plugins: Sequence[str],
    recipe: ConfigFile,
    config: ConfigFile,
    *,
    quiet: bool,
) -> tuple[SavedRun, Choice]:
    """Take plugins and options from a checkpoint; what else is said must agree with it.

    Args:
        saved: the run.
        given: what names a new place of the model and the dataset, by kind; None if nothing does.
        plugins: what names new places of plugins, or takes some away.
        recipe: a recipe.
        config: a configuration file, which goes over the recipe.
        quiet: whether to leave out what only shows how far the run is.

    Raises:
        ConfigError: something else than an epoch number or a place differs.
        CheckpointError: something is not where it was.
    """
    items = plugins or config.plugins() or recipe.plugins()
    moved, removed = select_plugins(items, ())
    moved = [recipe.explain(config.explain(word)) for word in moved]
    saved = saved._replace(without=removed)
    had = {each["name"] for each in saved.plugins}
    if is_whole_selection(items):
        wanted = ",".join(each.name for each in resolve_plugins(moved))
        before = ",".join(each["name"] for each in saved.plugins)
        _check_agrees(saved, "--plugins", wanted, before)
    places = name_components(given, recipe, config)
    found = choose_saved(saved, name_plugins(saved, moved), places)
    choice = found.with_plugins(leave_out_quiet(found.plugins, quiet=quiet))
    for each in found.plugins:
        if each not in choice.plugins:
            saved = saved.forget(each.name)
    words = {kind: found.values[kind] for kind in GROUPS}
    absent = {*removed, *had}
    sayings = [
        Saying(f"{file.name}: {key}", key, value, file.name)
        for file in (recipe, config)
        for key, value in file.values(
            choice.plugins, choice.components.values(), words, absent
        ).items()
    ]
    return saved, add_sayings(saved, choice, sayings)


def add_sayings(saved: SavedRun, choice: Choice, sayings: Iterable[Saying]) -> Choice:
    """Let what is given beside a saved run go over it, where that may change.

    Raises:
        ConfigError: something else than an epoch number or a place differs.
    """
    changed = []
    hidden = _hidden_specs(saved, choice)
    for each in sayings:
        before = choice.values.get(each.key)
        if each.key in hidden:
            _check_hidden(saved, each, *hidden[each.key])
        elif not _may_change(each.key, before):
            _check_agrees(saved, each.where, each.value, before)
        changed.append(each)
    return choice.with_given(
        {each.key: each.value for each in changed}, {each.key: each.source for each in changed}
    )


def check_secrets(saved: SavedRun, choice: Choice) -> None:
    """Make sure that what a checkpoint does not keep was given again, once all is said.

    Raises:
        ConfigError: a password or a token was set before, and is missing.
    """
    made = {each.name: each.instance for each in choice.plugins if each.instance is not None}
    for key, (spec, before) in _hidden_specs(saved, choice).items():
        owner = key.rpartition(".")[0]
        if before is not None and key not in choice.values and owner not in made:
            holds = "it was set" if spec.is_secret else f"it was {before}"
            file = " @FILE" if spec.is_secret else ""
            flag = f"--{owner}.{spec.flag_name}"
            raise ConfigError(
                f"{flag}: {holds} when the run in {saved.directory.path} began, and no checkpoint "
                f"keeps a secret; give it again, as {flag}{file}, by "
                f"{environment_name(parameter_name(spec.name, owner))}, in a --config, or in a "
                "script with the plugin itself"
            )


def _hidden_specs(saved: SavedRun, choice: Choice) -> dict[str, tuple[OptionSpec, Any]]:
    """Give the options whose values a checkpoint does not keep, with what stands for each."""
    options = {kind: each["options"] for kind, each in saved.components.items()}
    options |= {each["name"]: each["options"] for each in saved.plugins}
    return {
        key_of(spec.name, owner.prefix): (spec, before)
        for owner in choice.owners
        for spec in owner.specs
        if spec.hides(before := options.get(owner.prefix, {}).get(spec.name))
    }


def _check_hidden(saved: SavedRun, saying: Saying, spec: OptionSpec, before: Any) -> None:
    """Compare what is not hidden of a value: nothing of a secret, an address but for its secret."""
    if not spec.is_secret:
        _check_agrees(saved, saying.where, spec.plain(saying.value), before)


def name_plugins(saved: SavedRun, moved: Iterable[str] = ()) -> list[str]:
    """Name the plugins that the run had and that are still there, as a user would.

    Args:
        saved: the run.
        moved: what names some of them by their new place.

    Raises:
        CheckpointError: it had no plugin of such a name.
    """
    installed = find_plugins()
    places = {Reference.parse(word).name: word for word in moved}
    uses = {each["name"]: each["use"] for each in saved.plugins}
    left_out = {each["name"] for each in saved.plugins if each["left_out"]}
    for name in (*places, *saved.without):
        if name not in uses:
            raise CheckpointError(saved.path, f"was made without the plugin {name!r}")
    there = {use for use in uses.values() if use in installed or _is_found(use)}
    return [
        places.get(name, f"{name}={use}")
        for name, use in uses.items()
        if name not in saved.without and (name in places or (use in there and name not in left_out))
    ]


def _is_found(use: str) -> bool:
    """Tell whether a file, or something in a module, is there."""
    reference = Reference.parse(use)
    return (reference.is_file or reference.is_module) and reference.is_there()


def _check_places(saved: SavedRun, words: Mapping[str, str]) -> None:
    """Make sure that the files of the run's model and dataset are where they are looked for."""
    for kind in saved.components:
        place = words[kind]
        if place == saved.config[kind] and not Reference.parse(place).is_there():
            raise CheckpointError(
                saved.path,
                f"the {kind} {place} is no longer there; where it has moved to, --{kind} says",
            )


def _config_values(saved: SavedRun) -> dict[str, Any]:
    """Give what the run was asked to do; its directory is where it is now."""
    unknown = sorted({*saved.config} - {spec.name for spec in option_specs(RunConfig)})
    if unknown:
        raise CheckpointError(saved.path, f"has the unknown option {unknown[0]!r}")
    try:
        values = _convert(option_specs(RunConfig), saved.config, "")
    except ConfigError as error:
        raise CheckpointError(saved.path, str(error)) from error
    return values | {"out": saved.directory.path, "force": False}


def _convert(specs: Iterable[OptionSpec], options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Turn plain values back into those of options; what is no option, or hidden, is left out."""
    by_name = {spec.name: spec for spec in specs}
    return {
        name: by_name[name].convert(value, f"{where}.{name}" if where else name)
        for name, value in options.items()
        if name in by_name and not by_name[name].hides(value)
    }


def _may_change(key: str, before: object) -> bool:
    """Tell whether an option may be another: epochs, and where something is.

    What a place leads to is compared instead.
    """
    return key in (EPOCHS, *_PLACES) or (key.startswith("dataset.") and isinstance(before, Path))


def _check_agrees(saved: SavedRun, where: str, given: object, before: object) -> None:
    """Refuse what differs from the run that goes on."""
    same = [each.absolute() if isinstance(each, Path) else each for each in (given, before)]
    if same[0] != same[1]:
        raise ConfigError(
            f"{where}: {_spelled(given)} differs from {_spelled(before)}, with which the run in "
            f"{saved.directory.path} began; only --epochs may change, and where things are"
        )


def _spelled(value: object) -> Any:
    return each_text(to_plain(value), mask_addresses)
