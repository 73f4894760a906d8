"""What a fresh process does for ``plugins check``: it imports a plugin, runs it, and looks it over.

Each function is called with the line to the caller, to which it tells what it finds at once, so
that nothing is lost if the plugin ends the process.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..cli.fresh_process import Line
from ..config import RunConfig
from ..errors import ConfigError, ThreeNetError, describe_error
from ..extensions.entries import Entry, FileEntry
from ..extensions.importing import LoadFailedError
from ..extensions.plugin import Plugin
from ..extensions.reference import Reference
from ..extensions.selection import find_plugin, load_plugin, resolve_plugins
from ..options.declaration import option_specs
from ..run.run import Run
from ..storage import checkpoint_file as checkpoint
from ..training.tracked_hooks import hook_places
from . import (
    MakeLoaders,
    TinyModel,
    find_contract_problems,
    image_loaders,
    tiny_loaders,
    weights_after,
)
from .extras import explain_missing_extra
from .finding import Finding
from .patches import Functions, find_functions, find_replaced
from .process_state import ProcessState
from .sandbox import LISTENER, Sandbox, refusal

DATA: Mapping[str, tuple[MakeLoaders, str, str]] = {
    "rows": (tiny_loaders, "load", "rows of 784 numbers"),
    "images": (image_loaders, "load_images", "images of 1 x 28 x 28"),
}
"""What a plugin is tried on: its batches, the dataset in tiny.py, and what notes call it."""

# Beyond what the framework has imported already.
_SLOW_IMPORT_S = 1.0
_ASKS = "it asks for what this small run does not have"


def list_classes(line: Line, word: str) -> list[str]:
    """Name the plugins of a file, if there are several; else none."""
    line.enter("import")
    entry = find_plugin(word)
    if not isinstance(entry, FileEntry) or entry.attribute:
        return []
    try:
        names = entry.list_names(_is_plugin)
    except LoadFailedError:
        return []
    return names if len(names) > 1 else []


def _is_plugin(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Plugin)


class _Look:
    """One look at a plugin, from its import to the end of a small run.

    Args:
        line: to the caller.
        word: what the user calls the plugin.
        data: one of DATA.
        sandbox: where this process works.
    """

    def __init__(self, line: Line, word: str, data: str, sandbox: Sandbox) -> None:
        self._line, self._word, self._data, self._sandbox = line, word, data, sandbox
        self._make_loaders, _, self._what = DATA[data]
        self._entry = find_plugin(word)
        # Once without: what torch does at its first step is not the plugin's doing.
        self._make_run(sandbox.scratch / f"without-{data}", []).train()
        self._functions: Functions = find_functions()
        self._state = ProcessState.now()
        self._files = sandbox.list_files()

    def take(self) -> dict[str, Any]:
        """Look, and tell what is found.

        Returns:
            ``raised``: why the run failed, or "" if it did not; nothing if it did not come to
            that. ``changes_training``: whether the plugin says that it does.
        """
        cls = self._import()
        if cls is None:
            return {}
        self._tell(Finding("options", [*_find_option_problems(self._entry.name, cls)]))
        plugin = self._construct()
        if plugin is None:
            return {}
        return {"raised": self._run(plugin), "changes_training": bool(cls.changes_training)}

    def _import(self) -> type[Plugin] | None:
        start = time.perf_counter()
        try:
            cls = load_plugin(self._entry)
        except ThreeNetError as error:
            self._fail("import", error, str(error), is_unknown=self._is_unknown(error))
            return None
        seconds = time.perf_counter() - start
        now = ProcessState.now()
        note = f"{self._entry.origin}, {seconds:.2f} s"
        if seconds > _SLOW_IMPORT_S:
            note += "; slow: import what is heavy where it is used, not at the top"
        problems = [*now.differences_of_import(self._state), *self._find_patches()]
        self._tell(Finding("import", problems, note))
        # What was told is told once, and variables are the affair of what it imports.
        self._state = now
        return cls

    def _construct(self) -> Plugin | None:
        self._line.enter("construction")
        try:
            return make_plugin(self._word)
        except ThreeNetError as error:
            self._fail("construction", error, str(error))
        except (Exception, SystemExit) as error:
            self._fail("construction", error, describe_error(error))
        return None

    def _run(self, plugin: Plugin) -> str:
        """Run two batches, and see what is left behind."""
        out = self._sandbox.scratch / f"run-{self._data}"
        run: Run | None = None

        def train() -> None:
            nonlocal run
            required = [each.create() for each in resolve_plugins([self._word])[:-1]]
            run = self._make_run(out, [*required, plugin])
            self._line.enter("run")
            run.train()

        try:
            LISTENER.hear_files(train)
        except (Exception, SystemExit) as error:
            self._tell_hosts()
            note = _ASKS if isinstance(error, ConfigError) else ""
            return self._fail("run", error, describe_error(error), note)
        self._line.enter("close")
        problems = [*ProcessState.now().differences(self._state), *self._find_patches()]
        problems += [*self._find_files(out)]
        if run is not None:
            problems += _find_hooks(run)
        self._tell(Finding("run", problems, self._note()))
        self._tell_hosts()
        return ""

    def _note(self) -> str:
        return "two batches of each split" + ("" if self._data == "rows" else f", {self._what}")

    def _find_patches(self) -> Iterator[str]:
        for name in find_replaced(self._functions):
            yield f"puts another function in place of {name}; put the old one back in close()"
        self._functions = find_functions()

    def _find_files(self, out: Path) -> Iterator[str]:
        written = dict.fromkeys(
            (doing, path)
            for doing, path in LISTENER.files
            if not self._sandbox.may_write(path, out)
        )
        for doing, path in written:
            yield f"{doing} {path} outside of the run's directory; use run.directory.write()"
        for doing, path in self._sandbox.find_changes(self._files, {path for _, path in written}):
            yield f"{doing} {path}; use run.directory.write(), or remove it in close()"

    def _make_run(self, out: Path, plugins: Sequence[Plugin]) -> Run:
        config = RunConfig(epochs=1, out=out, device="cpu", strict=True)
        return Run(config, plugins, model=TinyModel(), loaders=self._make_loaders(batches=2))

    def _is_unknown(self, error: ThreeNetError) -> bool:
        """Tell whether a file or a module does not have the name that was asked for."""
        if isinstance(self._entry, FileEntry):
            return f"has no {self._entry.attribute!r} in " in str(error)
        is_module = Reference.parse(self._word).is_module
        return is_module and isinstance(error.__cause__, AttributeError)

    def _fail(
        self,
        check: str,
        error: BaseException,
        problem: str,
        note: str = "",
        *,
        is_unknown: bool = False,
    ) -> str:
        missing = explain_missing(self._entry, error)
        if missing:
            self._tell(Finding(check, skipped=missing, ends=True))
            return ""
        problems = [problem, *self._find_patches()]
        self._tell(Finding(check, problems, note, ends=True, is_unknown=is_unknown))
        return problem

    def _tell_hosts(self) -> None:
        hosts = dict.fromkeys(LISTENER.hosts)
        if hosts:
            note = "--allow-network allows it, for each of several runs"
            self._tell(Finding("network", [*map(refusal, hosts)], note))

    def _tell(self, finding: Finding) -> None:
        self._line.tell(finding=asdict(finding))


def look(line: Line, word: str, data: str, sandbox: Sandbox) -> dict[str, Any]:
    """Look a plugin over until it has run; see _Look.take()."""
    _be_quiet()
    taken = _Look(line, word, data, sandbox)
    line.enter("import")
    return taken.take()


def check_contract(line: Line, word: str, data: str) -> list[str]:
    """Say which promises a plugin breaks."""
    _be_quiet()
    line.enter("import")
    make_loaders, _, _ = DATA[data]
    try:
        return [*find_contract_problems(load_plugin(find_plugin(word)), make_loaders)]
    except (Exception, SystemExit) as error:
        return [describe_error(error)]


def note_weights(line: Line, word: str | None, data: str, file: Path) -> str:
    """Train with a plugin, or without one, and write the weights to a file; say what fails."""
    _be_quiet()
    line.enter("import")
    make_loaders, _, _ = DATA[data]
    try:
        plugins = [make_plugin(word)] if word is not None else []
        weights = weights_after(plugins, make_loaders=make_loaders)
    except (Exception, SystemExit) as error:
        return describe_error(error)
    file.write_bytes(checkpoint.encode(dict(weights)))
    return ""


def make_plugin(word: str) -> Plugin:
    """Make a plugin, with its defaults."""
    return next(each for each in reversed(resolve_plugins([word]))).create()


def explain_missing(entry: Entry | FileEntry, error: BaseException) -> str:
    """Say which extra of its distribution a plugin lacks, if that is why it failed; else ""."""
    if isinstance(entry, FileEntry):
        return ""
    return explain_missing_extra(error, entry.distribution, entry.name)


def _find_option_problems(plugin: str, cls: type[Plugin]) -> Iterator[str]:
    taken = {spec.name for spec in option_specs(RunConfig)}
    for spec in option_specs(cls):
        if not spec.help.strip():
            yield f"{spec.name!r} has no help; say what it does, and its unit"
        # As environment variables are named: --data.dir would be --data-dir.
        name = f"{plugin.replace('-', '_')}_{spec.name}"
        if name in taken:
            yield f"{spec.name!r} is taken for the run's option {name!r}; choose another name"


def _find_hooks(run: Run) -> list[str]:
    places = [*hook_places(run.model, run.optimizer)]
    found = [f"{place.kind} of {place.owner}" for place in places]
    of_modules = {name or "the model" for name, _ in run.model.named_modules()}
    if any(place.owner in of_modules for place in places):
        rest = [place for place in found if place.rpartition(" of ")[2] not in of_modules]
        return ["leaves a hook on the model; remove it in close()", *map(_spell_hook, rest)]
    return [*map(_spell_hook, found)]


def _spell_hook(found: str) -> str:
    return f"leaves a {found} behind; remove it in close()"


def _be_quiet() -> None:
    logging.getLogger("ignite").setLevel(logging.CRITICAL)
    logging.getLogger("ignite_threenet").setLevel(logging.ERROR)
