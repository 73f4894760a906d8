"""Checks that a resumed run ends as one that was never stopped.

A run is trained through twice; what differs between the two, such as times, says nothing and is
left out of what follows. Then it is stopped and gone on with: in the midst of an epoch, at an
epoch's end, and after a handler has ended the training. What each of these leaves is compared:
every weight, every recorded number, the random generators, the files, the plugins' states.
"""

import hashlib
import logging
import multiprocessing
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, Literal

import torch
from ignite.engine import Events
from torch import Tensor, nn
from torch.optim import Optimizer

from ..config import RunConfig
from ..errors import CheckpointError, RunInterruptedError, ThreeNetError
from ..extensions.plugin import Plugin
from ..options.declaration import option_specs
from ..storage import checkpoint_file as checkpoint
from ..storage.directory import MANIFEST, METRICS, SUMMARY, is_kept_for_resuming
from ..training.engines import Batch
from .run import Run, watcher

Stop = Literal["in mid-epoch", "at an epoch's end", "by terminate()"]
"""How a run is stopped: interrupted at a moment, or ended by a handler."""


Outcome = Mapping[str, Any]
"""All that a run leaves, as plain values and tensors."""


Train = Callable[[Path, Stop | None, bool], Outcome]
"""Trains in a directory until it is stopped, or goes on there, and tells what that leaves."""


MakePlugins = Callable[[], Sequence[Plugin]]


# What no two runs have in common.
_OWN = ("seconds", "directory")


# Words, and what stands between them: a number of a table is compared by itself.
_TOKEN = re.compile(r"[\w.+-]+|[^\w\s]")


@dataclass(frozen=True)
class Comparison:
    """How resumed runs compare with one that was never stopped.

    Attributes:
        differences: what differs, by the part of the run: ``model``, ``optimizer``, ``history``,
            ``random``, ``summary``, ``files``, and ``plugin NAME``. Empty lists where nothing does.
        unchecked: what cannot be told of a plugin, by ``plugin NAME``.
    """

    differences: dict[str, list[str]]
    unchecked: dict[str, str] = field(default_factory=dict)

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return not any(self.differences.values())


def verify_resume(
    config: RunConfig,
    make_plugins: MakePlugins,
    *,
    make_model: Callable[[], nn.Module] | None = None,
    make_loaders: Callable[[], Mapping[str, Iterable[Batch]]] | None = None,
    make_optimizer: Callable[[nn.Module], Optimizer] | None = None,
    model_options: Mapping[str, Any] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
) -> Comparison:
    """Stop and resume runs in this process, and compare them with one that was never stopped.

    Args:
        config: what to train; its directory is not used.
        make_plugins: makes the plugins, anew for each of the runs.
        make_model: makes the network, with the same weights each time; the configured one
            without it.
        make_loaders: makes the loaders; those of the configured dataset without it.
        make_optimizer: makes the optimizer of a network; the configured one without it.
        model_options: options of the configured model, by name.
        dataset_options: options of the configured dataset, by name.

    Raises:
        ThreeNetError: a run fails.
    """

    def train(path: Path, stop: Stop | None, goes_on: bool) -> Outcome:
        parts: dict[str, Any] = {
            "plugins": make_plugins(),
            "model": make_model() if make_model is not None else None,
            "loaders": make_loaders() if make_loaders is not None else None,
            "optimizer": make_optimizer,
        }
        if goes_on:
            run = Run.resume(path, **parts)
        else:
            run = Run(
                replace(config, out=path, force=False),
                **parts,
                model_options=model_options,
                dataset_options=dataset_options,
            )
        _stop(run, stop)
        with suppress(*([RunInterruptedError] if stop is not None else [])):
            run.train()
        return _outcome(run)

    return _compare(train)


def verify_command(words: Sequence[str]) -> Comparison:
    """Do the same with the command line itself, in a fresh process for each of the runs.

    Args:
        words: what follows ``ignite-threenet run``.

    Raises:
        ThreeNetError: a run fails.
    """

    def train(path: Path, stop: Stop | None, goes_on: bool) -> Outcome:
        own = ["--resume", str(path)] if goes_on else [*words, "--out", str(path)]
        return _train_elsewhere(["run", *own], stop)

    return _compare(train)


