"""Who takes part in a run, with which options, and who said so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
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


def owners_of(components: Iterable[Component], plugins: Iterable[ChosenPlugin]) -> list[Owner]:
    """List whoever has options of its own."""
    return [
        *(Owner(each.kind, f"the {each.kind} {each.name}", each.specs) for each in components),
        *(Owner(each.name, f"the plugin {each.name}", each.specs) for each in plugins),
    ]


@dataclass(frozen=True)
class Choice:
    """Who takes part in a run, with which options, and who said so.

    Three make one: choose() for the command line, choose_for_script() for a Run that a script
    makes, and choose_saved() for a run that goes on.

    Attributes:
        plugins: the plugins, requirements first.
        components: the model and the dataset, by ``model`` and ``dataset``, without those that a
            script brings.
        values: converted values, by ``option`` or ``owner.option``; what is not there
            has its default.
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

    def with_plugins(self, plugins: Iterable[ChosenPlugin]) -> "Choice":
        """Let these plugins take part, and no others."""
        return replace(self, plugins=tuple(plugins))

    def with_given(self, values: Mapping[str, Any], sources: Mapping[str, str]) -> "Choice":
        """Let values go over those that are known; both by the same keys."""
        return replace(self, values={**self.values, **values}, sources={**self.sources, **sources})

    @cached_property
    def config(self) -> RunConfig:
        """What the run is asked to do.

        Raises:
            ConfigError: the values contradict each other.
        """
        names = [spec.name for spec in option_specs(RunConfig)]
        return RunConfig(**{name: self.values[name] for name in names if name in self.values})

    @cached_property
    def configured(self) -> Mapping[str, Component]:
        """The components with their options."""
        return {
            kind: each.with_options(self._options_of(kind, each.specs))
            for kind, each in self.components.items()
        }

    def create_plugins(self) -> list[Plugin]:
        """Make the plugins with their options.

        Raises:
            PluginError: one of them refuses its options.
        """
        return [each.create(**self._options_of(each.name, each.specs)) for each in self.plugins]

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
