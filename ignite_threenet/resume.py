"""Saving all that a run is made of, and going on from there to the last bit."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from . import checkpoint
from .attachment import Attachment
from .config import RunConfig
from .directory import RunDirectory
from .errors import CheckpointError, ConfigError
from .options import OptionSpec, option_specs, plain, plain_options
from .plugin import Plugin, find_plugins, resolve_plugins
from .randomness import get_random_state, set_random_state
from .registry import is_file

if TYPE_CHECKING:
    from .run import Run

logger = logging.getLogger(__package__)

FORMAT = 2

CUSTOM = "custom"
"""What the dataset is called where the loaders are one's own."""

_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "format": int,
    "versions": dict,
    "config": dict,
    "dataset": dict,
    "parts": dict,
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
_PLUGIN_KEYS = ("name", "use", "distribution", "options", "state")
_PART_KEYS = ("origin", "options")


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
    def parts(self) -> Mapping[str, Mapping[str, Any]]:
        """Where the model and the dataset came from, and their options, by the kind of part."""
        parts: Mapping[str, Mapping[str, Any]] = self.content["parts"]
        return parts

    @property
    def plugins(self) -> Sequence[Mapping[str, Any]]:
        """The plugins' names, distributions, options and states, in their order."""
        plugins: Sequence[Mapping[str, Any]] = self.content["plugins"]
        return plugins

    @property
    def is_in_mid_epoch(self) -> bool:
        """Whether an epoch has begun and not ended."""
        ended = self.content["history"]["epochs"]
        return bool(self.content["epoch"] > (ended[-1]["epoch"] if ended else 0))

    @property
    def iterations_in_epoch(self) -> int:
        """Iterations since the last epoch that has ended; none of them where none has begun."""
        ended = self.content["history"]["epochs"]
        return int(self.content["iteration"] - (ended[-1]["iteration"] if ended else 0))

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
    options = {each["name"]: each["options"] for each in saved.plugins}
    return [
        chosen.create(**convert_options(chosen.specs, options.get(chosen.name, {}), chosen.name))
        for chosen in resolve_plugins(words_of(saved))
    ]


def options_of(saved: SavedRun, kind: str) -> Mapping[str, Any]:
    """Give the options of the run's model or dataset, as plain values."""
    options: Mapping[str, Any] = saved.parts.get(kind, {}).get("options", {})
    return options


def words_of(saved: SavedRun) -> list[str]:
    """Name the plugins that the run had, as far as they are still there, as a user would."""
    installed = find_plugins()
    return [
        f"{each['name']}={each['use']}"
        for each in saved.plugins
        if each["use"] in installed or (is_file(each["use"]) and Path(each["use"]).is_file())
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
        "config": plain_options(run.config),
        "dataset": {"name": run.dataset_name, "sha256": dict(run.data_sha256)},
        "parts": {
            kind: {"origin": part.origin, "options": plain(part.options)}
            for kind, part in run.parts.items()
        },
        "plugins": [_capture_plugin(each) for each in run.attachments] + list(run.carried_plugins),
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
    # A buffer may be a mask of infinities.
    has_nan = any(bool(buffer.isnan().any()) for buffer in run.model.buffers())
    if has_nan or not _is_finite(list(run.model.parameters())):
        raise CheckpointError(run.directory.path, "not saved: the model is not finite")
    if not _is_finite(content["optimizer"]):
        raise CheckpointError(run.directory.path, "not saved: the optimizer is not finite")
    return content


def _capture_plugin(attachment: Attachment) -> dict[str, Any]:
    plugin = attachment.plugin
    return {
        "name": plugin.name,
        "use": plugin.use,
        "distribution": plugin.distribution,
        "options": plain_options(plugin),
        # None of one that was detached: it begins anew.
        "state": attachment.call("state_dict", plugin.state_dict),
    }


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
            "options": plain_options(plugin),
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


def check_parts(saved: SavedRun, run: "Run") -> None:
    """Make sure that a run has the model and the dataset that it had, with their options.

    Raises:
        CheckpointError: one is another than it was.
    """
    for kind in sorted({*saved.parts, *run.parts}):
        part, before = run.parts.get(kind), saved.parts.get(kind)
        if part is None or before is None:
            was, now = ("one's own", "chosen by name") if part else ("chosen by name", "one's own")
            raise CheckpointError(saved.path, f"the {kind} was {was}, and is {now}")
        for what, value in (("origin", part.origin), ("options", plain(part.options))):
            if before[what] != value:
                raise CheckpointError(
                    saved.path,
                    f"{kind} {part.name!r}: {what} was {before[what]!r}, and is {value!r}",
                )


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
        run.model.load_state_dict(content["model"])
        run.optimizer.load_state_dict(content["optimizer"])
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