def _compare(train: Train) -> Comparison:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        whole = train(scratch / "whole", None, False)
        again = train(scratch / "again", None, False)
        varying = {place for place, _ in _differences(whole, again)}

        train(scratch / "parts", "in mid-epoch", False)
        train(scratch / "parts", "at an epoch's end", True)
        resumed = train(scratch / "parts", None, True)

        ended = train(scratch / "ended", "by terminate()", False)
        # As if its process had been killed right after.
        shutil.copytree(scratch / "ended", scratch / "killed")
        (scratch / "killed" / SUMMARY).unlink(missing_ok=True)
        ended_later = train(scratch / "killed", None, True)

    comparison = Comparison({part: [] for part in _parts(whole)})
    _note(comparison, whole, resumed, varying, "")
    _note(comparison, ended, ended_later, varying, ", after terminate()")
    return comparison


def _parts(outcome: Outcome) -> list[str]:
    return [name for name in outcome if not name.startswith("(")]


def _note(
    comparison: Comparison, one: Outcome, other: Outcome, varying: set[str], when: str
) -> None:
    """Note where a resumed run differs from the one that was not stopped."""
    for place, text in _differences(one, other):
        if any(place == each or place.startswith((f"{each}.", f"{each}[")) for each in varying):
            continue
        part, _, inner = place.partition(".")
        if part in comparison.differences:
            where = f"{inner}: " if inner else ""
            comparison.differences[part].append(f"{where}{text}{when}")
        else:
            attribute = inner.partition(".")[2]
            comparison.unchecked.setdefault(
                inner.partition(".")[0],
                f"its attribute {attribute!r} differs, {text}{when}; nothing that it wrote shows "
                "whether that matters",
            )


def _stop(run: Run, stop: Stop | None) -> None:
    """Let a run stop half-way, and be saved then, where none of its plugins does that."""
    if stop is None:
        return
    trainer, epochs = run.trainer, run.config.epochs

    def is_half_way() -> bool:
        length = trainer.state.epoch_length or 1
        return trainer.state.iteration == _half_way(epochs, length)

    def end() -> None:
        if is_half_way():
            trainer.terminate()

    def interrupt() -> None:
        if is_half_way():
            run.interrupt()

    def save() -> None:
        if run.directory.last_saved_iteration() != run.recorder.iteration:
            run.save()

    # As the last of all that hear of an event.
    @trainer.on(Events.STARTED)
    def start() -> None:
        if stop == "at an epoch's end":
            event = Events.EPOCH_COMPLETED(once=_middle_epoch(epochs))
            trainer.add_event_handler(event, lambda: run.interrupt())
        else:
            action = end if stop == "by terminate()" else interrupt
            trainer.add_event_handler(Events.ITERATION_COMPLETED, action)
        trainer.add_event_handler(Events.INTERRUPT | Events.TERMINATE, save)


def _middle_epoch(epochs: int) -> int:
    return (epochs - 1) // 2 + 1


