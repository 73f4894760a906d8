"""Saving all that a run is made of, and going on from there to the last bit."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import suppress
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from . import checkpoint
from .attachment import Attachment
from .config import RunConfig
from .directory import RunDirectory
from .errors import CheckpointError, ConfigError
from .optimizer import load_optimizer_state
from .options import OptionSpec, option_specs, plain, plain_options
from .parts import GROUPS, is_there
from .plugin import Plugin, find_plugins, resolve_plugins, split_name
from .randomness import get_random_state, set_random_state
from .registry import is_file, qualified_name

if TYPE_CHECKING:
    from .parts import ChosenPart
    from .run import Run

logger = logging.getLogger(__package__)

FORMAT = 3

CUSTOM = "custom"
"""What the dataset is called where the loaders are one's own."""

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
_SOURCE_KEYS = ("kind", "distribution", "sha256")
_PLUGIN_KEYS = ("name", "use", "source", "options", "changes_training", "left_out", "state")
_PART_KEYS = ("name", "source", "options")

# Options that say where something is. It may have moved; what it holds is what counts.
PLACES = (*GROUPS, "data_dir")

# Digits of a digest that a message shows.
_DIGITS_SHOWN = 12


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
        if not isinstance(each["source"], dict) or set(each["source"]) != set(_SOURCE_KEYS):
            raise CheckpointError(path, "lacks where a part or a plugin came from")
    for name in ("epoch", "iteration", "steps"):
        if content[name] < 0:
            raise CheckpointError(path, f"has {name} {content[name]}")


def config_of(saved: SavedRun, **given: Any) -> RunConfig:
    """Give what the run was asked to do; its directory is where it is now.

    Args:
        saved: the run.
        **given: options that are others than they were: epochs, and the PLACES.

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
        return RunConfig(**values | given)
    except ConfigError as error:
        raise CheckpointError(saved.path, str(error)) from error


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
    places = {split_name(word)[0]: word for word in moved}
    uses = {each["name"]: each["use"] for each in saved.plugins}
    left_out = {each["name"] for each in saved.plugins if each["left_out"]}
    for name in (*places, *saved.without):
        if name not in uses:
            raise CheckpointError(saved.path, f"was made without the plugin {name!r}")
    there = {use for use in uses.values() if use in installed or (is_file(use) and is_there(use))}
    return [
        places.get(name, f"{name}={use}")
        for name, use in uses.items()
        if name not in saved.without and (name in places or (use in there and name not in left_out))
    ]


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
        if place == saved.config[kind] and not is_there(place):
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


def capture(run: "Run") -> dict[str, Any]:
    """Collect the state of all parts of a run.

    Raises:
        CheckpointError: a weight is not finite, so nobody should go on from here.
    """
    state = run.trainer.state
    content = {
        "format": FORMAT,
        "versions": _versions(),
        "config": plain_options(run.config) | {"data_dir": str(run.config.data_dir.absolute())},
        "dataset": {"name": run.dataset_name, "sha256": dict(run.data_sha256)},
        "parts": {kind: _capture_part(part, run) for kind, part in run.parts.items()},
        "plugins": [_capture_plugin(each) for each in run.attachments] + list(run.carried_plugins),
        "kinds": _kinds(run),
        "epoch": state.epoch,
        "iteration": run.recorder.iteration,
        "steps": run.recorder.steps,
        "left_epoch": run.left_epoch,
        "epoch_length": state.epoch_length,
        "ended": run.trainer.should_terminate,
        "model": dict(run.model.state_dict()),
        "buffers": _other_buffers(run.model),
        "frozen": [name for name, each in run.model.named_parameters() if not each.requires_grad],
        "loss": _state_of(run.loss_fn),
        "optimizer": run.optimizer.state_dict(),
        "history": run.history.state_dict(),
        "recorder": run.recorder.state_dict(),
        "random": _random_state_to_go_on_from(run),
        "epoch_random": run.random_state_of_epoch,
    }
    # A buffer may be a mask of infinities.
    has_nan = any(bool(buffer.isnan().any()) for buffer in run.model.buffers())
    if has_nan or not _is_finite(list(run.model.parameters())):
        raise CheckpointError(run.directory.path, "not saved: the model is not finite")
    if not _is_finite(content["optimizer"]):
        raise CheckpointError(run.directory.path, "not saved: the optimizer is not finite")
    return content


def _random_state_to_go_on_from(run: "Run") -> Mapping[str, Any]:
    """Give the random generators as they are; of an epoch without an iteration, as it began.

    What its loader has drawn by then, it draws again.
    """
    ended = run.history.epochs
    over = max(ended[-1].epoch if ended else 0, run.left_epoch)
    if run.trainer.state.epoch > over and run.recorder.steps == 0:
        return run.random_state_of_epoch
    return run.random_state()


def _capture_part(part: "ChosenPart", run: "Run") -> dict[str, Any]:
    return {
        "name": part.name,
        "source": _source_of_part(part, run),
        "options": _resolved_options(part),
    }


def _source_of_part(part: "ChosenPart", run: "Run") -> dict[str, str]:
    return {
        "kind": qualified_name(part.make),
        "distribution": "" if is_file(getattr(run.config, part.kind)) else part.origin,
        "sha256": part.source_digest,
    }


def _source_of_plugin(plugin: Plugin) -> dict[str, str]:
    return {
        "kind": type(plugin).__qualname__,
        "distribution": "" if is_file(plugin.use) else plugin.distribution,
        "sha256": plugin.source_digest,
    }


def _resolved_options(part: "ChosenPart") -> dict[str, Any]:
    """Give a part's options as plain values, with paths as seen from anywhere."""
    return {
        name: str(value.absolute()) if isinstance(value, Path) else plain(value)
        for name, value in part.options.items()
    }


