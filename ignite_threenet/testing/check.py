"""What ``plugins check`` does: ``python -m ignite_threenet.testing.check NAME``.

It runs in a process of its own.

A plugin is imported, run and looked over; each check gives a line, and what to do where it fails.
"""

import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..cli.verification import verify_command
from ..config import RunConfig
from ..errors import ConfigError, ThreeNetError, describe_error
from ..extensions.entries import Entry, FileEntry
from ..extensions.plugin import Plugin
from ..extensions.selection import find_plugin, load_plugin, resolve_plugins
from ..options.declaration import option_specs
from ..run.run import Run
from . import TinyModel, assert_observes_only, find_contract_problems, tiny_loaders

# Beyond what the framework has imported already.
_SLOW_IMPORT_S = 1.0
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Finding:
    """The outcome of one check.

    Attributes:
        check: what was checked.
        problems: what is wrong and what to do; empty if all is well.
        note: what else is worth knowing.
        unchecked: what could not be told.
    """

    check: str
    problems: list[str] = field(default_factory=list)
    note: str = ""
    unchecked: list[str] = field(default_factory=list)

    def format(self) -> str:
        """Put it into a line."""
        status = "FAILED" if self.problems else "UNSURE" if self.unchecked else "ok"
        outcome = "; ".join([*self.problems, *self.unchecked]) or "ok"
        note = f" ({self.note})" if self.note else ""
        return f"{status:<6}  {self.check}: {outcome}{note}"


def check_plugin(word: str) -> Iterator[Finding]:
    """Look a plugin over; the checks that need what has failed are left out.

    Args:
        word: its name, or ``file.py``, or ``file.py:Name``.
    """
    try:
        entry = find_plugin(word)
    except ThreeNetError as error:
        yield Finding("name", [str(error)])
        return
    yield Finding("name")
    start = time.perf_counter()
    try:
        cls = load_plugin(entry)
    except ThreeNetError as error:
        yield Finding("import", [str(error)])
        return
    yield _check_import(entry, time.perf_counter() - start)
    yield Finding("options", [*_find_option_problems(entry.name, cls)])
    try:
        plugin = _make(word)
    except ThreeNetError as error:
        yield Finding("construction", [str(error)])
        return
    except (Exception, SystemExit) as error:
        yield Finding("construction", [describe_error(error)])
        return
    finding = _check_run(word, plugin)
    yield finding
    if finding.problems:
        return
    yield _check_contract(cls)
    yield _check_state(word)
    yield _check_weights(word, cls)


def _make(word: str) -> Plugin:
    return next(each for each in reversed(resolve_plugins([word]))).create()


def _check_import(entry: Entry | FileEntry, seconds: float) -> Finding:
    problems = []
    if seconds > _SLOW_IMPORT_S:
        problems.append(
            f"takes {seconds:.1f} s; import what is heavy where it is used, not at the top"
        )
    return Finding("import", problems, f"{entry.origin}, {seconds:.2f} s")


def _find_option_problems(plugin: str, cls: type[Plugin]) -> Iterator[str]:
    taken = {spec.name for spec in option_specs(RunConfig)}
    for spec in option_specs(cls):
        if not spec.help.strip():
            yield f"{spec.name!r} has no help; say what it does, and its unit"
        # As environment variables are named: --data.dir would be --data-dir.
        name = f"{plugin.replace('-', '_')}_{spec.name}"
        if name in taken:
            yield f"{spec.name!r} is taken for the run's option {name!r}; choose another name"


@dataclass
class _Surroundings:
    """What a plugin must leave as it found it."""

    log_handlers: list[logging.Handler]
    signals: Mapping[int, Any]
    threads: set[threading.Thread]
    default_dtype: torch.dtype
    directory: str
    environment: Mapping[str, str]
    streams: tuple[Any, Any]

    @classmethod
    def now(cls) -> "_Surroundings":
        loggers = [logging.getLogger(name) for name in (None, "ignite", "ignite_threenet")]
        return cls(
            log_handlers=[each for logger in loggers for each in logger.handlers],
            signals={each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)},
            threads={each for each in threading.enumerate() if not each.daemon},
            default_dtype=torch.get_default_dtype(),
            directory=str(Path.cwd()),
            environment=dict(os.environ),
            streams=(sys.stdout, sys.stderr),
        )

    def differences(self, before: "_Surroundings") -> Iterator[str]:
        if self.log_handlers != before.log_handlers:
            yield "leaves a logging handler behind; remove it in close()"
        if self.signals != before.signals:
            yield "leaves a signal handler behind; put the old one back in close()"
        if self.threads - before.threads:
            yield "leaves a thread running; end it in close()"
        if self.default_dtype != before.default_dtype:
            yield "changes torch's default dtype; put it back in close()"
        if self.directory != before.directory:
            yield "changes the current directory; leave it alone"
        changed = dict(self.environment.items() ^ before.environment.items())
        if changed:
            yield f"changes environment variables ({', '.join(sorted(changed))}); leave them alone"
        if self.streams != before.streams:
            yield "replaces standard output or error; put it back in close()"


