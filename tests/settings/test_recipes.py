"""Tests of the recipes, and of what goes over them."""

import importlib.resources
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from ignite_threenet import UnknownNameError
from ignite_threenet.cli import main as cli
from ignite_threenet.settings import config_file
from ignite_threenet.settings.config_file import recipe_names, recipe_path

MakeRecipe = Callable[..., None]


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def _main(words: Sequence[str]) -> None:
    cli.main(words)


def invoke(*words: str, env: dict[str, str] | None = None) -> Result:
    """Run the command line in this process, with messages as main() gives them."""
    return CliRunner(env=env).invoke(_main, words)


def plan(*words: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    result = invoke("run", "--dry-run", "--json", *words, env=env)
    assert result.exit_code == 0, result.output
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def names_of(content: dict[str, Any]) -> list[str]:
    return [plugin["name"] for plugin in content["plugins"]]


def options_of(content: dict[str, Any], plugin: str) -> dict[str, Any]:
    (options,) = [each["options"] for each in content["plugins"] if each["name"] == plugin]
    return dict(options)


@pytest.fixture
def make_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRecipe:
    """Write recipes that take the place of the real ones."""
    directory = tmp_path / "recipes"
    directory.mkdir()
    monkeypatch.setattr(config_file, "_RECIPES", directory)

    def make(content: str, name: str = "tiny") -> None:
        (directory / f"{name}.toml").write_text(content)

    return make


# The real ones


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_accepted_and_its_values_say_where_they_come_from(name: str) -> None:
    recipe = tomllib.loads(recipe_path(name).read_text())

    content = plan("--recipe", name)

    found = {key: options_of(content, key) for key in recipe if isinstance(recipe[key], dict)}
    for key, value in recipe.items():
        options, given = (found[key], value) if key in found else (content["config"], {key: value})
        for option, expected in given.items():
            if option != "plugins":
                shown = options[option.replace("-", "_")]
                assert shown == {"value": expected, "source": f"recipe {name}"}


def test_these_are_there() -> None:
    assert recipe_names() == ["accurate", "quick"]


def test_the_package_carries_the_recipes() -> None:
    files = (importlib.resources.files("ignite_threenet.settings") / "recipes").iterdir()

    assert sorted(file.name for file in files) == [f"{name}.toml" for name in recipe_names()]


def test_help_lists_the_recipes() -> None:
    text = " ".join(invoke("run", "--help").stdout.split())

    assert f"go well together: {', '.join(recipe_names())};" in text


# Finding one


def test_names_are_sorted_and_other_files_are_none(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    make_recipe("", "slow")
    make_recipe("", "quick")
    (tmp_path / "recipes" / "README.md").touch()

    assert recipe_names() == ["quick", "slow"]


def test_the_path_is_that_of_the_file(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    make_recipe("")

    assert recipe_path("tiny") == tmp_path / "recipes" / "tiny.toml"


@pytest.mark.parametrize("name", ["tin", "tiny.toml", "../recipes/tiny", "TINY"])
def test_an_unknown_recipe_has_no_path(make_recipe: MakeRecipe, name: str) -> None:
    make_recipe("")

    with pytest.raises(UnknownNameError) as raised:
        recipe_path(name)

    assert raised.value.known == ["tiny"]


def test_an_unknown_recipe_is_refused_with_the_nearest(make_recipe: MakeRecipe) -> None:
    make_recipe("", "quick")
    make_recipe("", "slow")

    result = invoke("run", "--recipe", "quik")

    assert result.exit_code == 2
    assert result.stderr == (
        "error: unknown recipe 'quik'; did you mean 'quick'? Known: quick, slow\n"
    )
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epoch = 3", "recipe tiny: unknown key 'epoch'; did you mean 'epochs'? Known: "),
        ("epochs = 0", "recipe tiny: epochs: 0 is out of range; expected an integer at least 1"),
        ("[acuracy]", "recipe tiny: unknown section 'acuracy'; did you mean 'accuracy'? Known: "),
        ("[accuracy]\nevery = 0", "recipe tiny: [accuracy] every: 0 is out of range; expected "),
        ("plugins = 3", "recipe tiny: plugins: 3 is not a list of names"),
    ],
)
def test_a_mistake_in_a_recipe_is_found_where_it_stands(
    make_recipe: MakeRecipe, content: str, message: str
) -> None:
    make_recipe(content)

    result = invoke("run", "--recipe", "tiny")

    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert len(result.stderr.splitlines()) == 1


# What goes over a recipe


def test_the_command_line_goes_over_the_environment_over_the_file_over_the_recipe(
    make_recipe: MakeRecipe,
) -> None:
    make_recipe("lr = 0.1\nseed = 1\nepochs = 11\nbatch-size = 111")
    Path("run.toml").write_text("lr = 0.2\nseed = 2\nepochs = 22")

    options = plan(
        *("--recipe", "tiny", "--config", "run.toml", "--lr", "0.4"),
        env={"IGNITE_THREENET_LR": "0.3", "IGNITE_THREENET_SEED": "3"},
    )["config"]

    assert options["lr"] == {"value": 0.4, "source": "command line"}
    assert options["seed"] == {"value": 3, "source": "environment IGNITE_THREENET_SEED"}
    assert options["epochs"] == {"value": 22, "source": "run.toml"}
    assert options["batch_size"] == {"value": 111, "source": "recipe tiny"}
    assert options["momentum"] == {"value": 0.0, "source": "default"}


def test_so_it_is_with_the_options_of_a_plugin(make_recipe: MakeRecipe) -> None:
    make_recipe(
        'plugins = "accuracy,schedule"\n[accuracy]\nsplit = "test"\n'
        '[schedule]\nkind = "step"\nwarmup = 0.1\ndrops = 3\ngamma = 0.5'
    )
    Path("run.toml").write_text("[schedule]\nwarmup = 0.2\ndrops = 4\ngamma = 0.25")

    content = plan(
        *("--recipe", "tiny", "--config", "run.toml", "--schedule.gamma", "0.125"),
        env={"IGNITE_THREENET_SCHEDULE_DROPS": "5"},
    )

    assert options_of(content, "schedule") == {
        "kind": {"value": "step", "source": "recipe tiny"},
        "warmup": {"value": 0.2, "source": "run.toml"},
        "drops": {"value": 5, "source": "environment IGNITE_THREENET_SCHEDULE_DROPS"},
        "gamma": {"value": 0.125, "source": "command line"},
    }
    assert options_of(content, "accuracy")["split"] == {"value": "test", "source": "recipe tiny"}


def test_a_flag_of_a_recipe_can_be_taken_back(make_recipe: MakeRecipe) -> None:
    make_recipe("nesterov = true\nmomentum = 0.9")

    assert plan("--recipe", "tiny")["config"]["nesterov"]["value"] is True
    assert plan("--recipe", "tiny", "--no-nesterov")["config"]["nesterov"]["value"] is False


def test_betas_of_a_recipe_can_be_taken_back(make_recipe: MakeRecipe) -> None:
    make_recipe('optimizer = "adam"\nbetas = [0.8, 0.9]')

    words = ("--recipe", "tiny", "--optimizer", "sgd", "--betas", "none")

    assert plan(*words)["config"]["betas"] == {"value": None, "source": "command line"}


def test_the_environment_may_name_the_recipe(make_recipe: MakeRecipe) -> None:
    make_recipe("seed = 5")

    seed = plan(env={"IGNITE_THREENET_RECIPE": "tiny"})["config"]["seed"]

    assert seed == {"value": 5, "source": "recipe tiny"}


# A recipe's plugins


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        ("", ["accuracy", "best", "timing", "plot", "progress", "checkpoint"]),
        (
            'plugins = "+ema,no:plot"',
            ["accuracy", "best", "timing", "progress", "checkpoint", "ema"],
        ),
        ('plugins = ["timing", "plot"]', ["timing", "plot"]),
        ("plugins = []", []),
    ],
)
def test_a_recipe_chooses_plugins_as_a_user_does(
    make_recipe: MakeRecipe, plugins: str, expected: list[str]
) -> None:
    make_recipe(plugins)

    assert names_of(plan("--recipe", "tiny")) == expected


