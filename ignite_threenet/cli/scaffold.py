"""What ``plugins new`` writes: a plugin to begin with, alone or as a package."""

import importlib.resources
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
        contents = {directory / f"{module}.py": _template("plugin.py")}
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
        root / module / "__init__.py": _template("plugin.py"),
        root / module / "py.typed": Template(""),
        root / "tests" / f"test_{module.removeprefix('ignite_threenet_')}.py": _template(
            "test_plugin.py"
        ),
        root / "pyproject.toml": _template("pyproject.toml"),
        root / "README.md": _template("README.md"),
        root / ".github" / "workflows" / "test.yml": _template("test.yml"),
        root / ".gitignore": _template("gitignore"),
    }


def _template(name: str) -> Template:
    """Read a template of a file."""
    path = importlib.resources.files(__package__) / "templates" / f"{name}.template"
    return Template(path.read_text(encoding="utf-8"))


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
    if _is_module(module):
        raise ConfigError(
            f"plugins new: there is a Python module {module!r} already, which the new one would "
            "hide; choose another name"
        )


def _is_module(name: str) -> bool:
    """Tell whether Python finds a module; a plain folder, such as data/, is none."""
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None
