"""The file that may say what a run is asked to do."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, UnknownNameError

_RECIPES = Path(__file__).with_name("recipes")


def read_config_file(path: Path) -> Mapping[str, Any]:
    """Read a TOML file of options: a run's at the top, a plugin's in a section of its name.

    Returns:
        The file's content, with ``_`` for ``-`` in the keys of options.

    Raises:
        ConfigError: the file cannot be read, or is not TOML; the message says where.
    """
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    options = {key: value for key, value in content.items() if not isinstance(value, dict)}
    sections = {key: value for key, value in content.items() if isinstance(value, dict)}
    return _underscored(options, f"{path}") | {
        name: _underscored(section, f"{path}: [{name}]") for name, section in sections.items()
    }


def recipe_names() -> list[str]:
    """List the recipes, sorted."""
    return sorted(path.stem for path in _RECIPES.glob("*.toml"))


def recipe_path(name: str) -> Path:
    """Find the configuration file of a recipe.

    Raises:
        UnknownNameError: there is no recipe of that name.
    """
    if name not in recipe_names():
        raise UnknownNameError("recipe", name, recipe_names())
    return _RECIPES / f"{name}.toml"


def _underscored(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for key, value in options.items():
        name = key.replace("-", "_")
        if name in renamed:
            raise ConfigError(f"{where}: {key!r} is given twice, with '-' and with '_'")
        renamed[name] = value
    return renamed
