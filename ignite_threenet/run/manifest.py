"""What a run is made from."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..options.declaration import OptionSpec, option_specs
from ..options.plain import plain
from ..training.device import describe_device

if TYPE_CHECKING:
    from ..extensions.component import ChosenPart
    from .run import Run


_PACKAGES = ("torch", "torchvision", "pytorch-ignite", "matplotlib", "numpy")


_GIT_TIMEOUT_S = 5.0


def build_manifest(run: "Run") -> dict[str, Any]:
    """Describe what a run is made from: enough to tell two runs apart, and to repeat one."""
    return {
        "versions": {
            "ignite_threenet": version("ignite-threenet"),
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
        "platform": platform.platform(),
        "device": describe_device(run.device),
        "threads": torch.get_num_threads(),
        "git": _git_commit(Path.cwd()),
        "dataset": {
            "name": run.dataset_name,
            "sha256": dict(run.data_sha256),
            "classes": list(run.class_names),
        },
        "model": type(run.model).__name__,
        "seed": run.config.seed,
        # What was another when the run began; a resumed run was told to go on all the same.
        "changes": list(run.changes),
        **describe_options(run),
    }


def describe_options(run: "Run") -> dict[str, Any]:
    """Give the resolved options of a run, its parts and its plugins, each with its source."""

    def resolved(owner: object, prefix: str = "") -> dict[str, Any]:
        return {
            spec.name: {
                "value": plain(getattr(owner, spec.name)),
                "source": run.sources.get(f"{prefix}{spec.name}", _source(owner, spec)),
            }
            for spec in option_specs(type(owner))
        }

    return {
        "config": resolved(run.config),
        "parts": {
            kind: {"origin": part.origin, "options": _part_options(run, part)}
            for kind, part in run.parts.items()
        },
        "plugins": [
            {
                "name": name,
                "distribution": plugin.distribution,
                "required_by": plugin.required_by,
                "options": resolved(plugin, f"{name}."),
            }
            for name, plugin in run.plugins.items()
        ],
    }


def _part_options(run: "Run", part: "ChosenPart") -> dict[str, Any]:
    def source(spec: OptionSpec) -> str:
        is_default = part.options[spec.name] == spec.default
        return run.sources.get(f"{part.kind}.{spec.name}", "default" if is_default else "script")

    return {
        spec.name: {"value": plain(part.options[spec.name]), "source": source(spec)}
        for spec in part.specs
    }


def _source(owner: object, spec: OptionSpec) -> str:
    """Tell where a value comes from that no command line gave."""
    return "default" if getattr(owner, spec.name) == spec.default else "script"


def build_plan(run: "Run") -> dict[str, Any]:
    """Describe what a run would do, before it starts."""
    options = describe_options(run)
    return {
        "model": type(run.model).__name__,
        "dataset": run.dataset_name,
        "device": describe_device(run.device),
        "config": options["config"],
        "parts": options["parts"],
        "plugins": options["plugins"],
        "handlers": [
            {
                "engine": registration.engine,
                "event": registration.event,
                "plugin": registration.owner,
                "handler": registration.handler,
            }
            for registration in run.registrations
        ],
    }


def _git_commit(directory: Path) -> dict[str, Any] | None:
    """Find the commit that the directory is at; None where there is none."""
    commit = _git(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git(directory, "status", "--porcelain")
    return {"commit": commit, "changed": None if changes is None else bool(changes)}


def _git(directory: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(directory), *arguments]
    try:
        result = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
