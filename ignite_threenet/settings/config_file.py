"""The file that may say what a run is asked to do."""

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..errors import ConfigError, PluginError, UnknownNameError
from ..extensions.component import GROUPS, Component, locate
from ..extensions.reference import Reference
from ..extensions.selection import (
    ChosenPlugin,
    find_plugin,
    find_plugins,
    load_plugin,
    select_plugins,
)
from ..options.declaration import OptionSpec, option_specs
from .choice import Owner, key_of, owners_of

PLUGINS = "plugins"
"""The key of the plugins."""

_USE_KEY = "use"
_OPTIONAL_KEY = "optional"
_MOST_BYTES = 1_048_576
_RECIPES = Path(__file__).with_name("recipes")


def read_config_file(path: Path) -> Mapping[str, Any]:
    """Read a TOML file of options: a run's at the top, a plugin's in a section of its name.

    Returns:
        The file's content, with ``_`` for ``-`` in the keys of options.

    Raises:
        ConfigError: the file cannot be read, or is not TOML; the message says where.
    """
    content = _parse(path)
    options = {key: value for key, value in content.items() if not isinstance(value, dict)}
    sections = {key: value for key, value in content.items() if isinstance(value, dict)}
    return _underscored(options, f"{path}") | {
        name: _underscored(section, f"{path}: [{name}]") for name, section in sections.items()
    }


def _parse(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    if len(raw) > _MOST_BYTES:
        raise ConfigError(f"{path}: larger than {_MOST_BYTES} bytes, which no configuration is")
    try:
        # Some editors begin a file with a byte order mark.
        return tomllib.loads(raw.decode("utf-8-sig"))
    except RecursionError:
        raise ConfigError(f"{path}: not valid TOML: nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


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
        if items and not any(item.strip(", ") for item in items):
            raise ConfigError(f"{self.name}: plugins: {value!r} names none; 'none' takes none")
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
        absent: Collection[str] = (),
    ) -> dict[str, Any]:
        """Check the options, and convert them; by ``option`` or ``owner.option``.

        Args:
            chosen: the plugins of the run.
            components: its model and its dataset.
            words: what these were chosen by; a section for others is not meant.
            absent: plugins that were taken away on purpose, whose sections may wait.

        Raises:
            ConfigError: something is misspelt, not allowed, or read by nobody.
        """
        absent = {*absent, *(Reference.parse(word).name for word in self._named_plugins())}
        specs = {spec.name: spec for spec in option_specs(RunConfig)}
        by_prefix = {owner.prefix: owner for owner in owners_of(components, chosen)}
        values: dict[str, Any] = {}
        for key, value in self.content.items():
            if key in GROUPS:
                values |= self._component_values(key, value, by_prefix, words)
            elif key in specs:
                values[key] = specs[key].convert(value, f"{self.name}: {key}")
            elif isinstance(value, dict):
                values |= self._section_values(key, value, by_prefix, absent)
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
            values |= self._section_values(kind, value, chosen, ())
        return values

    def _section_values(
        self,
        section: str,
        content: Mapping[str, Any],
        chosen: Mapping[str, Owner],
        absent: Collection[str],
    ) -> dict[str, Any]:
        if section in chosen:
            return self._convert(section, content, chosen[section].specs)
        self._check_waiting(section, content, absent)
        return {}

    def _check_waiting(
        self, section: str, content: Mapping[str, Any], absent: Collection[str]
    ) -> None:
        """Refuse a section that nobody reads, unless its plugin is meant for other runs."""
        installed, where = find_plugins(), f"{self.name}: [{section}]"
        may_wait = content.get(_OPTIONAL_KEY, False)
        if not isinstance(may_wait, bool):
            raise ConfigError(f"{where} {_OPTIONAL_KEY}: {may_wait!r} is not true or false")
        if section not in installed and _USE_KEY not in content:
            if may_wait:
                return
            raise UnknownNameError("section", section, installed, where=self.name)
        if not may_wait and section not in absent:
            raise ConfigError(
                f"{where}: the plugin {section!r} is not part of this run, so nobody reads this; "
                f"add it by --plugins +{section}, or let the section say {_OPTIONAL_KEY} = true"
            )
        target = self.explain(section).removeprefix(f"{section}=")
        try:
            specs = option_specs(load_plugin(find_plugin(target)))
        except (PluginError, UnknownNameError):
            return  # what cannot be had may be had where it is meant for
        self._convert(section, content, specs, reads=False)

    def _convert(
        self,
        section: str,
        content: Mapping[str, Any],
        specs: Iterable[OptionSpec],
        *,
        reads: bool = True,
    ) -> dict[str, Any]:
        """Check a section's keys, and convert its values; secrets are read from files if told."""
        where, by_name = f"{self.name}: [{section}]", {spec.name: spec for spec in specs}
        values: dict[str, Any] = {}
        for key, value in content.items():
            if key == _USE_KEY or (key == _OPTIONAL_KEY and key not in by_name):
                continue
            if key not in by_name:
                raise UnknownNameError("key", key, by_name, where=where)
            convert = by_name[key].read if reads else by_name[key].convert
            values[key_of(key, section)] = convert(value, f"{where} {key}")
        return values

    def _named_plugins(self) -> list[str]:
        """Name the plugins that the file itself chooses."""
        return select_plugins(self.plugins(), ())[0]
