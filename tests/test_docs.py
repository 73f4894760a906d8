"""Tests that the documentation is true: its code runs, its links lead somewhere."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from conftest import write_files

from ignite_threenet.cli.reference import describe_commands
from ignite_threenet.testing import run_plugin
from ignite_threenet.testing.fixtures import RunCli

DOCS = Path(__file__).parents[1] / "docs"
GUIDE = (DOCS / "plugins.md").read_text(encoding="utf-8")
PARTS_GUIDE = (DOCS / "models-and-datasets.md").read_text(encoding="utf-8")
TOML_BLOCKS = re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)


def run_python(page: str) -> dict[str, Any]:
    """Run a page's Python from top to bottom, and give what it defines."""
    namespace: dict[str, Any] = {"__name__": "guide"}
    for block in re.findall(r"```python[^\n]*\n(.*?)```", page, flags=re.DOTALL):
        exec(compile(block, "guide", "exec"), namespace)  # noqa: S102
    return namespace


@pytest.fixture
def guide() -> dict[str, Any]:
    return run_python(GUIDE)


def test_the_guides_plugins_take_part_in_runs(
    guide: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    losses = run_plugin(guide["Losses"]())
    limited = run_plugin(guide["Limit"](seconds=60))
    guide["watch"](limited)
    limited.evaluate("test")

    assert (losses.directory.path / "losses.json").is_file()
    assert capsys.readouterr().out.startswith("epoch 3: ")


def test_the_guides_first_plugin_runs_from_a_file(run_cli: RunCli, small_digits: None) -> None:
    write_files(GUIDE)

    shown = run_cli("plugins", "show", "./patience.py")
    words = ("--dataset", "digits", "--epochs", "9", "--accuracy.every", "1", "--lr", "1e-9")
    ran = run_cli("run", "--plugins", "+./patience.py", *words, "--patience.patience", "2")

    assert "--patience.patience" in shown.stdout
    assert ran.exit_code == 0, ran.stderr
    assert "digits: 3 epochs" in ran.stdout


def test_the_guides_configuration_is_accepted(run_cli: RunCli, small_digits: None) -> None:
    (config,) = [block for block in TOML_BLOCKS if "run.toml" in block]
    Path("run.toml").write_text(config)

    of_few_digits = ("--dataset", "digits", "--valid-size", "100")
    result = run_cli("run", "--config", "run.toml", "--dry-run", *of_few_digits)

    assert result.exit_code == 0, result.stderr
    assert all(tomllib.loads(block) for block in TOML_BLOCKS)


def run_commands(page: str) -> list[list[str]]:
    commands = re.findall(r"^ignite-threenet (run .*)$", page, flags=re.MULTILINE)
    return [command.split() for command in commands]


@pytest.mark.parametrize("words", run_commands(PARTS_GUIDE), ids=" ".join)
def test_the_commands_on_models_and_datasets_train(
    words: list[str], run_cli: RunCli, small_digits: None, own_components: None
) -> None:
    on_digits = [] if "--dataset" in words else ["--dataset", "digits"]

    result = run_cli(*words, *on_digits, "--epochs", "2", "--plugins", "no:plot")

    assert result.exit_code == 0, result.stderr
    assert "2 epochs on" in result.stdout


def test_the_script_on_models_and_datasets_runs(own_components: None) -> None:
    assert run_python(PARTS_GUIDE)["run"].class_names == ("dark", "grey", "light")


def test_the_configuration_on_models_and_datasets_is_accepted(
    run_cli: RunCli, own_components: None
) -> None:
    (config,) = re.findall(r"```toml\n(# run.toml.*?)```", PARTS_GUIDE, flags=re.DOTALL)
    Path("run.toml").write_text(config)

    result = run_cli("run", "--config", "run.toml", "--dry-run")

    assert result.exit_code == 0, result.stderr
    assert "ConvNet on noise" in result.stdout


def test_the_page_of_the_command_line_is_what_help_says() -> None:
    written = (DOCS / "cli.md").read_text(encoding="utf-8")

    assert written == describe_commands(), "write it anew by scripts/write-cli-docs"


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(((?!http)[^)#]+)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []
