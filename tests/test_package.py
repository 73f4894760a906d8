import importlib
import pkgutil
from importlib.metadata import requires

import pytest
from helpers import run_code

import ignite_threenet

PUBLIC_NAMES = [
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


def test_the_public_names_are_these() -> None:
    assert ignite_threenet.__all__ == PUBLIC_NAMES


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_a_public_name_can_be_had_and_is_listed(name: str) -> None:
    assert getattr(ignite_threenet, name) is not None
    assert name in dir(ignite_threenet)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Trainer'"):
        _ = ignite_threenet.Trainer


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = {"torch", "ignite", "click", "safetensors", "filelock"}
    code = f"import sys, ignite_threenet; print({heavy} & set(sys.modules))"

    assert run_code(code) == "set()\n"


def test_the_framework_imports_no_plugin() -> None:
    code = (
        "import sys, ignite_threenet.run.run, ignite_threenet.cli.main\n"
        "print([name for name in sys.modules if name.startswith('ignite_threenet_plugins')])"
    )

    assert run_code(code) == "[]\n"


def test_no_module_called_plugins_is_installed() -> None:
    code = "import importlib.util; print(importlib.util.find_spec('plugins'))"

    assert run_code(code, "-P") == "None\n"


def test_torch_is_new_enough_for_safe_loading() -> None:
    requirements = [each.replace(" ", "") for each in requires("ignite-threenet") or []]

    assert "torch>=2.10" in requirements
    assert "pytorch-ignite<0.6,>=0.5.5" in requirements


def test_every_module_says_what_it_is() -> None:
    for module in pkgutil.walk_packages(ignite_threenet.__path__, "ignite_threenet."):
        if not module.name.endswith("__main__"):
            assert importlib.import_module(module.name).__doc__, module.name
