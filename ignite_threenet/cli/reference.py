"""The page of the documentation that shows the help of every command."""

from collections.abc import Iterator

import click

from ..config import DEFAULT_PLUGINS, RunConfig
from ..extensions.selection import resolve_plugins
from ..settings.choice import Choice
from ..settings.choosing import choose_component
from .main import CONTEXT_SETTINGS, cli
from .run_command import Request, RunCommand


def describe_commands() -> str:
    """Put the help of every command into one page of Markdown, which docs/cli.md is."""
    page = ["# The command line", "", "Written from `--help`, with the default plugins.", ""]
    for words, command in _walk(cli, ("ignite-threenet",)):
        context = click.Context(
            command, info_name=" ".join(words), terminal_width=100, **CONTEXT_SETTINGS
        )
        if isinstance(command, RunCommand):
            chosen = tuple(resolve_plugins(DEFAULT_PLUGINS))
            model = choose_component("model", RunConfig.model)
            context.obj = Request([], Choice(chosen, {"model": model}))
        page += [f"## {' '.join(words)}", "", "```", command.get_help(context).rstrip(), "```", ""]
    return "\n".join(page)


def _walk(
    command: click.Command, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _walk(inner, (*words, name))
