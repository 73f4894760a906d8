"""What ``plugins new`` writes: a plugin to begin with, alone or as a package."""

import importlib.util
import keyword
import re
from pathlib import Path
from string import Template

from ..errors import ConfigError
from ..extensions.selection import find_plugins

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

# What the plugin's file imports; its class is called otherwise.
_IMPORTED = ("Any", "Engine", "Events", "Mapping", "Plugin", "Run")
_PLUGIN = Template('''"""A plugin of ignite-threenet."""

import logging
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from ignite_threenet import Plugin, Run, option

logger = logging.getLogger("ignite_threenet.$name")


class $cls(Plugin):
    """Say when the loss of an epoch is the lowest so far."""

    api = 1
    on_error = "detach"  # the run goes on without it
    every: int = option(1, help="epochs between two looks", min=1)

    def attach(self, run: Run) -> None:
        """Register the handlers; the engines, the model and the data are there."""
        self.lowest = float("inf")
        event = Events.EPOCH_COMPLETED(every=self.every)
        run.trainer.add_event_handler(event, self.look, run)

    def look(self, trainer: Engine, run: Run) -> None:
        """Compare the epoch that has just ended."""
        record = run.history.epochs[-1]
        if record.loss < self.lowest:
            self.lowest = record.loss
            logger.info("$name: epoch %d has the lowest loss so far", record.epoch)

    def state_dict(self) -> Mapping[str, Any]:
        """Give what a resumed run must remember."""
        return {"lowest": self.lowest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.lowest = state["lowest"]
''')
_TEST = Template('''"""Tests of the plugin $name."""

from ignite_threenet.testing import (
    assert_contract,
    assert_observes_only,
    assert_resumes,
    run_plugin,
)

from $module import $cls


def test_it_keeps_what_every_plugin_promises() -> None:
    assert_contract($cls)


def test_a_resumed_run_ends_as_one_that_was_never_stopped() -> None:
    assert_resumes($cls)


def test_it_changes_no_weight() -> None:
    assert_observes_only($cls)


def test_it_remembers_the_lowest_loss() -> None:
    plugin = $cls()

    run = run_plugin(plugin, accuracies=[0.1, 0.5, 0.3])

    assert plugin.lowest == min(record.loss for record in run.history.epochs)
''')
_PYPROJECT = Template("""[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "ignite-threenet-$name"
version = "0.1.0"
description = "A plugin of ignite-threenet."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["ignite-threenet"]

[project.optional-dependencies]
dev = ["mypy", "pytest", "ruff"]

[project.entry-points."ignite_threenet.plugins"]
$name = "$module:$cls"

[tool.setuptools]
packages = ["$module"]
package-data = { $module = ["py.typed"] }

[tool.pytest.ini_options]
testpaths = ["tests"]

[tool.mypy]
strict = true
exclude = ["^build/"]

[tool.ruff]
line-length = 100
""")
_README = Template("""# ignite-threenet-$name

A plugin of ignite-threenet: says when the loss of an epoch is the lowest so far.

```
pip install .
ignite-threenet run --plugins +$name --$name.every 2
```

To work on it:

```
pip install -e '.[dev]'
pytest && mypy . && ruff check . && ignite-threenet plugins check $name
```
""")
_WORKFLOW = Template("""name: test
on: [push, pull_request]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install -e '.[dev]'
      - run: ruff check .
      - run: mypy .
      - run: pytest
      - run: ignite-threenet plugins check $name
""")
_IGNORED = Template("""__pycache__/
*.egg-info/
build/
runs/
.venv/
""")


def write_plugin(name: str, directory: Path, *, package: bool = False) -> list[Path]:
    """Write a plugin to begin with; nothing is overwritten.

    Args:
        name: the plugin's name, such as ``my-plugin``.
        directory: where to.
        package: whether to write a distribution that pip installs, in a directory of its own.

    Returns:
        The files, in the order in which a reader wants them.

    Raises:
        ConfigError: the name cannot be used, or something is there already.
    """
    module = f"ignite_threenet_{name}".replace("-", "_") if package else name.replace("-", "_")
    _check_name(name, module)
    words = {"name": name, "module": module, "cls": _class_name(name)}
    if package:
        contents = _package_contents(directory / f"ignite-threenet-{name}", module)
    else:
        contents = {directory / f"{module}.py": _PLUGIN}
    for path in contents:
        if path.exists():
            raise ConfigError(f"{path}: is there already, and is not overwritten")
    try:
        for path, template in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(template.substitute(words), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written: {error.strerror}") from error
    return list(contents)


def _package_contents(root: Path, module: str) -> dict[Path, Template]:
    return {
        root / module / "__init__.py": _PLUGIN,
        root / module / "py.typed": Template(""),
        root / "tests" / f"test_{module.removeprefix('ignite_threenet_')}.py": _TEST,
        root / "pyproject.toml": _PYPROJECT,
        root / "README.md": _README,
        root / ".github" / "workflows" / "test.yml": _WORKFLOW,
        root / ".gitignore": _IGNORED,
    }


def _class_name(name: str) -> str:
    cls = name.title().replace("-", "")
    return f"{cls}Plugin" if cls in _IMPORTED or keyword.iskeyword(cls) else cls


def _check_name(name: str, module: str) -> None:
    # To the command line, none is no plugin.
    if not _NAME.fullmatch(name) or name == "none":
        raise ConfigError(
            f"plugins new: {name!r} is no name; expected words of a-z and 0-9 joined by '-', "
            "such as my-plugin"
        )
    entries = find_plugins().get(name)
    if entries:
        raise ConfigError(
            f"plugins new: {name!r} is installed already, from {entries[0].origin}; "
            "choose another name"
        )
    if importlib.util.find_spec(module) is not None:
        raise ConfigError(
            f"plugins new: there is a Python module {module!r} already, which the new one would "
            "hide; choose another name"
        )
