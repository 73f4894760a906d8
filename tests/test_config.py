"""Tests of what a run is asked to do, and of the file that may say it."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ignite_threenet.config import DEFAULT_PLUGINS, RunConfig
from ignite_threenet.errors import ConfigError, OptionError, UnknownNameError
from ignite_threenet.extensions.selection import find_plugins
from ignite_threenet.options.declaration import option_specs
from ignite_threenet.settings.config_file import read_config_file


def make_config(**options: Any) -> RunConfig:
    return RunConfig(**options)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "run.toml"


# RunConfig


def test_the_defaults_are_those_of_the_main_job() -> None:
    assert RunConfig().as_dict() == {
        "model": "threenet",
        "dataset": "auto",
        "data_dir": Path("data"),
        "valid_size": 0,
        "epochs": 500,
        "batch_size": 256,
        "optimizer": "sgd",
        "lr": 1e-3,
        "momentum": 0.0,
        "nesterov": False,
        "betas": None,
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        "normalize": "half",
        "precision": "float32",
        "compile": False,
        "seed": 0,
        "device": "auto",
        "out": None,
        "force": False,
        "strict": False,
    }


def test_a_configuration_does_not_change() -> None:
    config = RunConfig()

    with pytest.raises(dataclasses.FrozenInstanceError):
        config.lr = 0.1  # type: ignore[misc]


def test_equal_options_make_equal_configurations() -> None:
    assert RunConfig(lr=1) == RunConfig(lr=1.0)
    assert hash(RunConfig(lr=1)) == hash(RunConfig(lr=1.0))
    assert RunConfig(lr=1) != RunConfig(lr=2)


@pytest.mark.parametrize(("option", "word"), [("model", "net.py:Net"), ("dataset", "data.py")])
def test_a_file_is_spelled_as_seen_from_anywhere(option: str, word: str) -> None:
    assert getattr(make_config(**{option: word}), option) == str(Path.cwd() / word)


def test_a_folder_of_images_is_spelled_as_seen_from_anywhere() -> None:
    Path("photos").mkdir()

    assert RunConfig(dataset="photos").dataset == str(Path.cwd() / "photos")


def test_a_replaced_option_is_checked_too() -> None:
    with pytest.raises(OptionError, match=r"^RunConfig\.epochs: 0 is out of range"):
        dataclasses.replace(RunConfig(), epochs=0)


def test_every_option_has_a_line_of_help() -> None:
    assert all(spec.help and "\n" not in spec.help for spec in option_specs(RunConfig))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"model": 1}, "is not text"),
        ({"dataset": 1}, "is not text"),
        ({"valid_size": -1}, "is out of range"),
        ({"epochs": 0}, "is out of range"),
        ({"epochs": 1.5}, "is not an integer"),
        ({"epochs": True}, "is not an integer"),
        ({"batch_size": 0}, "is out of range"),
        ({"lr": 0}, "is out of range"),
        ({"lr": -1e-3}, "is out of range"),
        ({"lr": float("nan")}, "is not a finite number"),
        ({"lr": float("inf")}, "is not a finite number"),
        ({"lr": "0.1"}, "is not a finite number"),
        ({"momentum": -0.1}, "is out of range"),
        ({"weight_decay": -0.1}, "is out of range"),
        ({"nesterov": 1}, "is not true or false"),
        ({"seed": -1}, "is out of range"),
        ({"seed": 2**32}, "is out of range"),
        ({"out": 1}, "is not a path"),
    ],
)
def test_a_value_that_no_run_can_have_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(OptionError) as raised:
        make_config(**options)

    (name,) = options
    assert raised.value.where == f"RunConfig.{name}"
    assert raised.value.problem == problem


@pytest.mark.parametrize(
    "options",
    [
        {"valid_size": 0},
        {"epochs": 1},
        {"batch_size": 1},
        {"seed": 2**32 - 1},
        {"momentum": 0.9, "nesterov": True},
    ],
)
def test_the_outermost_values_are_allowed(options: dict[str, Any]) -> None:
    assert options.items() <= make_config(**options).as_dict().items()


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ConfigError) as raised:
        RunConfig(nesterov=True)

    assert str(raised.value) == "nesterov: needs a momentum above 0, and momentum is 0"


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as raised:
        make_config(epoch=3)

    assert str(raised.value).startswith(
        "RunConfig: unknown option 'epoch'; did you mean 'epochs'? Known: batch_size, betas, "
    )


def test_the_default_plugins_are_installed() -> None:
    assert set(DEFAULT_PLUGINS) <= set(find_plugins())


# The file


def test_a_file_gives_options_at_the_top_and_plugins_in_sections(config_file: Path) -> None:
    config_file.write_text('lr = 0.1\nplugins = ["best"]\n[best]\nsplit = "test"\n')

    assert read_config_file(config_file) == {
        "lr": 0.1,
        "plugins": ["best"],
        "best": {"split": "test"},
    }


def test_an_empty_file_asks_for_nothing(config_file: Path) -> None:
    config_file.touch()

    assert read_config_file(config_file) == {}


def test_keys_may_be_spelled_with_a_dash(config_file: Path) -> None:
    config_file.write_text("batch-size = 2\nvalid_size = 3\n[acme-plot]\nline-width = 4\n")

    assert read_config_file(config_file) == {
        "batch_size": 2,
        "valid_size": 3,
        "acme-plot": {"line_width": 4},
    }


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("batch-size = 1\nbatch_size = 2", "{path}: 'batch_size'"),
        ("batch_size = 1\nbatch-size = 2", "{path}: 'batch-size'"),
        ("[plot]\nline-width = 1\nline_width = 2", "{path}: [plot]: 'line_width'"),
    ],
)
def test_one_key_in_both_spellings_is_refused(config_file: Path, text: str, where: str) -> None:
    config_file.write_text(text)

    with pytest.raises(ConfigError) as raised:
        read_config_file(config_file)

    place = where.format(path=config_file)
    assert str(raised.value) == f"{place} is given twice, with '-' and with '_'"


def test_a_syntax_error_names_the_file_and_the_line(config_file: Path) -> None:
    config_file.write_text("lr = 0.1\nepochs = = 3\n")

    with pytest.raises(ConfigError) as raised:
        read_config_file(config_file)

    assert str(raised.value).startswith(f"{config_file}: not valid TOML: ")
    assert "(at line 2, " in str(raised.value)


def test_a_file_that_is_no_utf_8_is_refused(config_file: Path) -> None:
    config_file.write_bytes(b'dataset = "\xff"')

    with pytest.raises(ConfigError, match="not valid TOML"):
        read_config_file(config_file)


def test_a_missing_file_is_named(config_file: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        read_config_file(config_file)

    assert str(raised.value) == f"{config_file}: cannot be read: No such file or directory"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r": cannot be read: "):
        read_config_file(tmp_path)
