"""What a run is made from."""

import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..config import RunConfig
from ..data.data_module import DataModule
from ..extensions.component import Component
from ..extensions.plugin import Plugin
from ..options.declaration import OptionSpec, option_specs, plain_options
from ..options.plain import to_plain
from ..training.device import describe_device
from ..training.tracked_engine import Registration
from .assembly import Parts

_PACKAGES = ("torch", "torchvision", "pytorch-ignite", "matplotlib", "numpy")
_GIT_TIMEOUT_S = 1.0
_GIT_OPTIONS = ("-c", "core.fsmonitor=false", "--no-optional-locks", "--no-pager")


def build_manifest(
    parts: Parts,
    plugins: Mapping[str, Plugin],
    sources: Mapping[str, str],
    changes: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Describe what a run is made from: enough to tell two runs apart, and to repeat one.

    Args:
        parts: what the run was put together from.
        plugins: its plugins by name.
        sources: where options come from, by ``option`` or ``owner.option``.
        changes: what was another when the run began; it was told to go on all the same.
    """
    return {
        "versions": {
            "ignite_threenet": version("ignite-threenet"),
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
        "platform": platform.platform(),
        "device": describe_device(parts.device),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "git": _git_commit(Path.cwd()),
        "dataset": {
            "name": parts.data.name,
            "sha256": dict(parts.data.sha256),
            "classes": list(parts.data.class_names),
            "notes": to_plain(parts.data.notes),
            **describe_samples(parts.data),
        },
        "model": type(parts.model).__name__,
        "seed": parts.config.seed,
        "changes": list(changes),
        **describe_options(parts, plugins, sources),
    }


def describe_samples(data: DataModule) -> dict[str, Any]:
    """Describe what a model was made for: the shape and dtype of a sample, and its scaling."""
    if data.shape is None or data.scaling is None:
        return {"input_shape": None, "dtype": None, "scaling": None}
    return {
        "input_shape": list(data.shape.of_sample),
        "dtype": str(data.dtype).removeprefix("torch."),
        "scaling": data.scaling._asdict(),
    }


def describe_options(
    parts: Parts, plugins: Mapping[str, Plugin], sources: Mapping[str, str]
) -> dict[str, Any]:
    """Give the resolved options of a run, its components and plugins, each with its source."""
    return {
        "config": _resolved(parts.config, sources),
        "parts": {
            kind: {"origin": component.origin, "options": _component_options(component, sources)}
            for kind, component in parts.components.items()
        },
        "plugins": [
            {
                "name": name,
                "distribution": plugin.distribution,
                "required_by": plugin.required_by,
                "options": _resolved(plugin, sources, f"{name}."),
            }
            for name, plugin in plugins.items()
        ],
    }


def _resolved(owner: object, sources: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    return {
        spec.name: {
            "value": spec.plain(getattr(owner, spec.name)),
            "source": sources.get(f"{prefix}{spec.name}", _source(owner, spec)),
        }
        for spec in option_specs(type(owner))
    }


def _component_options(component: Component, sources: Mapping[str, str]) -> dict[str, Any]:
    def source(spec: OptionSpec) -> str:
        is_default = component.options[spec.name] == spec.default
        return sources.get(f"{component.kind}.{spec.name}", "default" if is_default else "script")

    return {
        spec.name: {"value": spec.plain(component.options[spec.name]), "source": source(spec)}
        for spec in component.specs
    }


def _source(owner: object, spec: OptionSpec) -> str:
    """Tell where a value comes from that no command line gave."""
    return "default" if getattr(owner, spec.name) == spec.default else "script"


def flat_options(
    config: RunConfig, components: Mapping[str, Component], plugins: Mapping[str, Plugin]
) -> dict[str, Any]:
    """Give the options of a run and, as ``owner.option``, of its components and plugins."""
    owners = {"": plain_options(config)}
    owners |= {f"{kind}.": component.plain_options for kind, component in components.items()}
    owners |= {f"{name}.": plain_options(each) for name, each in plugins.items()}
    return {
        f"{prefix}{name}": value
        for prefix, options in owners.items()
        for name, value in options.items()
    }


def build_plan(
    parts: Parts,
    plugins: Mapping[str, Plugin],
    sources: Mapping[str, str],
    registrations: Iterable[Registration],
) -> dict[str, Any]:
    """Describe what a run would do, before it starts; see build_manifest().

    Args:
        parts: what the run was put together from.
        plugins: its plugins by name.
        sources: where options come from.
        registrations: the handlers, in the order in which they run.
    """
    return {
        "model": type(parts.model).__name__,
        "dataset": parts.data.name,
        "device": describe_device(parts.device),
        **describe_options(parts, plugins, sources),
        "handlers": [
            {
                "engine": registration.engine,
                "event": registration.event,
                "plugin": registration.owner,
                "handler": registration.handler,
            }
            for registration in registrations
        ],
    }


def _git_commit(directory: Path) -> dict[str, Any] | None:
    """Find the commit that the directory is at; None if there is none.

    Whether files have changed is not asked: to tell, git runs programs that the repository names.
    """
    command = ["git", "-C", str(directory), *_GIT_OPTIONS, "rev-parse", "--verify", "HEAD"]
    try:
        result = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return {"commit": result.stdout.strip()}
