"""The command line: its commands, and where errors become messages.

A command's module is imported when the command is used: ``--help`` and ``plugins list`` answer at
once, without torch.
"""

import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import click

from ..errors import ThreeNetError, describe_error
from ..options.types import TRUE_WORDS
from ..settings.environment import environment_name
from .output import finish_streams, has_lost_reader, prepare_streams, say_error, say_traceback
from .signals import TerminatedError, close_when_terminated


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, and exit: 0, 1 for what failed, 2 for what was asked wrongly."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    prepare_streams()
    close_when_terminated()
    code = _run(words)
    code = code if isinstance(code, int) else 0
    problem = finish_streams()
    if problem and code == 0:
        code = _fail(problem, 1)
    sys.exit(code)


def _run(words: Sequence[str]) -> object:
    """Run a command, and turn an error into a message and an exit code."""
    code: object
    streams = sys.stdout, sys.stderr
    try:
        code = cli.main(words, prog_name="ignite-threenet", standalone_mode=False)
    except click.ClickException as error:
        code = _fail(error.format_message(), error.exit_code)
    except SystemExit as end:
        code = end.code if sys.stdout is streams[0] else _end_by_broken_pipe()
    except ThreeNetError as error:
        _show_traceback(words)
        code = _fail(str(error), error.exit_code)
    except TerminatedError as error:
        code = _fail("terminated", 128 + error.signum)
    except (KeyboardInterrupt, click.Abort):
        code = _fail("interrupted", 128 + signal.SIGINT)
    except Exception as error:
        _show_traceback(words)
        code = _fail(f"{describe_error(error)}; --debug shows where", 1)
    return code


def _end_by_broken_pipe() -> int:
    """End where Click met a broken pipe, and exchanged the streams: no error if it is theirs."""
    return 0 if has_lost_reader() else _fail("BrokenPipeError: broken pipe", 1)


def _show_traceback(words: Sequence[str]) -> None:
    asked = os.environ.get(environment_name("debug"), "").strip().lower()
    if "--debug" in words or asked in TRUE_WORDS:
        say_traceback(traceback.format_exc())


def _fail(message: str, code: int) -> int:
    say_error(message)
    return code


class _Command(NamedTuple):
    """Where a command is.

    Attributes:
        module: the module of this folder.
        name: its name there.
        help: the first line of its help.
    """

    module: str
    name: str
    help: str


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used.

    Args:
        name: its name.
        lazy: where its commands are, by name; or groups of more.
        **settings: what click.Group() takes.
    """

    def __init__(
        self, name: str | None = None, lazy: Mapping[str, Any] | None = None, **settings: Any
    ) -> None:
        super().__init__(name, **settings)
        self._lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names, sorted."""
        return sorted(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        found = self._lazy.get(cmd_name)
        if isinstance(found, _Command):
            command: click.Command = getattr(
                import_module(f".{found.module}", __package__), found.name
            )
            return command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names with their first lines, and import none of them."""
        rows = [(name, self._help_of(name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _help_of(self, name: str) -> str:
        found = self._lazy[name]
        return found.help if isinstance(found, _Command) else found.get_short_help_str(100)


def _components(kind: str) -> LazyGroup:
    return LazyGroup(
        f"{kind}s",
        help=f"See which {kind}s are installed.",
        lazy={
            "list": _Command(
                "listing", f"list_{kind}s", f"List the installed {kind}s; imports none of them."
            ),
            "show": _Command(
                "listing", f"show_{kind}", f"Show the options of a {kind}, and their defaults."
            ),
        },
    )


_PLUGINS = LazyGroup(
    "plugins",
    help="See what is installed, and begin, or check, one of your own.",
    lazy={
        "check": _Command(
            "authoring",
            "check_plugins",
            "Look plugins over: import, options, a small run, state, weights.",
        ),
        "list": _Command(
            "listing", "list_plugins", "List the installed plugins; imports none of them."
        ),
        "new": _Command(
            "authoring",
            "new_plugin",
            "Write a plugin to begin with: one file, or a package with tests.",
        ),
        "show": _Command(
            "listing", "show_plugin", "Show a plugin's options, defaults and requirements."
        ),
    },
)
CONTEXT_SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
}
cli = LazyGroup(
    "ignite-threenet",
    help="Train a network with PyTorch-Ignite engines; everything beyond the loop is a plugin.",
    context_settings=CONTEXT_SETTINGS,
    params=[],
    lazy={
        "datasets": _components("dataset"),
        "models": _components("model"),
        "plugins": _PLUGINS,
        "run": _Command("run", "run", "Train a network, test it, and sum up."),
        "verify-resume": _Command(
            "run",
            "verify_resume",
            "Check that an interrupted and resumed run ends as one that was never stopped.",
        ),
    },
)
click.version_option(package_name="ignite-threenet")(cli)