def _kinds(run: "Run") -> dict[str, str]:
    return {"optimizer": qualified_name(run.optimizer), "loss": qualified_name(run.loss_fn)}


def _other_buffers(model: nn.Module) -> list[dict[str, Any]]:
    """Give the buffers that a model's state_dict() leaves out, each with all its names."""
    persistent = model.state_dict().keys()
    names: dict[int, list[str]] = {}
    values: dict[int, Tensor] = {}
    for name, buffer in model.named_buffers(remove_duplicate=False):
        if name not in persistent:
            names.setdefault(id(buffer), []).append(name)
            values[id(buffer)] = buffer
    return [{"names": names[each], "value": values[each]} for each in names]


def _state_of(loss_fn: object) -> dict[str, Any]:
    return dict(loss_fn.state_dict()) if isinstance(loss_fn, nn.Module) else {}


def _capture_plugin(attachment: Attachment) -> dict[str, Any]:
    plugin = attachment.plugin
    return {
        "name": plugin.name,
        "use": plugin.use,
        "source": _source_of_plugin(plugin),
        "options": plain_options(plugin),
        "changes_training": plugin.changes_training,
        "left_out": False,
        # None of one that was detached: it begins anew.
        "state": attachment.call("state_dict", plugin.state_dict),
    }


def _versions() -> dict[str, str]:
    versions = {package: version(package) for package in ("ignite-threenet", "torch")}
    # Sums over other shares of the numbers differ in their last bits.
    return {**versions, "threads": str(torch.get_num_threads())}


def _is_finite(value: object) -> bool:
    if isinstance(value, Tensor):
        return bool(value.isfinite().all())
    if isinstance(value, Mapping):
        return all(_is_finite(each) for each in value.values())
    if isinstance(value, list | tuple):
        return all(_is_finite(each) for each in value)
    return True


def check_epochs(saved: SavedRun, epochs: int) -> None:
    """Make sure that a run is not to end before it was stopped.

    Raises:
        ConfigError: it has begun more epochs than it is asked for.
    """
    begun = saved.content["epoch"]
    if epochs < begun:
        raise ConfigError(f"epochs: {epochs}, and {saved.path} is in epoch {begun} already")


