"""The commands ``run`` and ``verify-resume``."""

import os
import sys
from contextlib import nullcontext, redirect_stdout
from typing import Any

import click
from click.core import ParameterSource

from ..config import DEFAULT_PLUGINS, RunConfig
from ..options.declaration import option_specs
from ..options.secret import write_secret
from ..run.run import Run
from ..run.saved_choice import EPOCHS
from ..settings.choice import Choice, key_of
from ..settings.config_file import recipe_names
from ..settings.environment import ENVIRONMENT_PREFIX, environment_name, parameter_name
from .log import set_up_logging
from .options import WholeText, click_option
from .output import say, say_block, say_json
from .run_command import RunCommand, collect
from .signals import signals_interrupt
from .tables import format_plan, format_summary
from .verification import TriedCommand, verify_command

_EPOCHS_TO_VERIFY = 3


def _configuration_options() -> list[click.Parameter]:
    """Declare what a run is made from, without what plugins bring."""
    selection = (
        f"names of plugins, joined by commas, instead of {','.join(DEFAULT_PLUGINS)}; "
        "+NAME adds to these, no:NAME takes away, none is none"
    )
    return [
        click.Option(
            ["--plugins"], type=WholeText(), multiple=True, metavar="NAMES", help=selection
        ),
        click.Option(["--config"], metavar="FILE", help="TOML file of options"),
        click.Option(
            ["--recipe"],
            metavar="NAME",
            help=f"options that are known to go well together: {', '.join(recipe_names())}; "
            "all others go over them",
        ),
        *(click_option(spec) for spec in option_specs(RunConfig)),
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


@click.command(
    cls=RunCommand,
    params=_run_options(),
    context_settings={"auto_envvar_prefix": ENVIRONMENT_PREFIX},
)
@click.pass_context
def run(ctx: click.Context, /, **params: Any) -> None:
    """Train a network, test it, and sum up.

    An option is taken from the command line, else from the environment
    (IGNITE_THREENET_LR for --lr, IGNITE_THREENET_ACCURACY_EVERY for --accuracy.every), else
    from the file that --config names, else from the --recipe, else it has its default.
    """
    set_up_logging(quiet=params["quiet"], verbose=params["verbose"] or params["debug"])
    choice = collect(ctx, params)
    # Nothing but the JSON goes to standard output, whatever a plugin prints.
    with redirect_stdout(sys.stderr) if params["json"] else nullcontext():
        the_run = Run.of_choice(choice, saved=ctx.obj.saved)
        outcome = _plan(the_run) if params["dry_run"] else _train(the_run)
    if params["json"]:
        say_json(outcome)
    elif params["dry_run"]:
        say_block(format_plan(outcome))
    elif not params["quiet"]:
        say_block(format_summary(outcome))


def _pass_on_secrets(choice: Choice) -> None:
    """Give secrets to the processes to come, which go on from checkpoints that have none."""
    for owner in choice.owners:
        for spec in owner.specs:
            value = choice.values.get(key_of(spec.name, owner.prefix))
            if isinstance(value, str) and (spec.is_secret or spec.hides(spec.plain(value))):
                name = environment_name(parameter_name(spec.name, owner.prefix))
                os.environ[name] = write_secret(value) if spec.is_secret else value


def _plan(the_run: Run) -> dict[str, Any]:
    plan = the_run.plan
    the_run.close()
    return plan


def _train(the_run: Run) -> dict[str, Any]:
    with signals_interrupt(the_run):
        return the_run.train()


@click.command(
    "verify-resume",
    cls=TriedCommand,
    params=_configuration_options(),
    context_settings={"auto_envvar_prefix": ENVIRONMENT_PREFIX},
)
@click.pass_context
def verify_resume(ctx: click.Context, /, **params: Any) -> None:
    """Check that an interrupted and resumed run ends as one that was never stopped.

    Takes the options of `run`, and runs it with them in fresh processes: through to the end,
    interrupted in mid-epoch and at an epoch's end, ended by a handler, and each time resumed.
    Compares all weights, recorded numbers, random generators, files, and what plugins remember, to
    the last bit. Trains 3 epochs where --epochs is not given.
    """
    set_up_logging(quiet=not params["verbose"], verbose=params["verbose"])
    # What can be refused is refused here, and not by a process that has no terminal.
    choice = collect(ctx, params)
    _ = choice.config, choice.create_plugins()
    words = list(ctx.obj.words)
    if ctx.get_parameter_source(EPOCHS) is ParameterSource.DEFAULT:
        words += ["--epochs", str(_EPOCHS_TO_VERIFY)]
    _pass_on_secrets(choice)
    comparison = verify_command(words)
    for part, differing in comparison.differences.items():
        unchecked = comparison.unchecked.get(part)
        same = f"unchecked: {unchecked}" if unchecked else "the same to the last bit"
        say(f"{part}: {differing[0] if differing else same}")
    if not comparison.is_same:
        raise click.ClickException("the resumed run differs from the one that was never stopped")
