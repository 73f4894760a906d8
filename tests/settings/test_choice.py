"""Tests of who takes part in a run, with which options, and who said so."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ignite_threenet_plugins.timing import Timing

from ignite_threenet import Plugin
from ignite_threenet.config import DEFAULT_PLUGINS, RunConfig
from ignite_threenet.errors import ConfigError, OptionError, UnknownNameError
from ignite_threenet.settings.choice import Choice
from ignite_threenet.settings.choosing import choose, choose_for_script
from ignite_threenet.settings.config_file import ConfigFile

NOTHING = ConfigFile("", {})
NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
"""
PLUGINS = """
from ignite_threenet import Plugin, option

class Shows(Plugin):
    quiet = True
    requires = ("timing",)
    every: int = option(1, help="a number", min=1)

class Needs(Plugin):
    requires = ("shows",)
"""


def make(
    *plugins: str,
    recipe: Mapping[str, Any] | None = None,
    file: Mapping[str, Any] | None = None,
    quiet: bool = False,
    **given: str,
) -> Choice:
    """Choose as the command line does."""
    return choose(
        {"model": None, "dataset": "digits", **given},
        plugins,
        ConfigFile("recipe tiny", recipe) if recipe else NOTHING,
        ConfigFile("run.toml", file) if file else NOTHING,
        quiet=quiet,
    )


def names_of(choice: Choice) -> list[str]:
    return [each.name for each in choice.plugins]


@pytest.fixture(autouse=True)
def _parts() -> None:
    Path("net.py").write_text(NET)
    Path("own.py").write_text(PLUGINS)


# Who takes part


def test_by_default_it_is_the_defaults() -> None:
    choice = make()

    assert names_of(choice) == list(DEFAULT_PLUGINS)
    assert choice.components["model"].name == "threenet"
    assert choice.components["dataset"].name == "digits"
    assert (choice.values, choice.sources) == ({}, {})


def test_what_is_given_goes_over_the_file_and_the_file_over_the_recipe() -> None:
    recipe, file = {"plugins": "timing", "model": "threenet"}, {"plugins": "plot"}

    assert names_of(make(recipe=recipe)) == ["timing"]
    assert names_of(make(recipe=recipe, file=file)) == ["plot"]
    assert names_of(make("best", recipe=recipe, file=file)) == ["accuracy", "best"]
    assert make(recipe=recipe, model="net.py:Net").components["model"].kind == "model"
    assert make(recipe=recipe, model="net.py:Net").components["model"].specs[0].name == "width"


def test_a_section_says_what_its_name_stands_for() -> None:
    choice = make("timing,second", file={"second": {"use": "plot", "every": 2}})

    assert names_of(choice) == ["timing", "second"]
    assert choice.values == {"second.every": 2}


def test_whoever_has_options_is_listed_components_first() -> None:
    owners = make("timing", "plot").owners

    assert [each.prefix for each in owners] == ["model", "dataset", "timing", "plot"]
    assert [each.title for each in owners][::3] == ["the model threenet", "the plugin plot"]


# Quiet


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        (["progress", "plot"], ["plot"]),
        (["shows=own.py:Shows"], []),
        (["shows=own.py:Shows", "timing"], ["timing"]),
        (["shows=own.py:Shows", "needs=own.py:Needs"], ["timing", "shows", "needs"]),
        (["none"], []),
    ],
)
def test_quiet_leaves_out_what_says_so_and_what_that_alone_requires(
    plugins: Sequence[str], expected: list[str]
) -> None:
    assert names_of(make(*plugins, quiet=True)) == expected


def test_a_required_plugin_keeps_its_options_where_it_is_quiet() -> None:
    choice = make(
        *("shows=own.py:Shows", "needs=own.py:Needs"), file={"shows": {"every": 3}}, quiet=True
    )

    assert [plugin.name for plugin in choice.create_plugins()] == ["timing", "shows", "needs"]
    assert choice.values == {"shows.every": 3}


# With which options, and who said so


