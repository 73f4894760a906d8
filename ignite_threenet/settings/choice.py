"""Who takes part in a run, with which options, and who said so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..config import RunConfig
from ..extensions.component import Component
from ..extensions.plugin import Plugin
from ..extensions.selection import ChosenPlugin
from ..options.declaration import OptionSpec, option_specs


@dataclass(frozen=True)
class Owner:
    """Whoever has options of its own in a run: the model, the dataset, a plugin.

    Attributes:
        prefix: what its options begin with.
        title: what it is, for help.
        specs: its options.
    """

    prefix: str
    title: str
    specs: tuple[OptionSpec, ...]


def owners_of(parts: Iterable[Component], plugins: Iterable[ChosenPlugin]) -> list[Owner]:
    """List whoever has options of its own."""
    return [
        *(Owner(each.kind, f"the {each.kind} {each.name}", each.specs) for each in parts),
        *(Owner(each.name, f"the plugin {each.name}", each.specs) for each in plugins),
    ]


@dataclass(frozen=True)
class Choice:
    """Who takes part in a run, and what files or a checkpoint say of their options.

    Attributes:
        plugins: the plugins, requirements first.
        components: the model and the dataset, by ``model`` and ``dataset``.
        values: converted values, by ``option`` or ``owner.option``.
        sources: who said so, by the same keys.
    """

    plugins: tuple[ChosenPlugin, ...] = ()
    components: Mapping[str, Component] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def owners(self) -> list[Owner]:
        """Whoever has options of its own, the components first."""
        return owners_of(self.components.values(), self.plugins)

    def with_given(self, values: Mapping[str, Any], sources: Mapping[str, str]) -> "Choice":
        """Let values go over those that are known; both by the same keys."""
        return replace(self, values={**self.values, **values}, sources={**self.sources, **sources})

    def make_config(self) -> RunConfig:
        """Make what the run is asked to do."""
        names = [spec.name for spec in option_specs(RunConfig)]
        return RunConfig(**{name: self.values[name] for name in names if name in self.values})

    def create_plugins(self) -> list[Plugin]:
        """Make the plugins with their options."""
        return [each.create(**self._options_of(each.name, each.specs)) for each in self.plugins]

    def options_of(self, kind: str) -> dict[str, Any]:
        """Give the options of the model or the dataset, by name; none of one that is your own."""
        chosen = self.components.get(kind)
        return self._options_of(kind, chosen.specs) if chosen else {}

    def _options_of(self, owner: str, specs: Iterable[OptionSpec]) -> dict[str, Any]:
        keys = {spec.name: key_of(spec.name, owner) for spec in specs}
        return {name: self.values[key] for name, key in keys.items() if key in self.values}


def merge(
    sayings: Iterable[tuple[str, Mapping[str, Any]]],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Let values of later files go over those of earlier ones.

    Args:
        sayings: who says something, and which values.

    Returns:
        The values, and who said each.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, found in sayings:
        values |= found
        sources |= dict.fromkeys(found, name)
    return values, sources


def key_of(option: str, owner: str = "") -> str:
    """Name an option of the run, or of an owner.

    Example:
        >>> key_of("lr"), key_of("decay", "ema")
        ('lr', 'ema.decay')
    """
    return f"{owner}.{option}" if owner else option
