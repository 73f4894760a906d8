"""Train a network from the command line with Ignite engines; all beyond the loop is a plugin.

The public names below are loaded when they are first used, so that importing the package, which
``ignite-threenet --help`` does too, stays cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import DEFAULT_PLUGINS, RunConfig
    from .data.dataset import Dataset, Split
    from .data.loader import BatchLoader
    from .data.source import DataSource, load_data
    from .errors import (
        CheckpointError,
        ComponentError,
        ConfigError,
        DataError,
        DirectoryError,
        DivergedError,
        OptionError,
        PluginChoiceError,
        PluginError,
        PluginFailedError,
        PluginLoadError,
        RunInterruptedError,
        ThreeNetError,
        UnknownNameError,
        UnreachableError,
    )
    from .extensions.plugin import Plugin
    from .models.model import Model
    from .models.threenet import ThreeNet
    from .options.declaration import option
    from .run.run import Run
    from .storage.checkpoint_file import load_weights
    from .text import picture_text
    from .training.device import select_device
    from .training.engines import create_evaluator, create_trainer
    from .training.history import EpochRecord, History, Measurement

__all__ = [
    "DEFAULT_PLUGINS",
    "BatchLoader",
    "CheckpointError",
    "ComponentError",
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
    "picture_text",
    "select_device",
]
_MODULES = {
    "config": ("DEFAULT_PLUGINS", "RunConfig"),
    "data.dataset": ("Dataset", "Split"),
    "data.loader": ("BatchLoader",),
    "data.source": ("DataSource", "load_data"),
    "errors": (
        "CheckpointError",
        "ConfigError",
        "DataError",
        "DirectoryError",
        "DivergedError",
        "OptionError",
        "ComponentError",
        "PluginChoiceError",
        "PluginError",
        "PluginFailedError",
        "PluginLoadError",
        "RunInterruptedError",
        "ThreeNetError",
        "UnknownNameError",
        "UnreachableError",
    ),
    "extensions.plugin": ("Plugin",),
    "models.model": ("Model",),
    "models.threenet": ("ThreeNet",),
    "options.declaration": ("option",),
    "run.run": ("Run",),
    "storage.checkpoint_file": ("load_weights",),
    "text": ("picture_text",),
    "training.device": ("select_device",),
    "training.engines": ("create_evaluator", "create_trainer"),
    "training.history": ("EpochRecord", "History", "Measurement"),
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
