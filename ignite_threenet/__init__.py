"""Train a network from the command line with Ignite engines; all beyond the loop is a plugin.

The public names below are loaded when they are first used, so that importing the package, which
``ignite-threenet --help`` does too, stays cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoint import load_weights
    from .config import DEFAULT_PLUGINS, RunConfig
    from .data import BatchLoader, Dataset, Split
    from .datasets import DataSource, load_data
    from .device import select_device
    from .engines import create_evaluator, create_trainer
    from .errors import (
        CheckpointError,
        ConfigError,
        DataError,
        DirectoryError,
        DivergedError,
        OptionError,
        PartError,
        PluginChoiceError,
        PluginError,
        PluginFailedError,
        PluginLoadError,
        RunInterruptedError,
        ThreeNetError,
        UnknownNameError,
        UnreachableError,
    )
    from .history import EpochRecord, History, Measurement
    from .model import Model, ThreeNet
    from .options import option
    from .plugin import Plugin
    from .run import Run

__all__ = [
    "DEFAULT_PLUGINS",
    "BatchLoader",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DataSource",
    "Dataset",
    "DirectoryError",
    "DivergedError",
    "EpochRecord",
    "History",
    "Measurement",
    "Model",
    "OptionError",
    "PartError",
    "Plugin",
    "PluginChoiceError",
    "PluginError",
    "PluginFailedError",
    "PluginLoadError",
    "Run",
    "RunConfig",
    "RunInterruptedError",
    "Split",
    "ThreeNet",
    "ThreeNetError",
    "UnknownNameError",
    "UnreachableError",
    "create_evaluator",
    "create_trainer",
    "load_data",
    "load_weights",
    "option",
    "select_device",
]

_MODULES = {
    "checkpoint": ("load_weights",),
    "config": ("DEFAULT_PLUGINS", "RunConfig"),
    "data": ("BatchLoader", "Dataset", "Split"),
    "datasets": ("DataSource", "load_data"),
    "device": ("select_device",),
    "engines": ("create_evaluator", "create_trainer"),
    "errors": (
        "CheckpointError",
        "ConfigError",
        "DataError",
        "DirectoryError",
        "DivergedError",
        "OptionError",
        "PartError",
        "PluginChoiceError",
        "PluginError",
        "PluginFailedError",
        "PluginLoadError",
        "RunInterruptedError",
        "ThreeNetError",
        "UnknownNameError",
        "UnreachableError",
    ),
    "history": ("EpochRecord", "History", "Measurement"),
    "model": ("Model", "ThreeNet"),
    "options": ("option",),
    "plugin": ("Plugin",),
    "run": ("Run",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
