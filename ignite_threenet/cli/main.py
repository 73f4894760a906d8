"""The command line; the one file that knows Click, and where errors become messages.

torch is not imported here: ``--help`` and ``plugins list`` answer at once. ``run`` imports the
plugins that it is asked for, whose options are its own, and with them torch.
"""

import json
import logging
import shlex
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

from ..config import DEFAULT_PLUGINS, RunConfig
from ..errors import ConfigError, RunInterruptedError, ThreeNetError, UnknownNameError
from ..extensions.component import GROUPS, ChosenPart, find_part, find_parts, locate
from ..extensions.entries import Entry, FileEntry
from ..extensions.plugin import Plugin
from ..extensions.reference import Reference
from ..extensions.selection import (
    ChosenPlugin,
    find_plugin,
    find_plugins,
    is_whole_selection,
    load_plugin,
    resolve_plugins,
    select_plugins,
)
from ..options.declaration import OptionSpec, option_specs
from ..options.plain import plain
from ..settings.config_file import read_config_file, recipe_names, recipe_path

if TYPE_CHECKING:
    from ..run.run import Run
    from ..run.saved_run import SavedRun

logger = logging.getLogger("ignite_threenet")


_ENVIRONMENT_PREFIX = "IGNITE_THREENET"


_PLUGINS_KEY = "plugins"


_CHOSEN_KEY = "ignite_threenet.chosen"


_PARTS_KEY = "ignite_threenet.parts"


_FILE_OF_KEY = "ignite_threenet.file_of"


_MISSING_KEY = "ignite_threenet.missing"


_WORDS_KEY = "ignite_threenet.words"


_SAVED_KEY = "ignite_threenet.saved"


_EPOCHS_KEY = "epochs"


_USE_KEY = "use"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, and exit: 0, 1 for what failed, 2 for what was asked wrongly."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _stop_at_once)
    try:
        code = cli.main(words, prog_name="ignite-threenet", standalone_mode=False)
    except click.ClickException as error:
        code = _fail(error.format_message(), error.exit_code)
    except ThreeNetError as error:
        _show_traceback(words)
        code = _fail(str(error), error.exit_code)
    except _TerminatedError:
        code = _fail("terminated", 128 + signal.SIGTERM)
    except (KeyboardInterrupt, click.Abort):
        code = _fail("interrupted", 128 + signal.SIGINT)
    except Exception as error:
        _show_traceback(words)
        code = _fail(f"{type(error).__name__}: {error}; --debug shows where", 1)
    sys.exit(code if isinstance(code, int) else 0)


class _TerminatedError(BaseException):
    """SIGTERM arrived; the run closes as it does at Ctrl-C."""


def _stop_at_once(signum: int, frame: FrameType | None) -> NoReturn:
    if signum == signal.SIGTERM:
        raise _TerminatedError("terminated")
    raise KeyboardInterrupt


