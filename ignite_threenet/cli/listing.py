"""The commands that show what is installed; to list it imports none of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..config import DEFAULT_PLUGINS, RunConfig
from ..extensions.component import find_component, find_components
from ..extensions.entries import Entry, FileEntry
from ..extensions.selection import find_plugin, find_plugins, load_plugin
from ..options.declaration import option_specs
from ..settings.choice import Owner
from .options import FILE_HINT
from .output import say, say_block, say_json
from .tables import format_table

_ON_ERROR = {
    "stop": "the run stops",
    "detach": "the run goes on without it (with --strict it stops)",
}


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def list_plugins(as_json: bool) -> None:
    """List the installed plugins; imports none of them."""
    _list_entries(find_plugins(), DEFAULT_PLUGINS, as_json=as_json)


def _list_entries(
    found: Mapping[str, Sequence[Entry]], defaults: Sequence[str], *, as_json: bool
) -> None:
    entries = [(entry, entries) for entries in found.values() for entry in entries]
    if as_json:
        say_json([_entry_facts(entry, defaults) for entry, _ in entries])
        return
    rows = [("name", "distribution", "version", "what it does")]
    for entry, same_name in entries:
        clash = "" if len(same_name) == 1 else "CLASH: several distributions have this name. "
        rows.append((entry.name, entry.distribution, entry.version, clash + entry.describe()))
    say_block(format_table(rows))


def _entry_facts(entry: Entry | FileEntry, defaults: Sequence[str]) -> dict[str, Any]:
    return {
        "name": entry.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "description": entry.describe(),
        "entry_point": entry.value,
        "default": entry.name in defaults,
    }


@click.command("show")
@click.argument("name", metavar="NAME|FILE")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def show_plugin(name: str, as_json: bool) -> None:
    """Show a plugin's options, defaults and requirements."""
    entry = find_plugin(name)
    plugin = load_plugin(entry)
    owner = Owner(entry.name, "", option_specs(plugin))
    if as_json:
        facts: dict[str, Any] = {"requires": plugin.requires, "on_error": plugin.on_error}
        facts |= {"options": _option_facts(owner)}
        say_json(_entry_facts(entry, DEFAULT_PLUGINS) | facts)
        return
    say(f"{entry.name} ({entry.origin}): {entry.describe()}")
    say(f"requires: {', '.join(plugin.requires) or 'nothing'}")
    say(f"when it fails: {_ON_ERROR[plugin.on_error]}")
    say_block(_format_options(owner))


def _option_facts(owner: Owner) -> list[dict[str, Any]]:
    return [
        {"name": spec.name, "default": spec.plain(spec.default), "allowed": spec.allowed}
        | {"help": spec.help, **({"secret": True} if spec.is_secret else {})}
        for spec in owner.specs
    ]


def _format_options(owner: Owner) -> str:
    rows = [("option", "default", "allowed", "meaning")]
    rows += [
        (
            f"--{owner.prefix}.{spec.flag_name}",
            str(spec.plain(spec.default)),
            f"{spec.allowed} (secret; {FILE_HINT})" if spec.is_secret else spec.allowed,
            spec.help,
        )
        for spec in owner.specs
    ]
    return f"\n{format_table(rows)}" if owner.specs else "options: none"


def _list_command(kind: str) -> click.Command:
    """Make the command that lists what is installed of a kind of component."""

    @click.command("list", help=f"List the installed {kind}s; imports none of them.")
    @click.option("--json", "as_json", is_flag=True, help="print JSON")
    def list_components(as_json: bool) -> None:
        _list_entries(find_components(kind), (getattr(RunConfig, kind),), as_json=as_json)

    return list_components


def _show_command(kind: str, where: str) -> click.Command:
    """Make the command that shows the options of a component.

    Args:
        kind: ``model`` or ``dataset``.
        where: what may stand for a name.
    """

    @click.command("show", help=f"Show the options of a {kind}, and their defaults.")
    @click.argument("name", metavar=where)
    @click.option("--json", "as_json", is_flag=True, help="print JSON")
    def show_component(name: str, as_json: bool) -> None:
        _show(kind, name, as_json=as_json)

    return show_component


def _show(kind: str, name: str, *, as_json: bool) -> None:
    # Here, because it imports torch, which lists need not wait for.
    from ..settings.choosing import choose_component

    found, chosen = find_component(kind, name), choose_component(kind, name)
    owner = Owner(kind, "", chosen.specs)
    if as_json:
        facts = _entry_facts(found, (getattr(RunConfig, kind),))
        facts |= {"description": chosen.description, "options": _option_facts(owner)}
        say_json(facts | {"left_out": dict(chosen.left_out)})
        return
    origin = f" ({found.origin})" if found.origin else ""
    say(f"{found.name}{origin}: {chosen.description}")
    say_block(_format_options(owner))
    for parameter, reason in chosen.left_out.items():
        say(f"no option: {parameter}: {reason}")


list_models, show_model = _list_command("model"), _show_command("model", "NAME|FILE|MODULE:NAME")
list_datasets = _list_command("dataset")
show_dataset = _show_command("dataset", "NAME|FILE|FOLDER|MODULE:NAME")
