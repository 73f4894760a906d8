"""Plugins: what one is, and the registry that finds, loads, checks and orders them.

Nothing is imported to find a plugin; only the plugins of a run are imported.
"""

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, dataclass_transform

from .errors import PluginChoiceError, PluginLoadError, ThreeNetError, UnknownNameError
from .options import OptionSpec, make_options_class, option_specs

if TYPE_CHECKING:
    from .run import Run

ENTRY_POINT_GROUP = "ignite_threenet.plugins"


@dataclass_transform(kw_only_default=True, eq_default=False)
class Plugin:
    """Something that attaches handlers to a run's engines.

    A subclass declares its options with option(), and becomes a keyword-only dataclass of them.

    Attributes:
        requires: names of the plugins that must run too, and whose handlers run first.
        on_error: what a failure does: ``stop`` the run, or ``detach`` the plugin, for one that
            only shows something.
        name: the plugin's name in its run.
        distribution: the distribution that it was installed from, with its version, or "".
        required_by: the plugin that brought it into the run, or None where the user named it.

    Example:
        >>> from ignite_threenet import option
        >>> class Patience(Plugin):
        ...     patience: int = option(3, help="measurements to wait", min=1)
        >>> Patience(patience=5).patience
        5
    """

    requires: ClassVar[tuple[str, ...]] = ()
    on_error: ClassVar[Literal["stop", "detach"]] = "stop"
    name: ClassVar[str] = ""
    distribution: ClassVar[str] = ""
    required_by: ClassVar[str | None] = None

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        make_options_class(cls, eq=False)
        for spec in option_specs(cls):
            if hasattr(Plugin, spec.name):
                raise TypeError(f"{cls.__name__}.{spec.name}: every plugin has that already")
        if not isinstance(cls.requires, tuple):
            raise TypeError(f"{cls.__name__}.requires: {cls.requires!r} is not a tuple of names")
        if cls.on_error not in ("stop", "detach"):
            raise TypeError(f"{cls.__name__}.on_error: {cls.on_error!r} is not 'stop' or 'detach'")
        if "name" not in cls.__dict__:
            cls.name = _kebab_case(cls.__name__)

    def attach(self, run: "Run") -> None:
        """Register the plugin's handlers.

        The engines and the model are there; the data is from Events.STARTED on.
        """

    def state_dict(self) -> Mapping[str, Any]:
        """Give what a resumed run must remember, as plain values and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what state_dict() gave, after this run's Events.STARTED.

        Model, optimizer, history and ``run.trainer.state`` are back already.
        """

    def close(self, error: BaseException | None) -> None:
        """Release what the plugin holds; called at the end, however the run ended.

        Args:
            error: what ended the run, or None where it went well.
        """

    def summary(self) -> Mapping[str, Any]:
        """Give what the plugin adds to summary.json, as plain values."""
        return {}


@dataclass(frozen=True)
class PluginEntry:
    """An installed plugin, not imported.

    Attributes:
        name: the entry point's name.
        value: what it points to, as ``module:Class``.
        distribution: the distribution's name.
        version: the distribution's version.
    """

    name: str
    value: str
    distribution: str
    version: str

    @property
    def origin(self) -> str:
        """The distribution with its version."""
        return f"{self.distribution} {self.version}".strip()

    def describe(self) -> str:
        """Give the first line of the plugin's docstring, without importing it."""
        module, _, attribute = self.value.partition(":")
        docstring = _class_docstring(module, attribute.strip())
        return docstring.splitlines()[0] if docstring else ""

    def load(self) -> type[Plugin]:
        """Import the plugin.

        Raises:
            PluginLoadError: the import fails, or what it brings is not a Plugin.
        """
        entry_point = importlib.metadata.EntryPoint(self.name, self.value, ENTRY_POINT_GROUP)
        try:
            loaded = entry_point.load()
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            raise PluginLoadError(
                self.name, self.origin, f"cannot be imported from {self.value}: {reason}"
            ) from error
        if not (isinstance(loaded, type) and issubclass(loaded, Plugin)) or loaded is Plugin:
            raise PluginLoadError(
                self.name, self.origin, f"is not a subclass of ignite_threenet.Plugin: {self.value}"
            )
        return loaded


