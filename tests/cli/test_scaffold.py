"""Tests of the plugin that ``plugins new`` writes."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from conftest import InstallDistribution

from ignite_threenet import ConfigError
from ignite_threenet.cli.scaffold import write_plugin
from ignite_threenet.extensions.selection import find_plugin, load_plugin
from ignite_threenet.testing import run_plugin

ROOT = Path(__file__).parents[2]
PACKAGE = Path("ignite-threenet-my-plugin")


def refusal(name: str, *, package: bool = False) -> str:
    with pytest.raises(ConfigError) as raised:
        write_plugin(name, Path(), package=package)
    return str(raised.value)


def written() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


def test_a_plugin_is_one_file_called_as_a_module_is() -> None:
    paths = write_plugin("my-plugin", Path())

    assert paths == [Path("my_plugin.py")]
    assert written() == ["my_plugin.py"]


def test_a_package_has_all_that_a_distribution_needs() -> None:
    paths = write_plugin("my-plugin", Path(), package=True)

    assert [str(path.relative_to(PACKAGE)) for path in paths] == [
        "ignite_threenet_my_plugin/__init__.py",
        "ignite_threenet_my_plugin/py.typed",
        "tests/test_my_plugin.py",
        "pyproject.toml",
        "README.md",
        ".github/workflows/test.yml",
        ".gitignore",
    ]
    assert written() == sorted(str(path) for path in paths)


def test_a_directory_that_is_not_there_is_made() -> None:
    write_plugin("my-plugin", Path("here/and/there"))

    assert written() == ["here/and/there/my_plugin.py"]


def test_what_is_written_works_as_it_is() -> None:
    (path,) = write_plugin("my-plugin", Path())

    cls = load_plugin(find_plugin(str(path)))
    run = run_plugin(cls(), accuracies=[0.1, 0.2])

    assert cls.__name__ == "MyPlugin"
    assert list(run.plugins) == ["accuracy", "my-plugin"]


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("top5-accuracy", "Top5Accuracy"),
        ("true", "TruePlugin"),
        ("plugin", "PluginPlugin"),
        ("events", "EventsPlugin"),
        ("run", "RunPlugin"),
    ],
)
def test_a_class_is_never_called_as_what_python_or_the_file_knows(name: str, cls: str) -> None:
    (path,) = write_plugin(name, Path())

    loaded = load_plugin(find_plugin(f"{path}:{cls}"))

    assert loaded.__name__ == cls


@pytest.mark.parametrize(
    "name",
    [
        *("", "none", "Mine", "my_plugin", "my plugin", "-mine", "mine-", "my--plugin", "2nd"),
        *("a.b", "../mine", "mine.py", "müsli", "mine\n"),
    ],
)
@pytest.mark.parametrize("package", [False, True])
def test_what_is_no_name_is_refused(name: str, package: bool) -> None:
    assert refusal(name, package=package) == (
        f"plugins new: {name!r} is no name; expected words of a-z and 0-9 joined by '-', "
        "such as my-plugin"
    )
    assert written() == []


def test_the_name_of_an_installed_plugin_is_refused(
    install_distribution: InstallDistribution,
) -> None:
    install_distribution("acme", {"my-plugin": "acme:MyPlugin"}, {}, version="0.3")
    before = written()

    assert refusal("my-plugin") == (
        "plugins new: 'my-plugin' is installed already, from acme 0.3; choose another name"
    )
    assert written() == before


@pytest.mark.parametrize(
    ("name", "package", "module"),
    [
        ("logging", False, "logging"),
        ("torch", False, "torch"),
        ("plugins", True, "ignite_threenet_plugins"),
    ],
)
def test_a_module_that_would_hide_another_is_refused(name: str, package: bool, module: str) -> None:
    assert refusal(name, package=package) == (
        f"plugins new: there is a Python module {module!r} already, which the new one would "
        "hide; choose another name"
    )
    assert written() == []


def test_a_file_that_is_there_is_not_overwritten() -> None:
    Path("my_plugin.py").write_text("mine")

    assert refusal("my-plugin") == "my_plugin.py: is there already, and is not overwritten"
    assert Path("my_plugin.py").read_text() == "mine"


def test_a_file_of_a_package_that_is_there_stops_all_others() -> None:
    readme = PACKAGE / "README.md"
    readme.parent.mkdir()
    readme.write_text("mine")

    message = refusal("my-plugin", package=True)

    assert message == f"{readme}: is there already, and is not overwritten"
    assert written() == [str(readme)]
    assert readme.read_text() == "mine"


def test_a_place_where_nothing_can_be_written_is_told() -> None:
    Path("here").write_text("a file")

    with pytest.raises(ConfigError) as raised:
        write_plugin("my-plugin", Path("here"))

    assert str(raised.value) == "here: cannot be written: File exists"


@pytest.mark.parametrize("package", [False, True])
def test_ruff_has_nothing_to_say(package: bool) -> None:
    write_plugin("my-plugin", Path(), package=package)
    ruff = [sys.executable, "-m", "ruff"]

    for command in ([*ruff, "check", "."], [*ruff, "format", "--check", "."]):
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr


# A package in an environment of its own, installed by pip as a stranger would

FOREIGN_TEST = '''
"""Tests that need the fixtures."""

import logging
import signal

from ignite_threenet.testing.fixtures import InstallDistribution, RunCli

pytest_plugins = ["ignite_threenet.testing.fixtures"]


def test_the_command_line_runs(run_cli: RunCli) -> None:
    result = run_cli("run", "--dry-run", "--plugins", "my-plugin", "--my-plugin.every", "2")

    assert result.exit_code == 0, result.stderr
    assert "my-plugin.every" in result.stdout


def test_what_the_command_line_did_is_taken_back() -> None:
    assert logging.getLogger("ignite").level == logging.NOTSET
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_message_is_as_a_user_sees_it(run_cli: RunCli) -> None:
    result = run_cli("run", "--my-plugin.every", "0", "--plugins", "my-plugin")

    assert result.exit_code == 2
    assert result.stderr.startswith("error: --my-plugin.every: '0' is out of range")


def test_another_distribution_is_there(
    install_distribution: InstallDistribution, run_cli: RunCli
) -> None:
    install_distribution("acme", {"other": "acme_other:Other"}, {"acme_other": "1 / 0"})

    assert "acme" in run_cli("plugins", "list").stdout
'''


def run(*command: str | Path, cwd: Path | None = None, code: int = 0) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, cwd=cwd, env=environment
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment that sees this one's packages, with the project installed for good."""
    tmp_path = tmp_path_factory.mktemp("environment")
    for needed in ("pip", "setuptools", "mypy", "ruff"):
        # Not by find_spec, by which setuptools would take distutils' place.
        if not any(importlib.metadata.distributions(name=needed)):
            pytest.skip(f"{needed} is not installed")
    venv.create(tmp_path / "stranger", symlinks=True)
    base = {"base": str(tmp_path / "stranger"), "platbase": str(tmp_path / "stranger")}
    # Nothing in there but this line: what an editable install adds is not followed.
    outer = Path(sysconfig.get_path("purelib", "venv", base), "outer.pth")
    outer.write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    # A copy, because setuptools builds where the sources are.
    source = tmp_path / "source"
    for name in ("ignite_threenet", "plugins"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    scripts = Path(sysconfig.get_path("scripts", "venv", base))
    install(scripts, source)
    return scripts


def install(scripts: Path, project: Path) -> None:
    options = ("--ignore-installed", "--no-build-isolation", "--no-deps", "--no-index")
    run(scripts / "python", "-m", "pip", "install", *options, project.absolute())


def test_a_package_is_installed_and_passes_its_own_checks(stranger: Path) -> None:
    command, python = stranger / "ignite-threenet", stranger / "python"

    run(command, "plugins", "new", "my-plugin", "--package")
    install(stranger, PACKAGE)

    assert "ignite-threenet-my-plugin  0.1.0" in run(command, "plugins", "list")
    where = run(python, "-c", "import ignite_threenet; print(ignite_threenet.__file__)")
    assert Path(where).is_relative_to(stranger.parent)
    (PACKAGE / "tests" / "test_fixtures.py").write_text(FOREIGN_TEST)
    assert "8 passed" in run(python, "-m", "pytest", "-p", "no:cacheprovider", cwd=PACKAGE)
    run(python, "-m", "ruff", "check", ".", cwd=PACKAGE)
    # What is known of torch's types saves most of the time.
    if (ROOT / ".mypy_cache").is_dir():
        shutil.copytree(ROOT / ".mypy_cache", PACKAGE / ".mypy_cache")
    assert "no issues found in 3 source files" in run(python, "-m", "mypy", ".", cwd=PACKAGE)


POINTS = """import torch


def load():
    points = torch.rand(60, 4)
    labels = (points[:, 0] > 0.5).long()
    return {"train": (points[:40], labels[:40]), "test": (points[40:], labels[40:])}
"""


def test_a_package_that_was_edited_is_checked_and_takes_part_in_a_run(stranger: Path) -> None:
    command = stranger / "ignite-threenet"
    run(command, "plugins", "new", "edited", "--package")
    module = Path("ignite-threenet-edited", "ignite_threenet_edited", "__init__.py")
    line = "            self.lowest = record.loss\n"
    edit = '            run.directory.write("lowest.txt", f"epoch {record.epoch}".encode())\n'
    source = module.read_text()
    assert line in source
    module.write_text(source.replace(line, line + edit))
    install(stranger, module.parents[1])
    Path("points.py").write_text(POINTS)

    checked = run(command, "plugins", "check", "edited")
    words = (
        "--dataset",
        "points.py:load",
        "--epochs",
        "2",
        "--plugins",
        "edited",
        "--out",
        "there",
    )
    run(command, "run", *words)

    assert "FAILED" not in checked
    assert Path("there", "lowest.txt").read_text().startswith("epoch ")


BAD_PLUGINS = {
    "broken": "import absent_module\n",
    "slow": "import time\ntime.sleep(1.5)\n",
    "lying": "",
    "outdated": "",
}
BODIES = {
    "lying": """
    def attach(self, run):
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED, self.meddle, run.model)

    def meddle(self, model):
        with torch.no_grad():
            next(model.parameters()).add_(1)
""",
    "outdated": "    api = 0\n",
}
HEADER = "import torch\nfrom ignite.engine import Events\nfrom ignite_threenet import Plugin\n"
PROJECT = """[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "1.0"

[project.entry-points."ignite_threenet.plugins"]
{entries}
[tool.setuptools]
py-modules = {modules}
"""


def install_project(stranger: Path, name: str, sources: dict[str, str], *plugins: str) -> None:
    """Install a distribution of modules, in each of which there is a plugin called Subject."""
    Path(name).mkdir()
    for module, source in sources.items():
        Path(name, f"{module}.py").write_text(source)
    entries = "".join(
        f'{plugin} = "{module}:Subject"\n' for plugin, module in zip(plugins, sources, strict=True)
    )
    project = PROJECT.format(name=name, entries=entries, modules=[*sources])
    Path(name, "pyproject.toml").write_text(project.replace("'", '"'))
    install(stranger, Path(name))


def test_each_bad_plugin_gets_the_sentence_that_it_deserves(stranger: Path) -> None:
    sources = {
        f"bad_{name}": f'{HEADER}{top}\nclass Subject(Plugin):\n    """Bad."""\n'
        f"{BODIES.get(name, '')}"
        for name, top in BAD_PLUGINS.items()
    }
    install_project(stranger, "acme-bad", sources, *BAD_PLUGINS)
    for name in ("acme-one", "acme-two"):
        module = f"twin_{name[5:]}"
        install_project(stranger, name, {module: sources["bad_slow"]}, "twin")

    said = run(stranger / "ignite-threenet", "plugins", "check", *BAD_PLUGINS, "twin", code=1)

    failures = [line.split(maxsplit=1)[1] for line in said.splitlines() if "FAILED" in line]
    broken, lying, outdated, twin = failures
    assert broken == (
        "import: plugin 'broken' (acme-bad 1.0) cannot be imported from bad_broken:Subject: "
        "ModuleNotFoundError: No module named 'absent_module'"
    )
    assert "s; slow: import what is heavy where it is used, not at the top)" in said
    assert lying.startswith("weights: training ends with other weights: tiny.1.weight")
    assert "; say changes_training = True, or do not touch what training uses" in lying
    assert "was written for version 0 of the plugins' interface" in outdated
    assert "has version 1; upgrade the plugin" in outdated
    assert twin == (
        "name: plugin 'twin' comes from several distributions: acme-one 1.0 and acme-two 1.0; "
        "uninstall all but one"
    )