class _WrittenFiles:
    """Notes which files are opened for writing; an audit hook cannot be removed, so it is one."""

    def __init__(self) -> None:
        self._noted: list[Path] | None = None
        sys.addaudithook(self._hear)

    def during(self, action: Callable[[], object]) -> list[Path]:
        noted: list[Path] = []
        self._noted = noted
        try:
            action()
        finally:
            self._noted = None
        return noted

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._noted is None or event != "open":
            return
        path, _, flags = arguments
        if isinstance(path, str | bytes | os.PathLike) and flags & _WRITING:
            self._noted.append(Path(os.fsdecode(path)).absolute())


def _check_run(word: str, plugin: Plugin) -> Finding:
    """Run two batches, and see what is left behind."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "run")
        run: Run | None = None

        def train() -> None:
            nonlocal run
            required = [each.create() for each in resolve_plugins([word])[:-1]]
            run = _make_small_run(out, [*required, plugin])
            run.train()

        # Once without: what torch does at its first step is not the plugin's doing.
        _make_small_run(Path(scratch, "without"), []).train()
        before = _Surroundings.now()
        try:
            written = _WRITTEN.during(train)
        except (Exception, SystemExit) as error:
            note = "it asks for what this small run does not have"
            return Finding(
                "run", [describe_error(error)], note if isinstance(error, ConfigError) else ""
            )
        problems = [*_Surroundings.now().differences(before)]
        problems += [
            f"writes {path} outside of the run's directory; use run.directory.write()"
            for path in dict.fromkeys(written)
            if not _may_write(path, out)
        ]
        if run is not None and any(_has_hooks(module) for module in run.model.modules()):
            problems.append("leaves a hook on the model; remove it in close()")
    return Finding("run", problems, "two batches of each split")


def _make_small_run(out: Path, plugins: Sequence[Plugin]) -> Run:
    config = RunConfig(epochs=1, out=out, device="cpu", strict=True)
    return Run(config, plugins, model=TinyModel(), loaders=tiny_loaders(batches=2))


def _may_write(path: Path, directory: Path) -> bool:
    caches = (Path.home() / ".cache", Path.home() / ".config", Path("/dev"))
    inside = (directory, *caches)
    return "__pycache__" in path.parts or any(path.is_relative_to(each) for each in inside)


def _has_hooks(module: torch.nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind, None) for kind in kinds)


def _check_contract(cls: type[Plugin]) -> Finding:
    try:
        return Finding("contract", [*find_contract_problems(cls)])
    except (Exception, SystemExit) as error:
        return Finding("contract", [describe_error(error)])


def _check_state(word: str) -> Finding:
    """Run, stop and resume the command line itself with the plugin, each time anew."""
    from . import tiny

    words = ["--model", f"{tiny.__file__}:Tiny", "--dataset", f"{tiny.__file__}:load"]
    words += ["--plugins", word, "--epochs", "3", "--batch-size", "16", "--lr", "0.1"]
    try:
        comparison = verify_command([*words, "--device", "cpu", "--strict"])
    except ThreeNetError as error:
        return Finding("state", [str(error)])
    problems = [
        f"the resumed run differs: {part}: {places[0]}; see Plugin.state_dict()"
        for part, places in comparison.differences.items()
        if places
    ]
    unchecked = [f"{part}: unchecked: {each}" for part, each in comparison.unchecked.items()]
    return Finding("state", problems, "stopped and resumed", unchecked)


def _check_weights(word: str, cls: type[Plugin]) -> Finding:
    if cls.changes_training:
        return Finding("weights", note="it says that it changes the training")
    advice = "say changes_training = True, or do not touch what training uses"
    return _check_assertion(
        "weights",
        lambda: assert_observes_only(lambda: _make(word)),
        advice,
        "the same with it and without it",
    )


def _check_assertion(check: str, assertion: Callable[[], None], advice: str, note: str) -> Finding:
    try:
        assertion()
    except AssertionError as error:
        return Finding(check, [f"{error}; {advice}"])
    except (Exception, SystemExit) as error:
        return Finding(check, [describe_error(error)])
    return Finding(check, note=note)


_WRITTEN = _WrittenFiles()


def main() -> None:
    """Check the plugins that the command line names; exit with 1 where a check fails."""
    logging.getLogger("ignite").setLevel(logging.CRITICAL)
    logging.getLogger("ignite_threenet").setLevel(logging.ERROR)
    failed = False
    for word in sys.argv[1:]:
        print(f"{word}:")
        for finding in check_plugin(word):
            failed = failed or bool(finding.problems)
            print(f"  {finding.format()}", flush=True)
    if any(not each.daemon for each in threading.enumerate() if each != threading.main_thread()):
        # Else Python would wait for the threads that a plugin has left running.
        os._exit(1)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
