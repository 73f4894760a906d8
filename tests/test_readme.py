import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ignite_threenet import Run, RunConfig
from ignite_threenet.cli.main import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
RUN_COMMANDS = re.findall(r"^ignite-threenet (run .*?)(?:\s+#.*)?$", README, flags=re.MULTILINE)


def test_the_python_code_runs_from_top_to_bottom(
    small_digits: None, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, Any] = {"__name__": "readme"}

    for block in PYTHON_BLOCKS:
        exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102

    assert len(PYTHON_BLOCKS) >= 2
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("command", RUN_COMMANDS)
def test_a_run_command_is_accepted(command: str, small_digits: None, own_components: None) -> None:
    Path("run.toml").write_text("epochs = 40")
    Path("patience.py").write_bytes((ROOT / "examples" / "patience.py").read_bytes())
    if "--resume" in command:
        config = RunConfig(dataset="digits", epochs=1, out=Path("runs/NAME"))
        Run(config, plugins=["checkpoint"]).train()

    result = CliRunner().invoke(cli, [*shlex.split(command), "--dry-run"])

    assert result.exit_code == 0, result.output


def test_there_are_run_commands() -> None:
    assert len(RUN_COMMANDS) >= 4


@pytest.mark.parametrize("link", re.findall(r"\]\(((?!http)[^)#]+)", README))
def test_a_link_leads_to_a_file(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_plugin_shown_is_the_example() -> None:
    def code(text: str) -> str:
        body = text[text.index("class Patience") :]
        without_docstrings = re.sub(r'\n *""".*?"""\n', "\n", body)
        return "".join(without_docstrings.split())

    example = (ROOT / "examples" / "patience.py").read_text(encoding="utf-8")
    shown = next(block for block in PYTHON_BLOCKS if "class Patience" in block)

    assert code(example).startswith(code(shown))
