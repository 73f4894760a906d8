"""Tests that the documentation is true: its code runs, its links lead somewhere."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ignite_threenet.cli import describe_commands
from ignite_threenet.testing import run_plugin
from ignite_threenet.testing.fixtures import RunCli

DOCS = Path(__file__).parents[1] / "docs"
GUIDE = (DOCS / "plugins.md").read_text(encoding="utf-8")
PYTHON_BLOCKS = re.findall(r"```python[^\n]*\n(.*?)```", GUIDE, flags=re.DOTALL)
TOML_BLOCKS = re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)


@pytest.fixture
def guide() -> dict[str, Any]:
    """Run the guide's Python from top to bottom, and give what it defines."""
    namespace: dict[str, Any] = {"__name__": "guide"}
    for block in PYTHON_BLOCKS:
        exec(compile(block, "plugins.md", "exec"), namespace)  # noqa: S102
    return namespace


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
    (source,) = re.findall(r"```python file=patience.py\n(.*?)```", GUIDE, flags=re.DOTALL)
    Path("patience.py").write_text(source)

    shown = run_cli("plugins", "show", "./patience.py")
    words = ("--dataset", "digits", "--epochs", "9", "--accuracy.every", "1", "--lr", "1e-9")
    ran = run_cli("run", "--plugins", "+./patience.py", *words, "--patience.patience", "2")

    assert "--patience.patience" in shown.stdout
    assert ran.exit_code == 0, ran.stderr
    assert "digits: 3 epochs" in ran.stdout


def test_the_guides_configuration_is_accepted(run_cli: RunCli) -> None:
    (config,) = [block for block in TOML_BLOCKS if "run.toml" in block]
    Path("run.toml").write_text(config)

    result = run_cli("run", "--config", "run.toml", "--dry-run", "--dataset", "digits")

    assert result.exit_code == 0, result.stderr
    assert all(tomllib.loads(block) for block in TOML_BLOCKS)


def test_the_page_of_the_command_line_is_what_help_says() -> None:
    written = (DOCS / "cli.md").read_text(encoding="utf-8")

    assert written == describe_commands(), "write it anew by scripts/write-cli-docs"


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(((?!http)[^)#]+)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []
