"""A run that can go on."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..config import RunConfig
from ..errors import CheckpointError, ConfigError
from ..extensions.component import GROUPS
from ..extensions.plugin import Plugin
from ..extensions.reference import Reference
from ..extensions.selection import find_plugins, resolve_plugins
from ..options.declaration import OptionSpec, option_specs
from ..storage import checkpoint_file as checkpoint
from ..storage.directory import RunDirectory

logger = logging.getLogger("ignite_threenet")
FORMAT = 3
_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "format": int,
    "versions": dict,
    "config": dict,
    "dataset": dict,
    "parts": dict,
    "plugins": list,
    "kinds": dict,
    "epoch": int,
    "iteration": int,
    "steps": int,
    "left_epoch": int,
    "epoch_length": (int, type(None)),
    "ended": (bool, str),
    "model": dict,
    "buffers": list,
    "frozen": list,
    "loss": dict,
    "optimizer": dict,
    "history": dict,
    "recorder": dict,
    "random": dict,
    "epoch_random": dict,
}
SOURCE_KEYS = ("kind", "distribution", "sha256")
_PLUGIN_KEYS = ("name", "use", "source", "options", "changes_training", "left_out", "state")
_PART_KEYS = ("name", "source", "options")

# Options that say where something is. It may have moved; what it holds is what counts.
PLACES = (*GROUPS, "data_dir")


class SavedRun(NamedTuple):
    """A run that can go on.

    Attributes:
        directory: its directory, locked by this process.
        path: the checkpoint.
        content: what the checkpoint holds.
        allow_changes: whether it may go on with another source than it was made with.
        without: plugins that it goes on without.
    """

    directory: RunDirectory
    path: Path
    content: Mapping[str, Any]
    allow_changes: bool = False
    without: Collection[str] = ()

    def forget(self, plugin: str) -> "SavedRun":
        """Take a plugin for one that the run never had."""
        kept = [each for each in self.plugins if each["name"] != plugin]
        return self._replace(content={**self.content, "plugins": kept})

    @property
    def config(self) -> Mapping[str, Any]:
        """The run's options, as plain values."""
        config: Mapping[str, Any] = self.content["config"]
        return config

    @property
    def parts(self) -> Mapping[str, Mapping[str, Any]]:
        """Where the model and the dataset came from, and their options, by the kind of part."""
        parts: Mapping[str, Mapping[str, Any]] = self.content["parts"]
        return parts

    @property
    def plugins(self) -> Sequence[Mapping[str, Any]]:
        """The plugins' names, sources, options and states, in their order."""
        plugins: Sequence[Mapping[str, Any]] = self.content["plugins"]
        return plugins

    @property
    def is_in_mid_epoch(self) -> bool:
        """Whether an epoch has begun and not ended."""
        ended = self.content["history"]["epochs"]
        last = ended[-1]["epoch"] if ended else 0
        return bool(self.content["epoch"] > max(last, self.content["left_epoch"]))

    @property
    def iterations_in_epoch(self) -> int:
        """Iterations done of the epoch in hand; none where it has ended."""
        return int(self.content["steps"]) if self.is_in_mid_epoch else 0

    @property
    def is_at_epoch_end(self) -> bool:
        """Whether the epoch in hand has had all its iterations, and nobody has heard of its end."""
        return self.is_in_mid_epoch and self.content["steps"] == self.content["epoch_length"]

    def has_ended(self, epochs: int) -> bool:
        """Tell whether the training had ended, where no more than some epochs are wanted."""
        was_terminated = bool(self.content["ended"]) and epochs <= self.config["epochs"]
        is_done = not self.is_in_mid_epoch and self.content["epoch"] >= epochs
        return was_terminated or is_done

    def is_completed(self, epochs: int) -> bool:
        """Tell whether it was summed up, and no more epochs are wanted than it was asked for."""
        summary = self.directory.read_summary()
        return summary.get("status") == "completed" and epochs <= self.config["epochs"]

    def remove_damaged(self) -> None:
        """Remove the newer checkpoints, none of which could be read.

        Else they would count as the newest, and push out those that are written from now on.
        """
        for path in self.directory.checkpoints():
            if path == self.path:
                return
            path.unlink()


def open_saved_run(path: Path) -> SavedRun:
    """Take a run's directory, and read its newest checkpoint that can be read.

    Raises:
        DirectoryError: there is no run, or another process is using it.
        CheckpointError: no checkpoint can be read, or the newest one that can is of another
            version.
    """
    directory = RunDirectory.open(path)
    try:
        return _read_newest(directory)
    except BaseException:
        directory.release()
        raise


def _read_newest(directory: RunDirectory) -> SavedRun:
    problems: list[CheckpointError] = []
    for path in directory.checkpoints():
        try:
            content = checkpoint.read(path)
        except CheckpointError as error:
            problems.append(error)
            continue
        _check_content(path, content)
        for problem in problems:
            logger.warning("%s; taking %s instead", problem, path.name)
        return SavedRun(directory, path, content)
    if not problems:
        raise CheckpointError(
            directory.path,
            "holds no checkpoint to go on from; the plugin 'checkpoint' writes them",
        )
    if len(problems) == 1:
        raise problems[0]
    raise CheckpointError(
        directory.path, f"none of its {len(problems)} checkpoints can be read; {problems[0]}"
    ) from problems[0]


def _check_content(path: Path, content: Mapping[str, Any]) -> None:
    found = content.get("format")
    if found != FORMAT:
        raise CheckpointError(path, f"has the format {found!r}; this version reads {FORMAT}")
    for name, kind in _KEYS.items():
        if not isinstance(content.get(name), kind):
            raise CheckpointError(path, f"lacks {name!r}")
    for plugin in content["plugins"]:
        if not isinstance(plugin, dict) or set(plugin) != set(_PLUGIN_KEYS):
            raise CheckpointError(path, "lacks a part of a plugin")
    for part in content["parts"].values():
        if not isinstance(part, dict) or set(part) != set(_PART_KEYS):
            raise CheckpointError(path, "lacks a part of the model or the dataset")
    for each in (*content["plugins"], *content["parts"].values()):
        if not isinstance(each["source"], dict) or set(each["source"]) != set(SOURCE_KEYS):
            raise CheckpointError(path, "lacks where a part or a plugin came from")
    for name in ("epoch", "iteration", "steps"):
        if content[name] < 0:
            raise CheckpointError(path, f"has {name} {content[name]}")


def config_of(saved: SavedRun, **given: Any) -> RunConfig:
    """Give what the run was asked to do; its directory is where it is now.

    Args:
        saved: the run.
        **given: options that are others than they were: epochs, and the PLACES; None for those
            that are as they were.

    Raises:
        CheckpointError: an option is one that this version does not know or take.
    """
    specs = {spec.name: spec for spec in option_specs(RunConfig)}
    unknown = sorted(set(saved.config) - set(specs))
    if unknown:
        raise CheckpointError(saved.path, f"has the unknown option {unknown[0]!r}")
    try:
        values = {name: specs[name].convert(value, name) for name, value in saved.config.items()}
        values |= {"out": saved.directory.path, "force": False}
        config = RunConfig(
            **values | {key: each for key, each in given.items() if each is not None}
        )
    except ConfigError as error:
        raise CheckpointError(saved.path, str(error)) from error
    check_places(saved, config.as_dict())
    return config


def plugins_of(saved: SavedRun, wanted: Iterable[str | Plugin] | None = None) -> list[Plugin]:
    """Make plugins with the options that they had.

    Args:
        saved: the run.
        wanted: the plugins, or what names them; those that the run had, as far as they are still
            there, where it is None.

    Raises:
        PluginError: one of them cannot be used.
        OptionError: one of them does not take its options any more.
    """
    options = {each["name"]: each["options"] for each in saved.plugins}
    return [
        chosen.create(**convert_options(chosen.specs, options.get(chosen.name, {}), chosen.name))
        for chosen in resolve_plugins(
            words_of(saved) if wanted is None else wanted, removed_of(saved)
        )
    ]


def removed_of(saved: SavedRun) -> set[str]:
    """Give the plugins to go on without that another one might bring back."""
    return set(saved.without) & find_plugins().keys()


def options_of(saved: SavedRun, kind: str) -> Mapping[str, Any]:
    """Give the options of the run's model or dataset, as plain values."""
    options: Mapping[str, Any] = saved.parts.get(kind, {}).get("options", {})
    return options


def words_of(saved: SavedRun, moved: Iterable[str] = ()) -> list[str]:
    """Name the plugins that the run had, as far as they are still there, as a user would.

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


def check_places(saved: SavedRun, config: Mapping[str, Any]) -> None:
    """Make sure that the files of the run's model and dataset are where they are looked for.

    Args:
        saved: the run.
        config: what it is asked to do now, by option.

    Raises:
        CheckpointError: one is not there.
    """
    for kind in saved.parts:
        place = str(config[kind])
        if place == saved.config[kind] and not Reference.parse(place).is_there():
            raise CheckpointError(
                saved.path,
                f"the {kind} {place} is no longer there; where it has moved to, --{kind} says",
            )


def convert_options(
    specs: Iterable[OptionSpec], options: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Turn plain values back into those of options; what is no option is left out."""
    by_name = {spec.name: spec for spec in specs}
    return {
        name: by_name[name].convert(value, f"{where}.{name}")
        for name, value in options.items()
        if name in by_name
    }
