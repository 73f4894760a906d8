"""The file that may say what a run is asked to do."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..errors import ConfigError, UnknownNameError
from ..extensions.component import GROUPS, Component, locate
from ..extensions.reference import Reference
from ..extensions.selection import ChosenPlugin, find_plugins
from ..options.declaration import option_specs
from .choice import Owner, key_of, owners_of

PLUGINS = "plugins"
"""The key of the plugins."""

_USE_KEY = "use"
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


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file, or a recipe, or nothing: what it says, and how messages call it."""

    name: str
    content: Mapping[str, Any]
    directory: Path = Path()

    @classmethod
    def of_path(cls, path: str | None) -> "ConfigFile":
        """Read a file; one that says nothing if path is None."""
        return cls(path, read_config_file(Path(path)), Path(path).parent) if path else cls("", {})

    @classmethod
    def of_recipe(cls, recipe: str | None) -> "ConfigFile":
        """Read a recipe; one that says nothing if recipe is None."""
        if not recipe:
            return cls("", {})
        return cls(f"recipe {recipe}", read_config_file(recipe_path(recipe)))

    def plugins(self) -> list[str]:
        """Read the key ``plugins``: text with commas, or a list."""
        value = self.content.get(PLUGINS, [])
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise ConfigError(f"{self.name}: plugins: {value!r} is not a list of names")
        if PLUGINS in self.content and not items:
            return ["none"]
        # Files are meant as seen from this file.
        return [self._located(word) for item in items for word in item.split(",")]

    def _located(self, word: str) -> str:
        word = word.strip()
        mark = "+" if word.startswith("+") else ""
        name, equals, target = word.removeprefix("+").rpartition("=")
        if not Reference.parse(target).is_file or Path(target).is_absolute():
            return word
        return f"{mark}{name}{equals}{self.directory / target}"

    def explain(self, word: str) -> str:
        """Say what a name stands for whose section has ``use``: ``second`` is ``second=best``."""
        section = self.content.get(word)
        target = section.get(_USE_KEY) if isinstance(section, dict) else None
        if target is None:
            return word
        if not isinstance(target, str):
            raise ConfigError(f"{self.name}: [{word}] {_USE_KEY}: {target!r} is not a name")
        return self._located(f"{word}={target}")

    def component(self, kind: str) -> str | None:
        """Read which model or dataset is meant: ``model = "..."``, or ``use`` in its section."""
        value = self.content.get(kind)
        where = f"{self.name}: {kind}"
        if isinstance(value, dict):
            value, where = value.get(_USE_KEY), f"{self.name}: [{kind}] {_USE_KEY}"
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{where}: {value!r} is not a name")
        return locate(kind, value, self.directory)

    def values(
        self,
        chosen: Iterable[ChosenPlugin],
        components: Iterable[Component],
        words: Mapping[str, str],
    ) -> dict[str, Any]:
        """Check the options, and convert them; by ``option`` or ``owner.option``.

        Args:
            chosen: the plugins of the run.
            components: its model and its dataset.
            words: what these were chosen by; a section for others is not meant.
        """
        specs = {spec.name: spec for spec in option_specs(RunConfig)}
        by_prefix = {owner.prefix: owner for owner in owners_of(components, chosen)}
        values: dict[str, Any] = {}
        for key, value in self.content.items():
            if key in GROUPS:
                values |= self._component_values(key, value, by_prefix, words)
            elif key in specs:
                values[key] = specs[key].convert(value, f"{self.name}: {key}")
            elif isinstance(value, dict):
                values |= self._section_values(key, value, by_prefix)
            elif key != PLUGINS:
                raise UnknownNameError("key", key, [*specs, PLUGINS], where=self.name)
        return values

    def _component_values(
        self, kind: str, value: object, chosen: Mapping[str, Owner], words: Mapping[str, str]
    ) -> dict[str, Any]:
        word = self.component(kind)
        values = {kind: word} if word is not None else {}
        is_meant = word is None or word == locate(kind, words[kind])
        if isinstance(value, dict) and is_meant:
            values |= self._section_values(kind, value, chosen)
        return values

    def _section_values(
        self, section: str, content: Mapping[str, Any], chosen: Mapping[str, Owner]
    ) -> dict[str, Any]:
        if section not in chosen:
            # A known plugin's section may wait for a run with that plugin.
            installed = find_plugins()
            if section not in installed and _USE_KEY not in content:
                raise UnknownNameError("section", section, installed, where=self.name)
            return {}
        where = f"{self.name}: [{section}]"
        specs = {spec.name: spec for spec in chosen[section].specs}
        values: dict[str, Any] = {}
        for key, value in content.items():
            if key == _USE_KEY:
                continue
            if key not in specs:
                raise UnknownNameError("key", key, specs, where=where)
            values[key_of(key, section)] = specs[key].read(value, f"{where} {key}")
        return values