@dataclass(frozen=True)
class ChosenPlugin:
    """A plugin that takes part in a run.

    Attributes:
        name: its name in the run.
        cls: its class.
        distribution: the distribution with its version, or "".
        required_by: the plugin that brought it, or None where the user named it.
        instance: the plugin itself where the user made it.
    """

    name: str
    cls: type[Plugin]
    distribution: str
    required_by: str | None
    instance: Plugin | None = None

    @property
    def specs(self) -> tuple[OptionSpec, ...]:
        """The plugin's options."""
        return option_specs(self.cls)

    def create(self, **options: Any) -> Plugin:
        """Make the plugin, unless the user made it."""
        plugin = self.instance if self.instance is not None else self._construct(options)
        # On the instance: one class may take part under several names.
        plugin.__dict__.update(
            name=self.name, distribution=self.distribution, required_by=self.required_by
        )
        return plugin

    def _construct(self, options: Mapping[str, Any]) -> Plugin:
        try:
            return self.cls(**options)
        except ThreeNetError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise PluginLoadError(
                self.name, self.distribution, f"refuses its options: {reason}"
            ) from error


def find_plugins() -> dict[str, list[PluginEntry]]:
    """List what is installed, by name, without importing any of it.

    Returns:
        The entries of each name, sorted; more than one where distributions clash.
    """
    found: dict[str, list[PluginEntry]] = {}
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        distribution = entry_point.dist
        entry = PluginEntry(
            entry_point.name,
            entry_point.value,
            distribution.name if distribution else "",
            distribution.version if distribution else "",
        )
        found.setdefault(entry.name, []).append(entry)
    return {name: sorted(found[name], key=lambda entry: entry.origin) for name in sorted(found)}


def find_plugin(
    name: str,
    required_by: str | None = None,
    installed: Mapping[str, list[PluginEntry]] | None = None,
) -> PluginEntry:
    """Find one installed plugin.

    Args:
        name: its name.
        required_by: the plugin that requires it, for the message.
        installed: what find_plugins() gave, where it was asked already.

    Raises:
        UnknownNameError: there is none of that name.
        PluginChoiceError: several distributions bring one of that name.
    """
    installed = find_plugins() if installed is None else installed
    entries = installed.get(name)
    if not entries:
        where = f"plugin {required_by!r} requires another" if required_by else ""
        raise UnknownNameError("plugin", name, installed, where)
    if len(entries) > 1:
        origins = " and ".join(entry.origin for entry in entries)
        raise PluginChoiceError(
            name, "", f"comes from several distributions: {origins}; uninstall all but one"
        )
    return entries[0]


def select_plugins(items: Iterable[str], default: Sequence[str]) -> tuple[list[str], set[str]]:
    """Read a selection such as ``best,plot``, ``+acme`` or ``no:plot``.

    Args:
        items: names, each perhaps with ``+`` or ``no:`` before it, or several joined by commas.
        default: what ``+`` adds to, and ``no:`` takes away from, where no plain name is given.

    Returns:
        The names chosen, in order, and the names taken away.

    Example:
        >>> select_plugins(["+acme,no:plot"], default=["best", "plot"])
        (['best', 'acme'], {'plot'})
        >>> select_plugins(["none"], default=["best", "plot"])
        ([], set())
    """
    words = [word.strip() for item in items for word in item.split(",") if word.strip()]
    plain = [word for word in words if not word.startswith(("+", "no:"))]
    added = [word[1:].strip() for word in words if word.startswith("+")]
    removed = {word[3:].strip() for word in words if word.startswith("no:")}
    base = plain if plain else list(default)
    chosen = dict.fromkeys(name for name in [*base, *added] if name != "none")
    return [name for name in chosen if name not in removed], removed


