"""Options as Click takes them, by their own declaration."""

from collections.abc import Iterable
from typing import Any

import click
from click.core import ParameterSource

from ..errors import ConfigError
from ..options.declaration import OptionSpec
from ..settings.choice import Owner

ENVIRONMENT_PREFIX = "IGNITE_THREENET"


class OptionType(click.ParamType[Any]):
    """Lets an option's own declaration check what Click collected."""

    name = "value"

    def __init__(self, spec: OptionSpec) -> None:
        self._spec = spec

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn a value into the option's type, or refuse it; a file's is converted already."""
        if _source_of(param, ctx) is ParameterSource.DEFAULT_MAP:
            return value
        return self._spec.convert(value, format_parameter(param, ctx), text=isinstance(value, str))


def format_parameter(param: click.Parameter | None, ctx: click.Context | None) -> str:
    """Spell an option as its user wrote it."""
    if param is None or ctx is None:
        return ""
    if _source_of(param, ctx) is ParameterSource.ENVIRONMENT:
        return environment_name(param.name or "")
    return param.opts[0]


def _source_of(param: click.Parameter | None, ctx: click.Context | None) -> ParameterSource | None:
    return ctx.get_parameter_source(param.name or "") if param and ctx else None


def environment_name(parameter: str) -> str:
    """Name the environment variable of a parameter."""
    return f"{ENVIRONMENT_PREFIX}_{parameter.upper()}"


def click_option(spec: OptionSpec, plugin: str = "") -> click.Option:
    """Declare an option to Click, a plugin's as ``--plugin.option``."""
    prefix = f"{plugin}." if plugin else ""
    flag = f"{prefix}{spec.flag_name}"
    declaration = f"--{flag}/--no-{flag}" if spec.is_flag else f"--{flag}"
    text = f"{spec.help} ({spec.limits})" if spec.limits else spec.help
    return click.Option(
        [declaration, parameter_name(spec.name, plugin)],
        type=click.BOOL if spec.is_flag else OptionType(spec),
        default=spec.default,
        metavar=None if spec.is_flag else spec.metavar,
        help=text,
        show_default=True,
    )


def parameter_name(option: str, plugin: str = "") -> str:
    """Name an option for Click, which derives the environment variable from it."""
    words = f"{plugin}_{option}" if plugin else option
    return "".join(letter if letter.isalnum() else "_" for letter in words.lower())


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