def _half_way(epochs: int, length: int) -> int:
    """Choose an iteration in the middle of the middle epoch."""
    return (_middle_epoch(epochs) - 1) * length + max(length // 2, 1)


def _outcome(run: Run) -> Outcome:
    """Collect what a run has left; in parentheses, what nobody promises to be the same."""
    plugins = run.plugins.items()
    # Which file was written first is no matter.
    summary = {key: each for key, each in run.directory.read_summary().items() if key != "files"}
    return checkpoint.decode(
        checkpoint.encode(
            {
                "model": run.model.state_dict(),
                "optimizer": run.optimizer.state_dict(),
                "history": run.history.state_dict(),
                "random": run.random_state(),
                "summary": summary,
                "files": dict(_read_files(run.directory.path)),
                **{f"plugin {name}": plugin.state_dict() for name, plugin in plugins},
                "(attributes)": {f"plugin {name}": _attributes(each) for name, each in plugins},
            },
            where="the run's outcome",
        )
    )


def _attributes(plugin: Plugin) -> dict[str, Any]:
    """Give what a plugin holds, as far as it could be saved; its options are no state."""
    options = {spec.name for spec in option_specs(type(plugin))}
    found = {}
    for name, value in vars(plugin).items():
        if name in options or hasattr(Plugin, name):
            continue
        with suppress(CheckpointError):
            checkpoint.encode({name: value})
            found[name] = value
    return found


def _read_files(directory: Path) -> Iterator[tuple[str, list[str]]]:
    """Read what a run wrote and nothing else compares: the words of a text, or a digest."""
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if not path.is_file() or name in (MANIFEST, METRICS, SUMMARY) or is_kept_for_resuming(name):
            continue
        content = path.read_bytes()
        try:
            tokens = _TOKEN.findall(content.decode())
        except UnicodeDecodeError:
            tokens = [hashlib.sha256(content).hexdigest()]
        yield name, tokens


@dataclass(frozen=True)
class _Job:
    """What a fresh process does.

    Attributes:
        words: the command line.
        stop: how its run is stopped.
        outcome: the file for what the run leaves.
        log: the file for what it prints.
        directory: where it is done.
        environment: the environment variables.
    """

    words: Sequence[str]
    stop: Stop | None
    outcome: Path
    log: Path
    directory: Path
    environment: Mapping[str, str]


def _train_elsewhere(words: Sequence[str], stop: Stop | None) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        job = _Job(words, stop, scratch / "outcome", scratch / "log", Path.cwd(), dict(os.environ))
        process = _fresh_processes().Process(target=_do, args=(job,))  # type: ignore[attr-defined]
        process.start()
        process.join()
        if not job.outcome.exists():
            said = job.log.read_text(encoding="utf-8", errors="replace") if job.log.exists() else ""
            last = (said.strip().splitlines() or ["it said nothing"])[-1]
            raise ThreeNetError(f"{' '.join(words)}: failed: {last.removeprefix('error: ')}")
        return checkpoint.read(job.outcome)


def _fresh_processes() -> BaseContext:
    """Give processes that have imported torch and this package, and nothing of the user's."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # torch imports _dynamo with the first optimizer, in a second.
    context.set_forkserver_preload([__name__, "ignite_threenet.cli.main", "torch._dynamo"])
    return context


def _do(job: _Job) -> None:
    """Run the command line, look on, and write down what it leaves."""
    from ..cli.main import main

    os.chdir(job.directory)
    os.environ.clear()
    os.environ.update(job.environment)
    with job.log.open("w", encoding="utf-8") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    made: list[Run] = []

    def watch(run: Run) -> None:
        made.append(run)
        _stop(run, job.stop)

    watcher.set(watch)
    code: object = None
    try:
        main(job.words)
    except SystemExit as end:
        code = end.code
    was_stopped = job.stop is not None and made and made[-1].was_interrupted
    if code == 0 or was_stopped:
        job.outcome.write_bytes(checkpoint.encode(_outcome(made[-1])))
    logging.shutdown()


def _differences(one: Any, other: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Name the places where two values differ, and how."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other}, key=str):
            inner = f"{where}.{key}" if where else str(key)
            if key in one and key in other:
                yield from () if key in _OWN else _differences(one[key], other[key], inner)
            else:
                yield inner, f"only in the {'first' if key in one else 'resumed'} one"
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            yield where, f"{len(one)} and {len(other)} items"
        for index, (mine, theirs) in enumerate(zip(one, other, strict=False)):
            yield from _differences(mine, theirs, f"{where}[{index}]")
    elif not _is_same(one, other):
        yield where, _spell_difference(one, other)


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        # By their bytes: NaN is the same as NaN, and -0 is not 0.
        return (
            one.dtype == other.dtype and one.shape == other.shape and _bytes(one) == _bytes(other)
        )
    # By their spelling, in which NaN is the same as NaN.
    return type(one) is type(other) and repr(one) == repr(other)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _spell_difference(one: Any, other: Any) -> str:
    if isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape:
        if one.dtype != other.dtype:
            return f"{one.dtype} and {other.dtype}"
        largest = (one.double() - other.double()).abs().max().item()
        return f"tensors {tuple(one.shape)} that differ by up to {largest:.3g}"
    return f"{_spell(one)} and {_spell(other)}"


def _spell(value: Any) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
