"""Commands that run something: what can be typed depends on what is chosen."""

import sys
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..config import RunConfig
from ..errors import ConfigError, ThreeNetError
from ..extensions.component import GROUPS
from ..extensions.selection import ChosenPlugin, find_plugins
from ..options.declaration import option_specs
from ..run.saved_choice import Saying, add_sayings, check_secrets, choose_beside
from ..run.saved_run import SavedRun, open_saved_run
from ..settings.choice import Choice, key_of
from ..settings.choosing import choose
from ..settings.config_file import PLUGINS, ConfigFile
from ..settings.environment import ENVIRONMENT_PREFIX, environment_name, parameter_name
from .log import set_up_logging
from .options import (
    check_parameter_names,
    click_option,
    format_parameter,
    refuse_nothing,
    warn_of_literal_secrets,
    warn_of_unknown_variables,
)

# What says which options there are.
_FIRST = ("config", "recipe", PLUGINS, "quiet", "resume", "allow_changes", *GROUPS)


@dataclass
class Request:
    """What a command was asked for.

    Attributes:
        words: what was typed behind the command's name.
        choice: who takes part, and what files or a checkpoint say.
        saved: the run that goes on, or None.
        note: what help says of what could not be found.
    """

    words: list[str]
    choice: Choice = field(default_factory=Choice)
    saved: SavedRun | None = None
    note: str = ""


class RunCommand(click.Command):
    """A command whose options are those of the model, dataset and plugins that it is asked for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find what is asked for, then parse the options of that."""
        request = ctx.obj = Request(list(args))
        try:
            # What others print as they are imported must not be taken for this command's output.
            with redirect_stdout(sys.stderr):
                self._choose(ctx, request, args)
        except ThreeNetError as error:
            # Help must not fail because of what it would help to mend.
            if not ctx.resilient_parsing and not {*ctx.help_option_names} & {*args}:
                ctx.close()  # where Click does not, a saved run would stay locked
                raise
            request.choice = Choice()
            request.note = f"The options of the parts are missing here: {error}"
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            ctx.close()
            _explain_unknown_option(error, request.choice.plugins)
            raise
        except BaseException:
            ctx.close()
            raise

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Give the options of the command and of all that is chosen."""
        options = [
            click_option(spec, each.prefix)
            for each in _choice_of(ctx).owners
            for spec in each.specs
        ]
        return [*super().get_params(ctx), *options]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section of help for each that has options."""
        own = [param.get_help_record(ctx) for param in super().get_params(ctx)]
        with formatter.section("Options"):
            formatter.write_dl([record for record in own if record])
        for each in _choice_of(ctx).owners:
            rows = [click_option(spec, each.prefix).get_help_record(ctx) for spec in each.specs]
            if rows:
                with formatter.section(f"Options of {each.title}"):
                    formatter.write_dl([row for row in rows if row])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say what is missing in the help, and why."""
        if isinstance(ctx.obj, Request) and ctx.obj.note:
            formatter.write_paragraph()
            formatter.write_text(ctx.obj.note)

    def _choose(self, ctx: click.Context, request: Request, args: list[str]) -> None:
        """Find out what is asked for, before the options of that can be parsed."""
        first = _parse_only(self, ctx, args, _FIRST)
        for param in self.params:
            if param.name not in GROUPS:  # which say so by themselves
                refuse_nothing(param, first.get(param.name or ""))
        recipe = ConfigFile.of_recipe(first["recipe"])
        config = ConfigFile.of_path(first["config"])
        plugins, quiet = first[PLUGINS] or (), bool(first.get("quiet"))
        if first.get("resume"):
            saved = _open(ctx, first, quiet=quiet)
            request.saved, request.choice = choose_beside(
                saved, first, plugins, recipe, config, quiet=quiet
            )
        elif first.get("allow_changes"):
            raise ConfigError("--allow-changes: is for a run that goes on, with --resume")
        else:
            request.choice = choose(first, plugins, recipe, config, quiet=quiet)
            check_parameter_names(self.params, request.choice.owners)
        ctx.default_map = _by_parameter(request.choice)


def _open(ctx: click.Context, first: dict[str, Any], *, quiet: bool) -> SavedRun:
    """Take the directory of a run that is to go on, until the command has ended."""
    set_up_logging(quiet=quiet, verbose=False)
    saved = open_saved_run(Path(first["resume"]))
    ctx.call_on_close(saved.directory.release)
    return saved._replace(allow_changes=bool(first["allow_changes"]))


def _choice_of(ctx: click.Context) -> Choice:
    return ctx.obj.choice if isinstance(ctx.obj, Request) else Choice()


def collect(ctx: click.Context, params: dict[str, Any]) -> Choice:
    """Add what Click has collected, converted already, and who said it.

    Raises:
        ConfigError: something differs from the run that goes on.
    """
    request: Request = ctx.obj
    options = {param.name: param for param in ctx.command.get_params(ctx)}
    sayings = [
        Saying(format_parameter(options[name], ctx), key, params[name], source)
        for name, key in _keys(request.choice)
        if (source := _source(ctx, name)) is not None
    ]
    warn_of_literal_secrets(ctx)
    warn_of_unknown_variables(options.values(), request.choice.owners)
    if request.saved is not None:
        choice = add_sayings(request.saved, request.choice, sayings)
        check_secrets(request.saved, choice)
        return choice
    return request.choice.with_given(
        {each.key: each.value for each in sayings}, {each.key: each.source for each in sayings}
    )


def _keys(choice: Choice) -> Iterable[tuple[str, str]]:
    """Give the keys of all options, each with Click's name for it."""
    for spec in option_specs(RunConfig):
        yield parameter_name(spec.name), key_of(spec.name)
    for owner in choice.owners:
        for spec in owner.specs:
            yield parameter_name(spec.name, owner.prefix), key_of(spec.name, owner.prefix)


def _by_parameter(choice: Choice) -> dict[str, Any]:
    """Name values as Click does."""
    return {name: choice.values[key] for name, key in _keys(choice) if key in choice.values}


def _source(ctx: click.Context, parameter: str) -> str | None:
    """Say who gives an option, if it is given beside files and checkpoints."""
    match ctx.get_parameter_source(parameter):
        case ParameterSource.COMMANDLINE:
            return "command line"
        case ParameterSource.ENVIRONMENT:
            return f"environment {environment_name(parameter)}"
        case _:
            return None


def _parse_only(
    command: click.Command, ctx: click.Context, args: list[str], names: Iterable[str]
) -> dict[str, Any]:
    """Parse some of a command's options, and leave the others alone; None where not given."""
    params = [param for param in command.params if param.name in names]
    partial_command = click.Command(None, params=params, add_help_option=False)
    partial_ctx = partial_command.make_context(
        ctx.info_name,
        list(args),
        parent=ctx.parent,
        ignore_unknown_options=True,
        allow_extra_args=True,
        auto_envvar_prefix=ENVIRONMENT_PREFIX,
        resilient_parsing=ctx.resilient_parsing,
    )
    return {
        name: None if partial_ctx.get_parameter_source(name) is ParameterSource.DEFAULT else value
        for name, value in partial_ctx.params.items()
    }


def _explain_unknown_option(error: click.NoSuchOption, chosen: Sequence[ChosenPlugin]) -> None:
    """Tell of an option of a plugin that is not part of the run."""
    plugin, dot, _ = error.option_name.lstrip("-").partition(".")
    if dot and plugin not in {each.name for each in chosen} and plugin in find_plugins():
        raise ConfigError(
            f"{error.option_name}: the plugin {plugin!r} is not part of this run; "
            f"add it by --plugins +{plugin}"
        ) from error
