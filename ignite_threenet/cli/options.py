"""Options as Click takes them, by their own declaration."""

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any

import click
from click.core import ParameterSource

from ..errors import ConfigError, OptionError, nearest
from ..extensions.selection import find_plugins
from ..options.declaration import OptionSpec
from ..settings.choice import Owner
from ..settings.environment import ENVIRONMENT_PREFIX, environment_name, parameter_name

logger = logging.getLogger("ignite_threenet")

# What the commands have beside the options of a run; some of them, not all of them.
_OTHER_PARAMETERS = ("resume", "allow_changes", "dry_run", "json", "quiet", "verbose", "debug")
FILE_HINT = "@FILE reads it from a file"
_LITERAL_SECRETS = f"{__name__}.literal_secrets"


class OptionType(click.ParamType[Any]):
    """Lets an option's own declaration check what Click collected."""

    name = "value"

    def __init__(self, spec: OptionSpec) -> None:
        self._spec = spec

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn a value into the option's type, or refuse it; a file's is converted already."""
        source, where = _source_of(param, ctx), format_parameter(param, ctx)
        if source is ParameterSource.DEFAULT_MAP:
            return value
        if source is ParameterSource.DEFAULT:
            return self._spec.convert(value, where, text=isinstance(value, str))
        if param and source is ParameterSource.COMMANDLINE and self._spec.metavar == "PATH":
            refuse_nothing(param, value)
        if source is ParameterSource.COMMANDLINE and self._spec.is_literal_secret(value):
            _note_literal_secret(where, param, ctx)
        return self._spec.read(value, where, text=isinstance(value, str))


def _note_literal_secret(
    flag: str, param: click.Parameter | None, ctx: click.Context | None
) -> None:
    if param is not None and ctx is not None:
        typed = (flag, environment_name(param.name or ""))
        ctx.meta.setdefault(_LITERAL_SECRETS, []).append(typed)


class WholeText(click.types.StringParamType):
    """Text that is one value in the environment too, spaces and all."""

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Leave a variable's value as it is."""
        return [rv]


def refuse_nothing(param: click.Parameter, value: object) -> None:
    """Refuse what is given and names nothing; it must not be taken for not given.

    Raises:
        ConfigError: it names nothing.
    """
    words = value if isinstance(value, list | tuple) else [value]
    for word in words:
        if isinstance(word, str) and not word.strip(", \t"):
            raise OptionError(param.opts[0], word, "names nothing", param.metavar or "a name")


def warn_of_unknown_variables(options: Iterable[click.Parameter], owners: Iterable[Owner]) -> None:
    """Tell of variables that look like options of this program, and that nobody reads."""
    own = [option.name or "" for option in options]
    known = [name.upper() for name in (*own, *_OTHER_PARAMETERS)]
    present = {owner.prefix for owner in owners}
    # Those of a plugin that is not in this run are for others.
    absent = [parameter_name(name).upper() for name in find_plugins() if name not in present]
    waiting = tuple(f"{name}_" for name in absent)
    for variable in sorted(os.environ):
        name = variable.removeprefix(f"{ENVIRONMENT_PREFIX}_")
        if name == variable or name in known or name.startswith(waiting):
            continue
        guess = nearest(name, known)
        hint = f"; did you mean {environment_name(guess)}?" if guess else ""
        logger.warning("%s: no option of this run is called so%s", variable, hint)


def warn_of_literal_secrets(ctx: click.Context) -> None:
    """Tell, once each, of secrets that were typed: whoever lists the processes reads them."""
    for flag, variable in dict.fromkeys(ctx.meta.pop(_LITERAL_SECRETS, ())):
        logger.warning(
            "%s: a secret on the command line is seen by all who list the processes (ps); give it "
            "as %s @FILE, or by %s",
            *(flag, flag, variable),
        )


def format_parameter(param: click.Parameter | None, ctx: click.Context | None) -> str:
    """Spell an option as its user wrote it."""
    if param is None or ctx is None:
        return ""
    if _source_of(param, ctx) is ParameterSource.ENVIRONMENT:
        return environment_name(param.name or "")
    return param.opts[0]


def _source_of(param: click.Parameter | None, ctx: click.Context | None) -> ParameterSource | None:
    return ctx.get_parameter_source(param.name or "") if param and ctx else None


def click_option(spec: OptionSpec, plugin: str = "") -> click.Option:
    """Declare an option to Click, a plugin's as ``--plugin.option``."""
    prefix = f"{plugin}." if plugin else ""
    flag = f"{prefix}{spec.flag_name}"
    declaration = f"--{flag}/--no-{flag}" if spec.is_flag else f"--{flag}"
    text = f"{spec.help} ({spec.limits})" if spec.limits else spec.help
    if spec.is_secret:
        text += f" (secret; {FILE_HINT})"
    return click.Option(
        [declaration, parameter_name(spec.name, plugin)],
        type=click.BOOL if spec.is_flag else OptionType(spec),
        default=spec.default,
        metavar=None if spec.is_flag else spec.metavar,
        help=text,
        show_default=not spec.is_secret,
    )


def check_parameter_names(params: Iterable[click.Parameter], owners: Iterable[Owner]) -> None:
    """Refuse options that share an environment variable, such as a_b.c and a.b_c."""
    flags = {param.name: param.opts[-1] for param in params}
    for owner in owners:
        for spec in owner.specs:
            name = parameter_name(spec.name, owner.prefix)
            flag = f"--{owner.prefix}.{spec.flag_name}"
            if name in flags:
                raise ConfigError(
                    f"{flag} and {flags[name]} share the name {ENVIRONMENT_PREFIX}_"
                    f"{name.upper()}, so they cannot be used in one run"
                )
            flags[name] = flag