def resolve_plugins(
    wanted: Iterable[str | Plugin], removed: Iterable[str] = ()
) -> list[ChosenPlugin]:
    """Add what the wanted plugins require, and put them in order: requirements first.

    Args:
        wanted: names of installed plugins, or plugins.
        removed: names that must not be added.

    Returns:
        The plugins of the run. Imports them, and no others.

    Raises:
        UnknownNameError: a name is not installed.
        PluginLoadError: a plugin cannot be imported.
        PluginChoiceError: two plugins have one name, requirements form a cycle, or a plugin
            that another requires was taken away.
    """
    resolver = _Resolver(wanted, removed)
    return resolver.resolve()


class _Resolver:
    """One depth-first walk over the requirements of the wanted plugins."""

    def __init__(self, wanted: Iterable[str | Plugin], removed: Iterable[str]) -> None:
        self._instances: dict[str, Plugin] = {}
        self._names: list[str] = []
        if isinstance(wanted, str):
            raise TypeError(f"plugins: {wanted!r} is one text; give a list of names and plugins")
        for item in wanted:
            if not isinstance(item, str | Plugin):
                raise TypeError(f"plugins: {item!r} is not a name or a plugin; a class is called")
            name = item if isinstance(item, str) else item.name
            if isinstance(item, Plugin):
                if name in self._instances:
                    raise PluginChoiceError(name, "", "is given twice; a run has one of each name")
                self._instances[name] = item
            self._names.append(name)
        self._removed = set(removed)
        self._installed = find_plugins()
        for name in self._removed - self._instances.keys() - self._installed.keys():
            raise UnknownNameError("plugin", name, self._installed)
        self._chosen: dict[str, ChosenPlugin] = {}

    def resolve(self) -> list[ChosenPlugin]:
        for name in self._names:
            self._visit(name, path=())
        return list(self._chosen.values())

    def _visit(self, name: str, path: tuple[str, ...]) -> None:
        if name in path:
            cycle = " -> ".join([*path[path.index(name) :], name])
            raise PluginChoiceError(name, "", f"requires itself: {cycle}")
        if name in self._chosen:
            return
        parent = path[-1] if path else None
        if name in self._removed and parent is not None:
            raise PluginChoiceError(parent, "", f"requires {name!r}, which no:{name} takes away")
        plugin = self._load(name, parent)
        for required in plugin.cls.requires:
            self._visit(required, (*path, name))
        self._chosen[name] = plugin

    def _load(self, name: str, parent: str | None) -> ChosenPlugin:
        instance = self._instances.get(name)
        if instance is not None:
            cls = type(instance)
            origin = instance.distribution or self._origin_of(cls)
            return ChosenPlugin(name, cls, origin, instance.required_by, instance)
        entry = find_plugin(name, parent, self._installed)
        required_by = None if name in self._names else parent
        return ChosenPlugin(name, entry.load(), entry.origin, required_by)

    def _origin_of(self, cls: type[Plugin]) -> str:
        """Find the distribution that registers a class; "" where none does."""
        value = f"{cls.__module__}:{cls.__qualname__}"
        entries = (entry for same_name in self._installed.values() for entry in same_name)
        return next((entry.origin for entry in entries if entry.value == value), "")


def _kebab_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def _class_docstring(module: str, class_name: str) -> str | None:
    """Read a class's docstring from its source; None where there is none to be read."""
    spec = _find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    try:
        tree = ast.parse(Path(spec.origin).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            return ast.get_docstring(node)
    return None


def _find_spec(module: str) -> ModuleSpec | None:
    """Find a module's file as the import system would, but import no parent package."""
    top, *parts = module.split(".")
    spec = _ask_finders(top)
    for part in parts:
        if spec is None:
            return None
        # A single name, for which no finder looks at a parent package.
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations or []))
    return spec


def _ask_finders(name: str) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find_spec(name, None) if find_spec else None
        if spec is not None:
            return spec
    return None
