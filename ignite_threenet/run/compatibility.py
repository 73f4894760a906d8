"""Whether a saved run can go on with what there is now."""

import logging
from collections.abc import Iterable, Mapping, Sized
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..config import RunConfig
from ..data.data_module import DataModule
from ..errors import CheckpointError, ConfigError
from ..extensions.component import Component
from ..extensions.importing import qualified_name
from ..extensions.plugin import Plugin
from ..extensions.reference import Reference
from ..options.declaration import OptionSpec, option_specs, plain_options
from ..training.randomness import get_random_state
from .assembly import Parts
from .saved_run import SOURCE_KEYS, SavedRun

logger = logging.getLogger("ignite_threenet")

# Digits of a digest that a message shows.
_DIGITS_SHOWN = 12


def source_of_component(component: Component, word: str) -> dict[str, str]:
    """Tell where a model or a dataset came from, which a word has named."""
    return {
        "kind": qualified_name(component.make),
        "distribution": "" if Reference.parse(word).is_file else component.origin,
        "sha256": component.source_digest,
        "file": component.file_digest,
    }


def source_of_plugin(plugin: Plugin) -> dict[str, str]:
    """Tell where a plugin came from."""
    return {
        "kind": type(plugin).__qualname__,
        "distribution": "" if Reference.parse(plugin.use).is_file else plugin.distribution,
        "sha256": plugin.source_digest,
        "file": plugin.file_digest,
    }


def resolved_options(component: Component) -> dict[str, Any]:
    """Give a component's options as plain values, with paths as seen from anywhere."""
    places = {
        name: str(value.absolute())
        for name, value in component.options.items()
        if isinstance(value, Path)
    }
    return component.plain_options | places


def kinds_of(parts: Parts) -> dict[str, str]:
    """Name the kinds of a run's optimizer and loss."""
    return {"optimizer": qualified_name(parts.optimizer), "loss": qualified_name(parts.loss_fn)}


def current_versions() -> dict[str, str]:
    """Give what the last bits of a result depend on."""
    versions = {package: version(package) for package in ("ignite-threenet", "torch")}
    # Sums over other shares of the numbers differ in their last bits.
    return {**versions, "threads": str(torch.get_num_threads())}


def check_epochs(saved: SavedRun, epochs: int) -> None:
    """Make sure that a run is not to end before it was stopped.

    Raises:
        ConfigError: it has begun more epochs than it is asked for.
    """
    begun = saved.content["epoch"]
    if epochs < begun:
        raise ConfigError(f"epochs: {epochs}, and {saved.path} is in epoch {begun} already")


def check_own_loaders(saved: SavedRun, *, are_own: bool) -> None:
    """Make sure, before any data is loaded, that it comes from where it came from.

    Raises:
        CheckpointError: the run had loaders of its own and has none, or the other way round.
    """
    had_own = "dataset" not in saved.components
    if had_own and not are_own:
        raise CheckpointError(saved.path, "was made with loaders of your own, and is given none")
    if are_own and not had_own:
        name = saved.content["dataset"]["name"]
        raise CheckpointError(saved.path, f"was made with the dataset {name}, and is given loaders")


Change = dict[str, Any]
"""What is no longer as it was when a run was saved, in the words of the manifest."""


def check_plugins(
    saved: SavedRun, plugins: Iterable[Plugin]
) -> tuple[list[Mapping[str, Any]], list[Change]]:
    """Make sure that a run has the plugins that it had.

    Returns:
        What the checkpoint holds of plugins that are no longer there, which is carried along; and
        the changes that are allowed.

    Raises:
        CheckpointError: a plugin is another one than it was, or was not there, or one that changes
            the training is gone.
    """
    missing = {each["name"]: each for each in saved.plugins}
    changes: list[Change] = []
    for plugin in plugins:
        before = missing.pop(plugin.name, None)
        if before is None:
            raise CheckpointError(saved.path, f"was made without the plugin {plugin.name!r}")
        where, options = f"plugin {plugin.name!r}", plain_options(plugin)
        _check_options(saved, where, before["options"], options, option_specs(type(plugin)))
        changes += _check_source(saved, where, before["source"], source_of_plugin(plugin))
    for before in missing.values():
        changes += _check_missing(saved, before)
    carried: list[Mapping[str, Any]] = [
        {**each, "left_out": each["left_out"] or each["name"] in saved.without}
        for each in missing.values()
    ]
    return carried, changes


def _check_missing(saved: SavedRun, plugin: Mapping[str, Any]) -> list[Change]:
    """Tell of a plugin that is not there; one that changes the training must not just vanish."""
    name, place = plugin["name"], plugin["source"]["distribution"] or plugin["use"]
    origin = f" ({place})" if place else ""
    if plugin["left_out"]:
        return []
    if name in saved.without:
        logger.warning("going on without the plugin %r%s; its state is carried along", name, origin)
    elif plugin["changes_training"] and not saved.allow_changes:
        raise CheckpointError(
            saved.path,
            f"the plugin {name!r}{origin} is gone, and it changes the training; give its new place "
            f"by --plugins +{name}=FILE, or go on without it by --plugins no:{name}",
        )
    else:
        logger.warning("the plugin %r%s is gone; its state is carried along", name, origin)
    return [_change(saved, f"plugin {name!r}", "presence", "in the run", "gone")]