def check_loaders(saved: SavedRun, *, are_own: bool) -> None:
    """Make sure, before any data is loaded, that it comes from where it came from.

    Raises:
        CheckpointError: the run had loaders of one's own and has none, or the other way round.
    """
    had_own = "dataset" not in saved.parts
    if had_own and not are_own:
        raise CheckpointError(saved.path, "was made with loaders of one's own, and is given none")
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
        _check_options(saved, where, before["options"], options)
        changes += _check_source(saved, where, before["source"], _source_of_plugin(plugin))
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


def check_parts(saved: SavedRun, run: "Run") -> list[Change]:
    """Make sure that a run has the model and the dataset that it had, with their options.

    Where they are does not matter. What a dataset holds is compared when it is loaded.

    Returns:
        The changes that are allowed.

    Raises:
        CheckpointError: one is another than it was.
    """
    changes: list[Change] = []
    for kind in sorted({*saved.parts, *run.parts}):
        part, before = run.parts.get(kind), saved.parts.get(kind)
        if part is None or before is None:
            was, now = ("your own", "chosen by name") if part else ("chosen by name", "your own")
            raise CheckpointError(saved.path, f"the {kind} was {was}, and is {now}")
        where, source = f"{kind} {part.name!r}", _source_of_part(part, run)
        options = _resolved_options(part)
        if kind == "dataset":
            paths = {name for name, each in part.options.items() if isinstance(each, Path)}
            options |= {name: before["options"].get(name) for name in paths}
            if source["kind"] != before["source"]["kind"]:
                source = before["source"]  # another way to the same data, as will be seen
        _check_options(saved, where, before["options"], options)
        changes += _check_source(saved, where, before["source"], source)
    return changes


def check_kinds(saved: SavedRun, run: "Run") -> None:
    """Make sure that a script gives the kind of optimizer and of loss that it gave at first.

    Raises:
        CheckpointError: one is of another kind.
    """
    for what, now in _kinds(run).items():
        before = saved.content["kinds"].get(what)
        if before != now:
            raise CheckpointError(saved.path, f"the {what} was {before}, and is {now}")


