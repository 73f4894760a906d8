"""Saving all that a run is made of, and going on from there to the last bit."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from . import checkpoint
from .config import RunConfig
from .directory import RunDirectory
from .errors import CheckpointError, ConfigError
from .options import OptionSpec, option_specs, plain
from .plugin import Plugin, find_plugins, resolve_plugins
from .randomness import set_random_state

if TYPE_CHECKING:
    from .run import Run

logger = logging.getLogger(__package__)

FORMAT = 1

_PARTS: Mapping[str, type | tuple[type, ...]] = {
    "format": int,
    "versions": dict,
    "config": dict,
    "dataset": dict,
    "plugins": list,
    "epoch": int,
    "iteration": int,
    "epoch_length": (int, type(None)),
    "model": dict,
    "optimizer": dict,
    "history": dict,
    "recorder": dict,
    "random": dict,
    "epoch_random": dict,
}
_PLUGIN_PARTS = ("name", "distribution", "options", "state")


class SavedRun(NamedTuple):
    """A run that can go on.

    Attributes:
        directory: its directory, locked by this process.
        path: the checkpoint.
        content: what the checkpoint holds.
    """

    directory: RunDirectory
    path: Path
    content: Mapping[str, Any]

    def without(self, plugin: str) -> "SavedRun":
        """Forget a plugin."""
        kept = [each for each in self.plugins if each["name"] != plugin]
        return self._replace(content={**self.content, "plugins": kept})

    @property
    def config(self) -> Mapping[str, Any]:
        """The run's options, as plain values."""
        config: Mapping[str, Any] = self.content["config"]
        return config

    @property
    def plugins(self) -> Sequence[Mapping[str, Any]]:
        """The plugins' names, distributions, options and states, in their order."""
        plugins: Sequence[Mapping[str, Any]] = self.content["plugins"]
        return plugins

    @property
    def is_in_mid_epoch(self) -> bool:
        """Whether an epoch has begun and not ended."""
        length = self.content["epoch_length"]
        return length is None or bool(self.content["iteration"] % length)


def open_saved_run(path: Path) -> SavedRun:
    """Take a run's directory, and read its newest checkpoint that can be read.

    Raises:
        DirectoryError: there is no run, or another process is using it.
        CheckpointError: no checkpoint can be read.
    """
    directory = RunDirectory.open(path)
    try:
        return _read_newest(directory)
    except BaseException:
        directory.release()
        raise


def _read_newest(directory: RunDirectory) -> SavedRun:
    paths = directory.checkpoints()
    if not paths:
        raise CheckpointError(directory.path, "holds no checkpoint to go on from")
    for path in paths:
        try:
            content = checkpoint.read(path)
            _check_parts(path, content)
        except CheckpointError as error:
            logger.warning("%s; taking the one before", error)
        else:
            return SavedRun(directory, path, content)
    raise CheckpointError(directory.path, "none of its checkpoints can be read")


def _check_parts(path: Path, content: Mapping[str, Any]) -> None:
    found = content.get("format")
    if found != FORMAT:
        raise CheckpointError(path, f"has the format {found!r}; this version reads {FORMAT}")
    for name, kind in _PARTS.items():
        if not isinstance(content.get(name), kind):
            raise CheckpointError(path, f"lacks {name!r}")
    for plugin in content["plugins"]:
        if not isinstance(plugin, dict) or set(plugin) != set(_PLUGIN_PARTS):
            raise CheckpointError(path, "lacks a plugin's name, distribution, options or state")
    for name in ("epoch", "iteration"):
        if content[name] < 0:
            raise CheckpointError(path, f"has {name} {content[name]}")