def test_values_are_converted_and_named_by_their_owner() -> None:
    recipe = {"lr": 1, "plot": {"every": 2}}
    file = {"data_dir": "there", "dataset": {"use": "digits"}}

    choice = make("plot", recipe=recipe, file=file)

    assert choice.values == {
        "lr": 1.0,
        "plot.every": 2,
        "data_dir": Path("there"),
        "dataset": "digits",
    }
    assert isinstance(choice.values["lr"], float)
    assert choice.sources == {
        "lr": "recipe tiny",
        "plot.every": "recipe tiny",
        "data_dir": "run.toml",
        "dataset": "run.toml",
    }


def test_the_file_says_what_the_recipe_said_before() -> None:
    choice = make(recipe={"lr": 0.1, "seed": 1}, file={"lr": 0.2})

    assert choice.values == {"lr": 0.2, "seed": 1}
    assert choice.sources == {"lr": "run.toml", "seed": "recipe tiny"}


def test_a_section_for_another_model_is_not_meant() -> None:
    file = {"model": {"use": str(Path("net.py:Net").absolute()), "width": 4}}

    assert make(file=file).configured["model"].options == {"width": 4}
    assert make(file=file, model="threenet").configured["model"].options == {"hidden": (200, 60)}


@pytest.mark.parametrize(
    ("file", "error", "message"),
    [
        ({"lr": -1}, OptionError, "run.toml: lr: -1 is out of range"),
        ({"epoch": 1}, UnknownNameError, "run.toml: unknown key 'epoch'; did you mean 'epochs'?"),
        ({"plot": {"every": -1}}, OptionError, "run.toml: [plot] every: -1 is out of range"),
        ({"plot": {"evry": 1}}, UnknownNameError, "run.toml: [plot]: unknown key 'evry'"),
        ({"plto": {}}, UnknownNameError, "run.toml: unknown section 'plto'"),
        ({"model": 1}, ConfigError, "run.toml: model: 1 is not a name"),
    ],
)
def test_a_mistake_names_its_place(
    file: dict[str, Any], error: type[ConfigError], message: str
) -> None:
    with pytest.raises(error) as raised:
        make("plot", file=file)

    assert str(raised.value).startswith(message)


# What comes on top, and what comes of it


def test_what_is_given_goes_over_what_is_known_in_another_choice() -> None:
    before = make(file={"lr": 0.1, "seed": 1})

    after = before.with_given({"lr": 0.2}, {"lr": "command line"})

    assert after.values == {"lr": 0.2, "seed": 1}
    assert after.sources == {"lr": "command line", "seed": "run.toml"}
    assert before.values == {"lr": 0.1, "seed": 1}
    with pytest.raises(dataclasses.FrozenInstanceError):
        after.values = {}  # type: ignore[misc]


def test_the_configuration_takes_its_own_options_and_the_defaults() -> None:
    choice = make("plot", file={"lr": 0.1, "plot": {"every": 2}})

    assert choice.config == RunConfig(lr=0.1)


def test_plugins_are_made_with_their_options() -> None:
    choice = make("shows=own.py:Shows", file={"shows": {"every": 2}})

    timing, shows = choice.create_plugins()

    assert (timing.name, timing.required_by) == ("timing", "shows")
    assert (shows.name, vars(shows)["every"]) == ("shows", 2)


def test_each_component_has_its_own_options() -> None:
    choice = make(model="net.py:Net").with_given({"model.width": 4, "lr": 0.1}, {})

    assert choice.configured["model"].options == {"width": 4}
    assert choice.configured["dataset"].options == {}


def choose_by_script(*plugins: str | Plugin, own: Sequence[str] = (), **options: Any) -> Choice:
    config = RunConfig(model="net.py:Net", dataset="digits", epochs=2)
    return choose_for_script(config, plugins, {"model": options, "dataset": {}}, own)


def test_a_script_chooses_as_the_command_line_does() -> None:
    choice = choose_by_script("best", Timing(), width=4)

    assert names_of(choice) == ["accuracy", "best", "timing"]
    assert choice.config == RunConfig(model="net.py:Net", dataset="digits", epochs=2)
    assert choice.configured["model"].options == {"width": 4}
    assert choice.sources == {}


def test_what_a_script_brings_is_not_chosen_and_has_no_options() -> None:
    assert list(choose_by_script(own=["model"]).components) == ["dataset"]
    with pytest.raises(ConfigError, match=r"^model_options: the model is your own$"):
        choose_by_script(own=["model"], width=4)