@contextmanager
def _signals_interrupt(the_run: "Run") -> Iterator[None]:
    """Let SIGINT and SIGTERM end a run after its iteration; a second one stops it at once."""
    received: list[int] = []

    def interrupt(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        if len(received) > 1 or not the_run.interrupt():
            _stop_at_once(signum, frame)

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except RunInterruptedError as error:
        if received:
            error.exit_code = 128 + received[0]
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _show_traceback(words: Sequence[str]) -> None:
    if "--debug" in words:
        traceback.print_exc()


def _fail(message: str, code: int) -> int:
    click.secho("error: ", fg="red", bold=True, err=True, nl=False)
    click.echo(message, err=True)
    return code


class _OptionType(click.ParamType[Any]):
    """Lets an option's own declaration check what Click collected."""

    name = "value"

    def __init__(self, spec: OptionSpec) -> None:
        self._spec = spec

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._spec.convert(value, _where(param, ctx), text=isinstance(value, str))


def _where(param: click.Parameter | None, ctx: click.Context | None) -> str:
    """Spell an option as its user wrote it."""
    if param is None or ctx is None:
        return ""
    if ctx.get_parameter_source(param.name or "") is ParameterSource.ENVIRONMENT:
        return _environment_name(param.name or "")
    return param.opts[0]


def _environment_name(parameter: str) -> str:
    return f"{_ENVIRONMENT_PREFIX}_{parameter.upper()}"


def _click_option(spec: OptionSpec, plugin: str = "") -> click.Option:
    """Declare an option to Click, a plugin's as ``--plugin.option``."""
    prefix = f"{plugin}." if plugin else ""
    flag = f"{prefix}{spec.flag_name}"
    declaration = f"--{flag}/--no-{flag}" if spec.is_flag else f"--{flag}"
    text = f"{spec.help} ({spec.limits})" if spec.limits else spec.help
    return click.Option(
        [declaration, _parameter_name(spec.name, plugin)],
        type=click.BOOL if spec.is_flag else _OptionType(spec),
        default=spec.default,
        metavar=None if spec.is_flag else spec.metavar,
        help=text,
        show_default=True,
    )


def _parameter_name(option: str, plugin: str = "") -> str:
    """Name an option for Click, which derives the environment variable from it."""
    words = f"{plugin}_{option}" if plugin else option
    return "".join(letter if letter.isalnum() else "_" for letter in words.lower())


@dataclass(frozen=True)
class _Owner:
    """Whoever has options of its own in a run: the model, the dataset, a plugin.

    Attributes:
        prefix: what its options begin with.
        title: what it is, for help.
        specs: its options.
    """

    prefix: str
    title: str
    specs: tuple[OptionSpec, ...]


def _owners(ctx: click.Context) -> list[_Owner]:
    parts: Sequence[ChosenPart] = ctx.meta.get(_PARTS_KEY, [])
    plugins: Sequence[ChosenPlugin] = ctx.meta.get(_CHOSEN_KEY, [])
    return _owners_of(parts, plugins)


def _owners_of(parts: Iterable[ChosenPart], plugins: Iterable[ChosenPlugin]) -> list[_Owner]:
    return [
        *(_Owner(each.kind, f"the {each.kind} {each.name}", each.specs) for each in parts),
        *(_Owner(each.name, f"the plugin {each.name}", each.specs) for each in plugins),
    ]


class _RunCommand(click.Command):
    """A command whose options are those of the model, dataset and plugins that it is asked for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_WORDS_KEY] = list(args)
        try:
            # What others print as they are imported must not be taken for this command's output.
            with redirect_stdout(sys.stderr):
                self._choose(ctx, args)
        except ThreeNetError as error:
            # Help must not fail because of what it would help to mend.
            if not ctx.resilient_parsing and not {*ctx.help_option_names} & {*args}:
                ctx.close()  # where Click does not, a saved run would stay locked
                raise
            ctx.meta[_CHOSEN_KEY] = ctx.meta[_PARTS_KEY] = []
            ctx.meta[_MISSING_KEY] = f"The options of the parts are missing here: {error}"
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            ctx.close()
            _explain_unknown_option(error, ctx.meta[_CHOSEN_KEY])
            raise
        except BaseException:
            ctx.close()
            raise

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        options = [_click_option(spec, each.prefix) for each in _owners(ctx) for spec in each.specs]
        return [*super().get_params(ctx), *options]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [param.get_help_record(ctx) for param in super().get_params(ctx)]
        with formatter.section("Options"):
            formatter.write_dl([record for record in own if record])
        for each in _owners(ctx):
            rows = [_click_option(spec, each.prefix).get_help_record(ctx) for spec in each.specs]
            if rows:
                with formatter.section(f"Options of {each.title}"):
                    formatter.write_dl([row for row in rows if row])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if _MISSING_KEY in ctx.meta:
            formatter.write_paragraph()
            formatter.write_text(ctx.meta[_MISSING_KEY])

    def _choose(self, ctx: click.Context, args: list[str]) -> None:
        """Find out what is asked for, before the options of that can be parsed."""
        names_of_first = (
            "config",
            "recipe",
            _PLUGINS_KEY,
            "quiet",
            "resume",
            "allow_changes",
            *GROUPS,
        )
        first = _parse_only(self, ctx, args, names_of_first)
        recipe = _ConfigFile.of_recipe(first["recipe"])
        config = _ConfigFile.of_path(first["config"])
        if first.get("resume"):
            self._choose_as_saved(ctx, first, recipe, config)
            return
        if first.get("allow_changes"):
            raise ConfigError("--allow-changes: is for a run that goes on, with --resume")
        by_recipe, _ = select_plugins(recipe.plugins(), DEFAULT_PLUGINS)
        names, removed = select_plugins(first[_PLUGINS_KEY] or config.plugins(), by_recipe)
        names = [recipe.explain(config.explain(name)) for name in names]
        # A command without --quiet has something else to show.
        if first.get("quiet", True):
            names = [name for name in names if name != "progress"]
        chosen = resolve_plugins(names, removed)
        words = {
            kind: _first_given(
                first[kind], config.part(kind), recipe.part(kind), getattr(RunConfig, kind)
            )
            for kind in GROUPS
        }
        parts = [_choose_part(kind, word) for kind, word in words.items()]
        _check_parameter_names(self.params, _owners_of(parts, chosen))
        values = [(each.name, each.values(chosen, parts, words)) for each in (recipe, config)]
        ctx.meta[_CHOSEN_KEY], ctx.meta[_PARTS_KEY] = chosen, parts
        ctx.meta[_FILE_OF_KEY] = {key: name for name, found in values for key in found}
        ctx.default_map = {key: value for _, found in values for key, value in found.items()}

    def _choose_as_saved(
        self,
        ctx: click.Context,
        first: Mapping[str, Any],
        recipe: "_ConfigFile",
        config: "_ConfigFile",
    ) -> None:
        """Take plugins and options from a checkpoint; what else is given must agree with it."""
        from ..run.saved_run import check_places, removed_of, words_of

        items = first[_PLUGINS_KEY] or config.plugins() or recipe.plugins()
        given, removed = select_plugins(items, ())
        given = [recipe.explain(config.explain(word)) for word in given]
        saved = _open_saved(ctx, Path(first["resume"]), quiet=first["quiet"])._replace(
            allow_changes=bool(first["allow_changes"]),
            without=removed - {"progress"} if first["quiet"] else removed,
        )
        if is_whole_selection(items):
            wanted = ",".join(each.name for each in resolve_plugins(given))
            before = ",".join(each["name"] for each in saved.plugins)
            _check_agrees("--plugins", wanted, before, saved)
        words = {
            kind: _first_given(
                first[kind], config.part(kind), recipe.part(kind), str(saved.config[kind])
            )
            for kind in GROUPS
        }
        check_places(saved, words)
        chosen = resolve_plugins(words_of(saved, given), removed_of(saved))
        parts = [_choose_part(kind, words[kind]) for kind in saved.parts]
        values = _saved_values(saved, chosen, parts) | words
        for file in (recipe, config):
            for key, value in file.values(chosen, parts, words).items():
                if key == _EPOCHS_KEY or _is_place(key, values.get(key)):
                    values[key] = value
                else:
                    _check_agrees(f"{file.name}: {key}", value, values.get(key), saved)
        ctx.meta[_CHOSEN_KEY], ctx.meta[_PARTS_KEY] = chosen, parts
        ctx.meta[_SAVED_KEY] = saved
        ctx.meta[_FILE_OF_KEY] = dict.fromkeys(values, "checkpoint")
        ctx.default_map = values


def _choose_part(kind: str, word: str) -> ChosenPart:
    # Here, because they import torch, which the other commands need not wait for.
    from ..data.source import choose_dataset
    from ..models.creation import choose_model

    return choose_model(word) if kind == "model" else choose_dataset(word)


def _open_saved(ctx: click.Context, path: Path, *, quiet: bool) -> "SavedRun":
    # Here, because it imports torch, which the other commands need not wait for.
    from ..run.saved_run import open_saved_run

    _set_up_logging(quiet=quiet, verbose=False)
    saved = open_saved_run(path)
    ctx.call_on_close(saved.directory.release)
    return saved.forget("progress") if quiet else saved


def _saved_values(
    saved: "SavedRun", chosen: Iterable[ChosenPlugin], parts: Iterable[ChosenPart]
) -> dict[str, Any]:
    """Give the options of a saved run, of its parts and of its plugins, named as Click does."""
    from ..run.saved_run import convert_options

    values = convert_options(option_specs(RunConfig), saved.config, f"{saved.path}")
    options = {kind: part["options"] for kind, part in saved.parts.items()}
    options |= {each["name"]: each["options"] for each in saved.plugins}
    for owner in _owners_of(parts, chosen):
        converted = convert_options(owner.specs, options[owner.prefix], owner.prefix)
        values |= {_parameter_name(key, owner.prefix): value for key, value in converted.items()}
    return values


def _check_agrees(where: str, given: object, before: object, saved: "SavedRun") -> None:
    if given != before:
        raise ConfigError(
            f"{where}: {plain(given)} differs from {plain(before)}, with which the run in "
            f"{saved.directory.path} began; only --epochs may change, and where things are"
        )


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
        auto_envvar_prefix=_ENVIRONMENT_PREFIX,
        resilient_parsing=ctx.resilient_parsing,
    )
    return {
        name: None if partial_ctx.get_parameter_source(name) is ParameterSource.DEFAULT else value
        for name, value in partial_ctx.params.items()
    }


def _first_given(*words: str | None) -> str:
    return next(word for word in words if word is not None)


def _check_parameter_names(params: Iterable[click.Parameter], owners: Iterable[_Owner]) -> None:
    """Refuse options that share an environment variable, such as a_b.c and a.b_c."""
    flags = {param.name: param.opts[-1] for param in params}
    for owner in owners:
        for spec in owner.specs:
            name = _parameter_name(spec.name, owner.prefix)
            flag = f"--{owner.prefix}.{spec.flag_name}"
            if name in flags:
                raise ConfigError(
                    f"{flag} and {flags[name]} share the name {_ENVIRONMENT_PREFIX}_"
                    f"{name.upper()}, so they cannot be used in one run"
                )
            flags[name] = flag


@dataclass(frozen=True)
class _ConfigFile:
    """A configuration file, or a recipe, or nothing: what it says, and how messages call it."""

    name: str
    content: Mapping[str, Any]
    directory: Path = Path()

    @classmethod
    def of_path(cls, path: str | None) -> "_ConfigFile":
        return cls(path, read_config_file(Path(path)), Path(path).parent) if path else cls("", {})

    @classmethod
    def of_recipe(cls, recipe: str | None) -> "_ConfigFile":
        if not recipe:
            return cls("", {})
        return cls(f"recipe {recipe}", read_config_file(recipe_path(recipe)))

    def plugins(self) -> list[str]:
        """Read the key ``plugins``: text with commas, or a list."""
        value = self.content.get(_PLUGINS_KEY, [])
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise ConfigError(f"{self.name}: plugins: {value!r} is not a list of names")
        if _PLUGINS_KEY in self.content and not items:
            return ["none"]
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

    def part(self, kind: str) -> str | None:
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
        parts: Iterable[ChosenPart],
        words: Mapping[str, str],
    ) -> dict[str, Any]:
        """Check the options, and name them as Click does.

        Args:
            chosen: the plugins of the run.
            parts: its model and its dataset.
            words: what these were chosen by; a section for others is not meant.
        """
        specs = {spec.name: spec for spec in option_specs(RunConfig)}
        by_prefix = {owner.prefix: owner for owner in _owners_of(parts, chosen)}
        values: dict[str, Any] = {}
        for key, value in self.content.items():
            if key in GROUPS:
                values |= self._part_values(key, value, by_prefix, words)
            elif key in specs:
                values[key] = specs[key].convert(value, f"{self.name}: {key}")
            elif isinstance(value, dict):
                values |= self._section_values(key, value, by_prefix)
            elif key != _PLUGINS_KEY:
                raise UnknownNameError("key", key, [*specs, _PLUGINS_KEY], where=self.name)
        return values

    def _part_values(
        self, kind: str, value: object, chosen: Mapping[str, _Owner], words: Mapping[str, str]
    ) -> dict[str, Any]:
        word = self.part(kind)
        values = {kind: word} if word is not None else {}
        is_meant = word is None or word == locate(kind, words[kind])
        if isinstance(value, dict) and is_meant:
            values |= self._section_values(kind, value, chosen)
        return values

    def _section_values(
        self, section: str, content: Mapping[str, Any], chosen: Mapping[str, _Owner]
    ) -> dict[str, Any]:
        if section not in chosen:
            # A known plugin's section may wait for a run with that plugin.
            installed = find_plugins()
            if section not in installed and _USE_KEY not in content:
                raise UnknownNameError("section", section, installed, where=self.name)
            return {}
        where = f"{self.name}: [{section}]"
        specs = {spec.name: spec for spec in chosen[section].specs}
        values: dict[str, Any] = {}
        for key, value in content.items():
            if key == _USE_KEY:
                continue
            if key not in specs:
                raise UnknownNameError("key", key, specs, where=where)
            values[_parameter_name(key, section)] = specs[key].convert(value, f"{where} {key}")
        return values


def _explain_unknown_option(error: click.NoSuchOption, chosen: Sequence[ChosenPlugin]) -> None:
    """Tell of an option of a plugin that is not part of the run."""
    plugin, dot, _ = error.option_name.lstrip("-").partition(".")
    if dot and plugin not in {each.name for each in chosen} and plugin in find_plugins():
        raise ConfigError(
            f"{error.option_name}: the plugin {plugin!r} is not part of this run; "
            f"add it by --plugins +{plugin}"
        ) from error


_CONTEXT_SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
}


@click.group(context_settings=_CONTEXT_SETTINGS)
@click.version_option(package_name="ignite-threenet")
def cli() -> None:
    """Train a network with PyTorch-Ignite engines; everything beyond the loop is a plugin."""


def _configuration_options() -> list[click.Parameter]:
    """Declare what a run is made from, as far as no plugin brings it."""
    selection = (
        f"names of plugins, joined by commas, instead of {','.join(DEFAULT_PLUGINS)}; "
        "+NAME adds to these, no:NAME takes away, none is none"
    )
    return [
        click.Option(["--plugins"], multiple=True, metavar="NAMES", help=selection),
        click.Option(["--config"], metavar="FILE", help="TOML file of options"),
        click.Option(
            ["--recipe"],
            metavar="NAME",
            help=f"options that are known to go well together: {', '.join(recipe_names())}; "
            "all others go over them",
        ),
        *(_click_option(spec) for spec in option_specs(RunConfig)),
        click.Option(["-v", "--verbose"], is_flag=True, help="say more, Ignite's messages too"),
        click.Option(["--debug"], is_flag=True, help="show the traceback of an error"),
    ]


def _run_options() -> list[click.Parameter]:
    """Declare the options of ``run`` that no plugin brings."""
    return [
        click.Option(
            ["--resume"],
            metavar="DIR",
            help="go on where the run in that directory stopped, with its options; "
            "--epochs may be more, --data-dir, --dataset, --model and --plugins may name a new "
            "place",
        ),
        click.Option(
            ["--allow-changes"],
            is_flag=True,
            help="with --resume: go on also where the source of a network, a dataset or a plugin "
            "is another than it was",
        ),
        *_configuration_options(),
        click.Option(["--dry-run"], is_flag=True, help="print the plan, and run nothing"),
        click.Option(["--json"], is_flag=True, help="print the summary, or the plan, as JSON"),
        click.Option(["-q", "--quiet"], is_flag=True, help="no progress, only warnings"),
    ]


@cli.command(
    cls=_RunCommand,
    params=_run_options(),
    context_settings={"auto_envvar_prefix": _ENVIRONMENT_PREFIX},
)
@click.pass_context
def run(ctx: click.Context, /, **params: Any) -> None:
    """Train a network, test it, and sum up.

    An option is taken from the command line, else from the environment
    (IGNITE_THREENET_LR for --lr, IGNITE_THREENET_ACCURACY_EVERY for --accuracy.every), else
    from the file that --config names, else from the --recipe, else it has its default.
    """
    _set_up_logging(quiet=params["quiet"], verbose=params["verbose"] or params["debug"])
    # Here, because it imports torch, which the other commands need not wait for.
    from ..run.run import Run

    config = _make_config(params)
    saved: SavedRun | None = ctx.meta.get(_SAVED_KEY)
    if saved is not None:
        _check_given(ctx, params, saved)
        config = replace(config, out=saved.directory.path, force=False)
    # Nothing but the JSON goes to standard output, whatever a plugin prints.
    with redirect_stdout(sys.stderr) if params["json"] else nullcontext():
        the_run = Run(
            config,
            _make_plugins(ctx, params),
            model_options=_options_of_part(ctx, params, "model"),
            dataset_options=_options_of_part(ctx, params, "dataset"),
            sources=_sources(ctx),
            saved=saved,
        )
        if params["dry_run"]:
            outcome = the_run.plan
            the_run.close()
        else:
            with _signals_interrupt(the_run):
                outcome = the_run.train()
    if params["json"]:
        click.echo(json.dumps(outcome, indent=2))
    elif params["dry_run"]:
        click.echo(_spell_plan(outcome))
    elif not params["quiet"]:
        click.echo(_spell_summary(outcome))


def _make_config(params: Mapping[str, Any]) -> RunConfig:
    return RunConfig(**{spec.name: params[spec.name] for spec in option_specs(RunConfig)})


def _make_plugins(ctx: click.Context, params: Mapping[str, Any]) -> list[Plugin]:
    chosen: list[ChosenPlugin] = ctx.meta[_CHOSEN_KEY]
    return [
        each.create(
            **{spec.name: params[_parameter_name(spec.name, each.name)] for spec in each.specs}
        )
        for each in chosen
    ]


def _options_of_part(ctx: click.Context, params: Mapping[str, Any], kind: str) -> dict[str, Any]:
    parts: list[ChosenPart] = ctx.meta[_PARTS_KEY]
    return {
        spec.name: params[_parameter_name(spec.name, kind)]
        for part in parts
        if part.kind == kind
        for spec in part.specs
    }


def _sources(ctx: click.Context) -> dict[str, str]:
    """Say where each option's value comes from."""
    return {
        spec.name: _source(ctx, _parameter_name(spec.name)) for spec in option_specs(RunConfig)
    } | {
        f"{each.prefix}.{spec.name}": _source(ctx, _parameter_name(spec.name, each.prefix))
        for each in _owners(ctx)
        for spec in each.specs
    }


def _is_place(name: str, before: object) -> bool:
    """Tell whether an option says where something is; what it leads to is compared instead."""
    from ..run.saved_run import PLACES

    return name in PLACES or (name.startswith("dataset_") and isinstance(before, Path))


def _check_given(ctx: click.Context, params: Mapping[str, Any], saved: "SavedRun") -> None:
    """Refuse options that are given anew and differ from those of the saved run."""
    values = ctx.default_map or {}
    options = {param.name: param for param in ctx.command.get_params(ctx)}
    for name, before in values.items():
        given = ctx.get_parameter_source(name) is not ParameterSource.DEFAULT_MAP
        if given and name != _EPOCHS_KEY and not _is_place(name, before):
            _check_agrees(_where(options[name], ctx), params[name], before, saved)


def _source(ctx: click.Context, parameter: str) -> str:
    """Say where an option's value comes from."""
    match ctx.get_parameter_source(parameter):
        case ParameterSource.COMMANDLINE:
            return "command line"
        case ParameterSource.ENVIRONMENT:
            return f"environment {_environment_name(parameter)}"
        case ParameterSource.DEFAULT_MAP:
            return str(ctx.meta[_FILE_OF_KEY][parameter])
        case _:
            return "default"


_EPOCHS_TO_VERIFY = 3


@cli.command(
    "verify-resume",
    cls=_RunCommand,
    params=_configuration_options(),
    context_settings={"auto_envvar_prefix": _ENVIRONMENT_PREFIX},
)
@click.pass_context
def verify_resume(ctx: click.Context, /, **params: Any) -> None:
    """Check that an interrupted and resumed run ends as one that was never stopped.

    Takes the options of `run`, and runs it with them in fresh processes: through to the end,
    interrupted in mid-epoch and at an epoch's end, ended by a handler, and each time resumed.
    Compares all weights, recorded numbers, random generators, files, and what plugins remember, to
    the last bit. Trains 3 epochs where --epochs is not given.
    """
    _set_up_logging(quiet=not params["verbose"], verbose=params["verbose"])
    from .verification import verify_command

    # What can be refused is refused here, and not by a process that has no terminal.
    _make_config(params)
    _make_plugins(ctx, params)
    words: list[str] = ctx.meta[_WORDS_KEY]
    if ctx.get_parameter_source(_EPOCHS_KEY) is ParameterSource.DEFAULT:
        words += ["--epochs", str(_EPOCHS_TO_VERIFY)]
    comparison = verify_command(words)
    for part, differing in comparison.differences.items():
        unchecked = comparison.unchecked.get(part)
        same = f"unchecked: {unchecked}" if unchecked else "the same to the last bit"
        click.echo(f"{part}: {differing[0] if differing else same}")
    if not comparison.is_same:
        raise click.ClickException("the resumed run differs from the one that was never stopped")


def _spell_summary(summary: Mapping[str, Any]) -> str:
    """Put a summary into the lines that end a run."""
    seconds = summary["seconds"]
    took = f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    epochs = "1 epoch" if summary["epochs"] == 1 else f"{summary['epochs']} epochs"
    lines = [f"{summary['dataset']}: {epochs} on {summary['device']} in {took}"]
    for split, best in summary["best_accuracy"].items():
        lines.append(f"  best {split} accuracy  {best['accuracy']:.3%} at epoch {best['epoch']}")
    if summary["test"] is not None:
        lines.append(f"  test accuracy        {summary['test']['accuracy']:.3%}")
    for name, reason in summary["detached"].items():
        lines.append(f"  without {name}: {reason}")
    lines.append(f"  files                {summary['directory']}: {', '.join(summary['files'])}")
    return "\n".join(lines)


def _spell_plan(plan: Mapping[str, Any]) -> str:
    """Put a plan into tables."""
    options = [("option", "value", "source"), *_option_rows(plan["config"])]
    for kind, part in plan["parts"].items():
        options += _option_rows(part["options"], f"{kind}.")
    plugins = [("plugin", "from", "because")]
    for plugin in plan["plugins"]:
        required_by = plugin["required_by"]
        because = f"required by {required_by}" if required_by else "named"
        plugins.append((plugin["name"], plugin["distribution"], because))
        options += _option_rows(plugin["options"], f"{plugin['name']}.")
    handlers = [("engine", "event", "of", "handler")]
    handlers += [
        (each["engine"], each["event"], each["plugin"] or "the run", each["handler"])
        for each in plan["handlers"]
    ]
    return (
        f"{plan['model']} on {plan['dataset']}, on {plan['device']}; nothing was run\n\n"
        f"{_table(options)}\n\n{_table(plugins)}\n\n{_table(handlers)}"
    )


def _option_rows(options: Mapping[str, Any], prefix: str = "") -> list[tuple[str, ...]]:
    return [
        (f"{prefix}{name.replace('_', '-')}", str(option["value"]), option["source"])
        for name, option in options.items()
    ]


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Line up the columns of rows, the first of which is the heading."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


@cli.group()
def plugins() -> None:
    """See what is installed, and begin, or check, one of your own."""


@plugins.command("list")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def list_plugins(as_json: bool) -> None:
    """List the installed plugins; imports none of them."""
    _list_entries(find_plugins(), DEFAULT_PLUGINS, as_json=as_json)


def _list_entries(
    found: Mapping[str, Sequence[Entry]], defaults: Sequence[str], *, as_json: bool
) -> None:
    entries = [(entry, entries) for entries in found.values() for entry in entries]
    if as_json:
        click.echo(json.dumps([_entry_facts(entry, defaults) for entry, _ in entries], indent=2))
        return
    rows = [("name", "distribution", "version", "what it does")]
    for entry, same_name in entries:
        clash = "" if len(same_name) == 1 else "CLASH: several distributions have this name. "
        rows.append((entry.name, entry.distribution, entry.version, clash + entry.describe()))
    click.echo(_table(rows))


def _entry_facts(entry: Entry | FileEntry, defaults: Sequence[str]) -> dict[str, Any]:
    return {
        "name": entry.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "description": entry.describe(),
        "entry_point": entry.value,
        "default": entry.name in defaults,
    }


@plugins.command("show")
@click.argument("name", metavar="NAME|FILE")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def show_plugin(name: str, as_json: bool) -> None:
    """Show a plugin's options, defaults and requirements."""
    entry = find_plugin(name)
    plugin = load_plugin(entry)
    owner = _Owner(entry.name, "", option_specs(plugin))
    if as_json:
        facts: dict[str, Any] = {"requires": plugin.requires, "on_error": plugin.on_error}
        facts |= {"options": _option_facts(owner)}
        click.echo(json.dumps(_entry_facts(entry, DEFAULT_PLUGINS) | facts, indent=2))
        return
    click.echo(f"{entry.name} ({entry.origin}): {entry.describe()}")
    click.echo(f"requires: {', '.join(plugin.requires) or 'nothing'}")
    click.echo(f"when it fails: {_ON_ERROR[plugin.on_error]}")
    click.echo(_spell_options(owner))


def _option_facts(owner: _Owner) -> list[dict[str, Any]]:
    return [
        {"name": spec.name, "default": plain(spec.default), "allowed": spec.allowed}
        | {"help": spec.help}
        for spec in owner.specs
    ]


def _spell_options(owner: _Owner) -> str:
    rows = [("option", "default", "allowed", "meaning")]
    rows += [
        (f"--{owner.prefix}.{spec.flag_name}", str(plain(spec.default)), spec.allowed, spec.help)
        for spec in owner.specs
    ]
    return f"\n{_table(rows)}" if owner.specs else "options: none"


def _add_part_commands(kind: str, where: str) -> None:
    """Add the commands that show what is installed of a kind of part.

    Args:
        kind: ``model`` or ``dataset``.
        where: what may stand for a name.
    """
    default = (getattr(RunConfig, kind),)

    @cli.group(f"{kind}s", help=f"See which {kind}s are installed.")
    def group() -> None: ...

    @group.command("list", help=f"List the installed {kind}s; imports none of them.")
    @click.option("--json", "as_json", is_flag=True, help="print JSON")
    def list_parts(as_json: bool) -> None:
        _list_entries(find_parts(kind), default, as_json=as_json)

    @group.command("show", help=f"Show the options of a {kind}, and their defaults.")
    @click.argument("name", metavar=where)
    @click.option("--json", "as_json", is_flag=True, help="print JSON")
    def show_part(name: str, as_json: bool) -> None:
        found = find_part(kind, name)
        chosen = _choose_part(kind, name)
        owner = _Owner(kind, "", chosen.specs)
        if as_json:
            facts = _entry_facts(found, default)
            facts |= {"description": chosen.description, "options": _option_facts(owner)}
            click.echo(json.dumps(facts, indent=2))
            return
        origin = f" ({found.origin})" if found.origin else ""
        click.echo(f"{found.name}{origin}: {chosen.description}")
        click.echo(_spell_options(owner))


_add_part_commands("model", "NAME|FILE")


_add_part_commands("dataset", "NAME|FILE|FOLDER")


@plugins.command("new")
@click.argument("name")
@click.option("--package", is_flag=True, help="write a distribution that pip installs")
@click.option("--dir", "directory", default=".", metavar="DIR", help="where to; by default here")
def new_plugin(name: str, package: bool, directory: str) -> None:
    """Write a plugin to begin with: one file, or a package with tests."""
    from .scaffold import write_plugin

    paths = write_plugin(name, Path(directory), package=package)
    for path in paths:
        click.echo(path)
    if package:
        root = paths[0].parent.parent
        click.echo(
            f"next: pip install -e {shlex.quote(f'{root}[dev]')} && pytest {shlex.quote(str(root))}"
        )
    else:
        file = paths[0] if paths[0].is_absolute() else f"./{paths[0]}"
        click.echo(f"next: ignite-threenet run --plugins {shlex.quote(f'+{file}')}")


@plugins.command("check")
@click.argument("words", metavar="[NAME|FILE]...", nargs=-1)
def check_plugins(words: Sequence[str]) -> None:
    """Look plugins over: import, options, a small run, state, weights; all installed by default.

    Each is imported and run in a process of its own. Exits with 1 where a check fails.
    """
    failed = False
    for word in words or sorted(find_plugins()):
        # -P: what lies around here must not hide a module.
        command = [sys.executable, "-P", "-m", "ignite_threenet.testing.check", word]
        failed = subprocess.run(command, check=False).returncode != 0 or failed  # noqa: S603
    if failed:
        raise click.ClickException("a check failed")


_ON_ERROR = {
    "stop": "the run stops",
    "detach": "the run goes on without it (with --strict it stops)",
}


class _LogHandler(logging.Handler):
    """Writes to standard error, above the progress bars where there are some."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(record)
        except Exception:
            self.handleError(record)

    def _write(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        text = self.format(record)
        if record.levelno >= logging.WARNING:
            color = "red" if record.levelno >= logging.ERROR else "yellow"
            level = click.style(f"{record.levelname.lower()}: ", fg=color, bold=True)
            text = level + text if sys.stderr.isatty() else click.unstyle(level) + text
        tqdm.write(text, file=sys.stderr)


def _set_up_logging(*, quiet: bool, verbose: bool) -> None:
    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(
        handlers=[_LogHandler()], format="%(message)s", level=logging.WARNING, force=True
    )
    logger.setLevel(level)
    # Ignite reports each error that passes through an engine; here it is told once, as a message.
    logging.getLogger("ignite").setLevel(logging.INFO if verbose else logging.CRITICAL)


def describe_commands() -> str:
    """Put the help of every command into one page of Markdown, which docs/cli.md is."""
    page = ["# The command line", "", "Written from `--help`, with the default plugins.", ""]
    for words, command in _walk(cli, ("ignite-threenet",)):
        context = click.Context(
            command, info_name=" ".join(words), terminal_width=100, **_CONTEXT_SETTINGS
        )
        if isinstance(command, _RunCommand):
            context.meta[_CHOSEN_KEY] = resolve_plugins(DEFAULT_PLUGINS)
            context.meta[_PARTS_KEY] = [_choose_part("model", RunConfig.model)]
        page += [f"## {' '.join(words)}", "", "```", command.get_help(context).rstrip(), "```", ""]
    return "\n".join(page)


def _walk(
    command: click.Command, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _walk(command.commands[name], (*words, name))