def _check_options(
    saved: SavedRun, where: str, before: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            raise CheckpointError(
                saved.path, f"{where}: {name} was {before.get(name)!r}, and is {now.get(name)!r}"
            )


def _check_source(
    saved: SavedRun, where: str, before: Mapping[str, str], now: Mapping[str, str]
) -> list[Change]:
    """Refuse another source than the run was made with, unless that is allowed."""
    changes = []
    for fact in _SOURCE_KEYS:
        if before[fact] != now[fact]:
            change = _change(saved, where, fact, before[fact], now[fact])
            spelled = _spell_change(change)
            if not saved.allow_changes:
                raise CheckpointError(saved.path, f"{spelled}; go on with it by --allow-changes")
            logger.warning("%s", spelled)
            changes.append(change)
    return changes


def _change(saved: SavedRun, where: str, fact: str, before: str, now: str) -> Change:
    at = {name: saved.content[name] for name in ("epoch", "iteration")}
    return {"of": where, "fact": fact, "before": before, "now": now, **at}


def key_of(change: Mapping[str, Any]) -> tuple[str, str]:
    """Tell what a change is about."""
    return change["of"], change["fact"]


def _spell_change(change: Change) -> str:
    values = [change[each] or "none" for each in ("before", "now")]
    if change["fact"] == "sha256":
        values = [value[:_DIGITS_SHOWN] for value in values]
    noun = {"sha256": "the SHA-256 digest of its source"}.get(change["fact"], change["fact"])
    return f"{change['of']}: {noun} was {values[0]}, and is {values[1]}"


def check_versions(saved: SavedRun) -> None:
    """Warn where the result may differ in its last bits from that of a run never stopped."""
    for package, now in _versions().items():
        before = saved.content["versions"].get(package)
        if before != now:
            logger.warning("saved with %s %s, resumed with %s", package, before, now)


def check_data(saved: SavedRun, run: "Run") -> None:
    """Make sure that a run has the data that it had.

    Raises:
        CheckpointError: it is other data.
    """
    before, now = saved.content["dataset"]["sha256"], run.data_sha256
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
    loader = run.loaders["train"]
    if length is not None and isinstance(loader, Sized) and len(loader) != length:
        raise CheckpointError(
            saved.path, f"an epoch had {length} iterations, and the loader gives {len(loader)}"
        )
    generators_before = len(saved.content["random"]["loader"])
    generators = len(get_random_state(loader)["loader"])
    if generators != generators_before:
        raise CheckpointError(
            saved.path,
            f"the loader had {generators_before} random generators of its own, and has "
            f"{generators}",
        )


def restore(saved: SavedRun, run: "Run") -> None:
    """Put all parts of a run into the state in which they were saved; the counters are there.

    Raises:
        CheckpointError: what was saved does not fit the run.
        PluginFailedError: a plugin does not take its state back.
    """
    content = saved.content
    try:
        _make_missing_buffers(run.model, content["model"], run.device)
        run.model.load_state_dict(content["model"])
        for buffer in content["buffers"]:
            _restore_buffer(run.model, buffer["names"], buffer["value"].to(run.device))
        for name, parameter in run.model.named_parameters():
            parameter.requires_grad_(name not in content["frozen"])
        if isinstance(run.loss_fn, nn.Module):
            run.loss_fn.load_state_dict(content["loss"])
        load_optimizer_state(run.optimizer, content["optimizer"])
        run.history.load_state_dict(content["history"])
        run.recorder.load_state_dict(content["recorder"], run.device)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # torch says in the first line of several that there is something to say.
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise CheckpointError(saved.path, f"does not fit this run: {reason}") from error
    states = {each["name"]: each["state"] for each in saved.plugins}
    for attachment in run.attachments:
        plugin, state = attachment.plugin, states[attachment.name]
        if state is not None:
            attachment.call("load_state_dict", plugin.load_state_dict, state)
    set_random_state(content["random"], run.loaders["train"])


def _make_missing_buffers(model: nn.Module, saved: Mapping[str, Any], device: torch.device) -> None:
    """Make the buffers that were None before the first batch: load_state_dict() makes none."""
    for name in saved.keys() - model.state_dict().keys():
        path, _, attribute = name.rpartition(".")
        with suppress(AttributeError):
            owner = model.get_submodule(path)
            if attribute in owner._buffers:
                setattr(owner, attribute, torch.empty_like(saved[name], device=device))


def _restore_buffer(model: nn.Module, names: Sequence[str], value: Tensor) -> None:
    """Put back a buffer that is not persistent; several modules may share it."""
    for name in names:
        path, _, attribute = name.rpartition(".")
        owner = model.get_submodule(path)
        current = getattr(owner, attribute)
        if isinstance(current, Tensor) and current.shape == value.shape:
            value = current.copy_(value)
        else:
            setattr(owner, attribute, value)


class ResumedLoader:
    """A loader whose first pass begins where a saved run stopped in mid-epoch.

    The batches before are fetched and dropped, from the random state that the epoch began with,
    so that any loader which repeats itself goes on with the very batch that was next.
    """

    def __init__(self, loader: Iterable[Any], saved: SavedRun) -> None:
        self._loader = loader
        self._saved: SavedRun | None = saved

    def __iter__(self) -> Iterator[Any]:
        if self._saved is None:
            return iter(self._loader)
        saved, self._saved = self._saved, None
        return self._resume(saved)

    def _resume(self, saved: SavedRun) -> Iterator[Any]:
        set_random_state(saved.content["epoch_random"], self._loader)
        batches = iter(self._loader)
        done = saved.iterations_in_epoch
        found = sum(1 for _ in islice(batches, done))
        if found < done:
            raise CheckpointError(
                saved.path, f"the epoch had {done} iterations, and the loader gives {found}"
            )
        set_random_state(saved.content["random"], self._loader)
        yield from batches
