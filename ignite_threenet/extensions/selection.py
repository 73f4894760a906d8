"""Which plugins take part in a run, and in which order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ..errors import (
    PluginChoiceError,
    PluginLoadError,
    ThreeNetError,
    UnknownNameError,
    describe_error,
)
from ..options.declaration import OptionSpec, option_specs
from .component import GROUPS
from .entries import Entry, FileEntry, find_entries, find_entry
from .importing import LoadFailedError, source_digest
from .plugin import API, ENTRY_POINT_GROUP, Plugin
from .reference import Reference


@dataclass(frozen=True)
class ChosenPlugin:
    """A plugin that takes part in a run.

    Attributes:
        name: its name in the run.
        cls: its class.
        distribution: the distribution with its version, or "".
        required_by: the plugin that brought it, or None if the user named it.
        use: the name under which it is installed, or its file; "" if the user made it of a
            class that is not installed.
        instance: the plugin itself if the user made it.
    """

    name: str
    cls: type[Plugin]
    distribution: str
    required_by: str | None
    use: str
    instance: Plugin | None = None
    file_digest: str = ""

    @property
    def specs(self) -> tuple[OptionSpec, ...]:
        """The plugin's options."""
        return option_specs(self.cls)

    def create(self, **options: Any) -> Plugin:
        """Make the plugin, unless the user made it."""
        plugin = self.instance if self.instance is not None else self._construct(options)
        # On the instance: one class may take part under several names.
        plugin.__dict__.update(
            name=self.name,
            distribution=self.distribution,
            required_by=self.required_by,
            use=self.use,
            # What a script defines by itself is its own affair.
            source_digest=source_digest(self.cls) if self.use else "",
            file_digest=self.file_digest,
        )
        return plugin

    def _construct(self, options: Mapping[str, Any]) -> Plugin:
        try:
            return self.cls(**options)
        except ThreeNetError:
            raise
        except (Exception, SystemExit) as error:
            problem = f"refuses its options: {describe_error(error)}"
            raise PluginLoadError(self.name, self.distribution, problem) from error


def find_plugins() -> dict[str, list[Entry]]:
    """List the installed plugins by name, without importing any of them; see find_entries()."""
    return find_entries(ENTRY_POINT_GROUP)


def find_plugin(
    word: str,
    required_by: str | None = None,
    installed: Mapping[str, list[Entry]] | None = None,
) -> Entry | FileEntry:
    """Find one plugin.

    Args:
        word: the name of an installed one, or ``file.py``, or ``file.py:Name``.
        required_by: the plugin that requires it, for the message.
        installed: what find_plugins() gave, if it was asked already.

    Raises:
        UnknownNameError: there is none of that name, or no such file.
        PluginChoiceError: several distributions bring one of that name.
    """
    where = f"plugin {required_by!r} requires another" if required_by else ""
    installed = find_plugins() if installed is None else installed
    try:
        return find_entry("plugin", word, installed, where)
    except LoadFailedError as error:
        raise PluginChoiceError(word, "", str(error)) from None


def load_plugin(entry: Entry | FileEntry) -> type[Plugin]:
    """Import a plugin.

    Raises:
        PluginLoadError: the import fails, what it brings is not a Plugin, or it was written for
            another version of the plugins' interface.
    """
    try:
        cls: type[Plugin] = entry.load(_is_plugin, "a subclass of ignite_threenet.Plugin")
    except LoadFailedError as error:
        raise PluginLoadError(entry.name, entry.origin, str(error)) from error.__cause__
    if cls.api != API:
        raise PluginLoadError(
            entry.name,
            entry.origin,
            f"was written for version {cls.api} of the plugins' interface, and this "
            f"ignite-threenet {version('ignite-threenet')} has version {API}; upgrade "
            f"{'ignite-threenet' if cls.api > API else 'the plugin'}",
        )
    return cls


def _is_plugin(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Plugin) and value is not Plugin


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
    names = {word: Reference.parse(word).name for word in chosen}
    # What was only named to be taken away need not be installed under that name.
    aliases = {name for word, name in names.items() if name != word}
    return [word for word in chosen if names[word] not in removed], removed - aliases


def is_whole_selection(items: Iterable[str]) -> bool:
    """Tell whether a selection names plugins by itself, and not only what to add or take away.

    Example:
        >>> is_whole_selection(["best,plot"]), is_whole_selection(["+acme", "no:plot"])
        (True, False)
    """
    words = [word.strip() for item in items for word in item.split(",")]
    return any(word and not word.startswith(("+", "no:")) for word in words)


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
        self._targets: dict[str, str] = {}
        if isinstance(wanted, str):
            raise TypeError(f"plugins: {wanted!r} is one text; give a list of names and plugins")
        for item in wanted:
            self._want(item)
        self._removed = set(removed)
        self._installed = find_plugins()
        known = {*self._instances, *self._targets, *self._installed}
        for name in self._removed - known:
            raise UnknownNameError("plugin", name, self._installed)
        self._chosen: dict[str, ChosenPlugin] = {}

    def _want(self, item: str | Plugin) -> None:
        if not isinstance(item, str | Plugin):
            raise TypeError(f"plugins: {item!r} is not a name or a plugin; a class is called")
        reference = (
            Reference.parse(item) if isinstance(item, str) else Reference(item.name, item.name)
        )
        name, target = reference.name, reference.value
        if not reference.can_be_name:
            problem = "cannot be a name (letters, digits, -_.); use NAME=FILE"
            raise PluginChoiceError(name, "", problem)
        is_other = self._targets.setdefault(name, target) != target
        if is_other or (isinstance(item, Plugin) and name in self._instances):
            raise PluginChoiceError(
                name, "", f"is given twice; a second one needs a name of its own: other={target}"
            )
        if isinstance(item, Plugin):
            # It goes before an installed one of its name.
            self._instances[name] = item

    def resolve(self) -> list[ChosenPlugin]:
        for name in self._targets:
            self._visit(name, path=())
        return list(self._chosen.values())

    def _visit(self, name: str, path: tuple[str, ...]) -> None:
        if name in path:
            cycle = " -> ".join([*path[path.index(name) :], name])
            raise PluginChoiceError(name, "", f"requires itself: {cycle}")
        if name in self._chosen:
            return
        if name in GROUPS:
            target = self._targets.get(name, name)
            problem = f"has the name under which the run's {name} has its options"
            raise PluginChoiceError(name, "", f"{problem}; use NAME={target}")
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
            entry = self._entry_of(cls)
            origin = instance.distribution or (entry.origin if entry else "")
            use = instance.use or (entry.name if entry else "")
            digest = instance.file_digest or (entry.file_digest if entry else "")
            return ChosenPlugin(name, cls, origin, instance.required_by, use, instance, digest)
        use = self._targets.get(name, name)
        found = find_plugin(use, parent, self._installed)
        # As seen from anywhere, where a saved run goes on.
        use = Reference.parse(use).located().value
        required_by = None if name in self._targets else parent
        digest = found.file_digest
        cls = load_plugin(found)
        return ChosenPlugin(name, cls, found.origin, required_by, use, file_digest=digest)

    def _entry_of(self, cls: type[Plugin]) -> Entry | None:
        """Find what registers a class."""
        value = f"{cls.__module__}:{cls.__qualname__}"
        entries = (entry for same_name in self._installed.values() for entry in same_name)
        return next((entry for entry in entries if entry.value == value), None)