def config_of(saved: SavedRun, epochs: int | None = None) -> RunConfig:
    """Give what the run was asked to do; its directory is where it is now.

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
        return RunConfig(**values | ({"epochs": epochs} if epochs is not None else {}))
    except ConfigError as error:
        raise CheckpointError(saved.path, str(error)) from error


def plugins_of(saved: SavedRun) -> list[Plugin]:
    """Make the plugins that the run had, as far as they are still installed.

    Raises:
        PluginError: one of them cannot be used.
        OptionError: one of them does not take its options any more.
    """
    installed = find_plugins()
    there = [each for each in saved.plugins if each["name"] in installed]
    options = {each["name"]: each["options"] for each in there}
    return [
        chosen.create(**convert_options(chosen.specs, options.get(chosen.name, {}), chosen.name))
        for chosen in resolve_plugins(list(options))
    ]


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
        "config": plain(run.config.as_dict()),
        "dataset": {"name": run.dataset_name, "sha256": dict(run.data_sha256)},
        "plugins": [_capture_plugin(run, each) for each in run.plugins.values()]
        + list(run.carried_plugins),
        "epoch": state.epoch,
        "iteration": state.iteration,
        "epoch_length": state.epoch_length,
        "model": dict(run.model.state_dict()),
        "optimizer": run.optimizer.state_dict(),
        "history": run.history.state_dict(),
        "recorder": run.recorder.state_dict(),
        "random": run.random_state(),
        "epoch_random": run.random_state_of_epoch,
    }
    for part in ("model", "optimizer"):
        if not _is_finite(content[part]):
            raise CheckpointError(run.directory.path, f"not saved: the {part} is not finite")
    return content


def _capture_plugin(run: "Run", plugin: Plugin) -> dict[str, Any]:
    attachment = next(each for each in run.attachments if each.plugin is plugin)
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "options": _options_of(plugin),
        "state": attachment.call("state_dict", plugin.state_dict) or {},
    }


def _options_of(plugin: Plugin) -> dict[str, Any]:
    return {spec.name: plain(getattr(plugin, spec.name)) for spec in option_specs(type(plugin))}


def _versions() -> dict[str, str]:
    return {package: version(package) for package in ("ignite-threenet", "torch")}


def _is_finite(value: object) -> bool:
    if isinstance(value, Tensor):
        return bool(value.isfinite().all())
    if isinstance(value, Mapping):
        return all(_is_finite(each) for each in value.values())
    if isinstance(value, list | tuple):
        return all(_is_finite(each) for each in value)
    return True


def check_plugins(saved: SavedRun, plugins: Iterable[Plugin]) -> list[Mapping[str, Any]]:
    """Make sure that a run has the plugins that it had.

    Returns:
        What the checkpoint holds of plugins that are no longer there; it is carried along.

    Raises:
        CheckpointError: a plugin is another one than it was, or was not there.
    """
    missing = {each["name"]: each for each in saved.plugins}
    for plugin in plugins:
        before = missing.pop(plugin.name, None)
        if before is None:
            raise CheckpointError(saved.path, f"was made without the plugin {plugin.name!r}")
        now: dict[str, Any] = {
            "distribution": plugin.distribution,
            "options": _options_of(plugin),
        }
        for part, value in now.items():
            if before[part] != value:
                raise CheckpointError(
                    saved.path,
                    f"plugin {plugin.name!r}: {part} was {before[part]!r}, and is {value!r}",
                )
    for name, before in missing.items():
        origin = f" ({before['distribution']})" if before["distribution"] else ""
        logger.warning("the plugin %r%s is gone; its state is carried along", name, origin)
    return list(missing.values())


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
    name = saved.content["dataset"]["name"]
    if name != run.dataset_name:
        raise CheckpointError(saved.path, f"the dataset was {name}, and is {run.dataset_name}")
    before, now = saved.content["dataset"]["sha256"], run.data_sha256
    if before != now:
        names = sorted({*before, *now})
        differing = [each for each in names if before.get(each) != now.get(each)]
        raise CheckpointError(saved.path, f"the data is not the same: {', '.join(differing)}")
    length = saved.content["epoch_length"]
    loader = run.loaders["train"]
    if length is not None and isinstance(loader, Sized) and len(loader) != length:
        raise CheckpointError(
            saved.path, f"an epoch had {length} iterations, and the loader gives {len(loader)}"
        )


def restore(saved: SavedRun, run: "Run") -> None:
    """Put all parts of a run into the state in which they were saved; the counters are there.

    Raises:
        CheckpointError: what was saved does not fit the run.
        PluginFailedError: a plugin does not take its state back.
    """
    content = saved.content
    try:
        run.model.load_state_dict(content["model"])
        run.optimizer.load_state_dict(content["optimizer"])
        run.history.load_state_dict(content["history"])
        run.recorder.load_state_dict(content["recorder"], run.device)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(saved.path, f"does not fit this run: {reason}") from error
    states = {each["name"]: each["state"] for each in saved.plugins}
    for attachment in run.attachments:
        plugin = attachment.plugin
        attachment.call("load_state_dict", plugin.load_state_dict, states[plugin.name])
    set_random_state(content["random"], run.loaders["train"])


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
        content, self._saved = self._saved.content, None
        return self._resume(content)

    def _resume(self, content: Mapping[str, Any]) -> Iterator[Any]:
        length = content["epoch_length"]
        done = content["iteration"] % length if length else content["iteration"]
        set_random_state(content["epoch_random"], self._loader)
        batches = iter(self._loader)
        for _ in islice(batches, done):
            pass
        set_random_state(content["random"], self._loader)
        yield from batches

    def __len__(self) -> int:
        return len(self._loader)  # type: ignore[arg-type]