@pytest.mark.parametrize("way", ["command line", "environment", "file"])
@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("+ema", ["accuracy", "timing", "schedule", "ema"]),
        ("+plot", ["accuracy", "timing", "schedule", "plot"]),
        ("no:schedule", ["accuracy", "timing"]),
        ("+ema,no:timing", ["accuracy", "schedule", "ema"]),
        ("plot,timing", ["plot", "timing"]),
        ("none", []),
        ("none,+plot", ["plot"]),
    ],
)
def test_what_a_user_chooses_adds_to_the_recipe_takes_away_from_it_or_replaces_it(
    make_recipe: MakeRecipe, way: str, chosen: str, expected: list[str]
) -> None:
    make_recipe('plugins = "no:plot,no:best,no:progress,no:checkpoint,+schedule"')
    Path("run.toml").write_text(f"plugins = {chosen!r}" if way == "file" else "")
    words = ("--plugins", chosen) if way == "command line" else ()
    env = {"IGNITE_THREENET_PLUGINS": chosen} if way == "environment" else {}

    content = plan("--recipe", "tiny", "--config", "run.toml", *words, env=env)

    assert names_of(content) == expected


def test_quiet_takes_the_progress_of_a_recipe_away(make_recipe: MakeRecipe) -> None:
    make_recipe('plugins = "progress,timing"')

    assert names_of(plan("--recipe", "tiny", "--quiet")) == ["timing"]


def test_the_section_of_a_plugin_that_the_user_takes_away_does_no_harm(
    make_recipe: MakeRecipe,
) -> None:
    make_recipe('plugins = "timing,ema"\n[ema]\ndecay = 0.9')

    assert names_of(plan("--recipe", "tiny", "--plugins", "no:ema")) == ["timing"]


def test_a_recipes_plugin_is_part_of_the_help(make_recipe: MakeRecipe) -> None:
    make_recipe('plugins = "+ema"')

    assert "--ema.decay" in invoke("run", "--recipe", "tiny", "--help").stdout