def check_components(
    saved: SavedRun, config: RunConfig, components: Mapping[str, Component]
) -> list[Change]:
    """Make sure that a run has the model and the dataset that it had, with their options.

    Where they are does not matter. What a dataset holds is compared when it is loaded.

    Returns:
        The changes that are allowed.

    Raises:
        CheckpointError: one is another than it was.
    """
    changes: list[Change] = []
    for kind in sorted({*saved.components, *components}):
        component, before = components.get(kind), saved.components.get(kind)
        if component is None or before is None:
            was, now = (
                ("your own", "chosen by name") if component else ("chosen by name", "your own")
            )
            raise CheckpointError(saved.path, f"the {kind} was {was}, and is {now}")
        where, source = (
            f"{kind} {component.name!r}",
            source_of_component(component, getattr(config, kind)),
        )
        options = resolved_options(component)
        if kind == "dataset":
            paths = {name for name, each in component.options.items() if isinstance(each, Path)}
            options |= {name: before["options"].get(name) for name in paths}
            if source["kind"] != before["source"]["kind"]:
                source = before["source"]  # another way to the same data, as will be seen
        _check_options(saved, where, before["options"], options, component.specs)
        changes += _check_source(saved, where, before["source"], source)
    return changes


def check_kinds(saved: SavedRun, parts: Parts) -> None:
    """Make sure that a script gives the kind of optimizer and of loss that it gave at first.

    Raises:
        CheckpointError: one is of another kind.
    """
    for what, now in kinds_of(parts).items():
        before = saved.content["kinds"].get(what)
        if before != now:
            raise CheckpointError(saved.path, f"the {what} was {before}, and is {now}")


def _check_options(
    saved: SavedRun,
    where: str,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    specs: Iterable[OptionSpec],
) -> None:
    secrets = {spec.name for spec in specs if spec.is_secret}
    for name in sorted({*before, *now} - secrets):
        if before.get(name) != now.get(name):
            raise CheckpointError(
                saved.path, f"{where}: {name} was {before.get(name)!r}, and is {now.get(name)!r}"
            )


def _check_source(
    saved: SavedRun, where: str, before: Mapping[str, str], now: Mapping[str, str]
) -> list[Change]:
    """Refuse another source than the run was made with, unless that is allowed."""
    changes = []
    for fact in SOURCE_KEYS:
        if before[fact] != now[fact]:
            change = _change(saved, where, fact, before[fact], now[fact])
            spelled = _format_change(change)
            if not saved.allow_changes:
                raise CheckpointError(saved.path, f"{spelled}; go on with it by --allow-changes")
            logger.warning("%s", spelled)
            changes.append(change)
    return changes


def _change(saved: SavedRun, where: str, fact: str, before: str, now: str) -> Change:
    at = {name: saved.content[name] for name in ("epoch", "iteration")}
    return {"of": where, "fact": fact, "before": before, "now": now, **at}


def merge_changes(saved: SavedRun, changes: Iterable[Change]) -> list[Change]:
    """Add changes to those that the run knows of; what is as it was last is no change."""
    known: list[Change] = list(saved.directory.manifest.get("changes", []))
    last = {(each["of"], each["fact"]): each["now"] for each in known}
    return known + [each for each in changes if last.get((each["of"], each["fact"])) != each["now"]]


def _format_change(change: Change) -> str:
    where, before, now = change["of"], change["before"], change["now"]
    if change["fact"] == "sha256":
        return format_digests(where, before, now)
    return f"{where}: {change['fact']} was {before or 'none'}, and is {now or 'none'}"


def format_digests(where: str, before: str, now: str) -> str:
    """Say that the source of something has changed."""
    digests = [each[:_DIGITS_SHOWN] or "none" for each in (before, now)]
    return f"{where}: the SHA-256 digest of its source was {digests[0]}, and is {digests[1]}"


def check_versions(saved: SavedRun) -> None:
    """Warn where the result may differ in its last bits from that of a run never stopped."""
    for package, now in current_versions().items():
        before = saved.content["versions"].get(package)
        if before != now:
            logger.warning("saved with %s %s, resumed with %s", package, before, now)


def check_data(saved: SavedRun, data: DataModule) -> None:
    """Make sure that a run has the data that it had.

    Raises:
        CheckpointError: it is other data.
    """
    before, now = saved.content["dataset"]["sha256"], data.sha256
    if before != now:
        names = sorted({*before, *now})
        differing = [each for each in names if before.get(each) != now.get(each)]
        name = saved.content["dataset"]["name"]
        raise CheckpointError(
            saved.path,
            f"the data is not the same as that of {name}, by its SHA-256 digests: "
            f"{', '.join(differing)}",
        )
    length = saved.content["epoch_length"]
    loader = data.train_loader
    if length is not None and isinstance(loader, Sized) and len(loader) != length:
        raise CheckpointError(
            saved.path, f"an epoch had {length} iterations, and the loader gives {len(loader)}"
        )
    if getattr(loader, "persistent_workers", False):
        logger.warning(
            "the loader of the split 'train' has persistent workers: what they draw at random is "
            "not what they would have drawn in a run never stopped"
        )
    generators_before = len(saved.content["random"]["loader"])
    generators = len(get_random_state(loader)["loader"])
    if generators != generators_before:
        raise CheckpointError(
            saved.path,
            f"the loader had {generators_before} random generators of its own, and has "
            f"{generators}",
        )
