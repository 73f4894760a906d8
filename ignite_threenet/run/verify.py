"""Checks that a resumed run ends as one that was never stopped.

A run is trained through twice; what differs between the two, such as times, says nothing and is
left out of what follows. Then it is stopped and gone on with: in the midst of an epoch, at an
epoch's end, and after a handler has ended the training. What each of these leaves is compared:
every weight, every recorded number, the random generators, the files, the plugins' states.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ignite.engine import Events
from torch import nn
from torch.optim import Optimizer

from ..config import RunConfig
from ..errors import CheckpointError, RunInterruptedError
from ..extensions.plugin import Plugin
from ..options.declaration import option_specs
from ..storage import checkpoint_file as checkpoint
from ..storage.contents import MANIFEST, METRICS, SUMMARY, is_kept_for_resuming
from ..training.engines import Batch
from ..training.randomness import get_random_state
from .comparison import Comparison, Outcome, differences
from .run import Run

Stop = Literal["in mid-epoch", "at an epoch's end", "by terminate()"]
"""How a run is stopped: interrupted at a moment, or ended by a handler."""

Train = Callable[[Path, Stop | None, bool], Outcome]
"""Trains in a directory until it is stopped, or goes on there, and tells what that leaves."""

MakePlugins = Callable[[], Sequence[Plugin]]

# Words, and what stands between them: a number of a table is compared by itself.
_TOKEN = re.compile(r"[\w.+-]+|[^\w\s]")


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
        stop_half_way(run, stop)
        with suppress(*([RunInterruptedError] if stop is not None else [])):
            run.train()
        return outcome_of(run)

    return compare(train)


def compare(train: Train) -> Comparison:
    """Train, stop and go on, and compare what that leaves.

    Args:
        train: trains in a directory until it is stopped, or goes on there.
    """
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        whole = train(scratch / "whole", None, False)
        again = train(scratch / "again", None, False)
        varying = {place for place, _ in differences(whole, again)}

        train(scratch / "parts", "in mid-epoch", False)
        train(scratch / "parts", "at an epoch's end", True)
        resumed = train(scratch / "parts", None, True)

        ended = train(scratch / "ended", "by terminate()", False)
        # As if its process had been killed right after.
        shutil.copytree(scratch / "ended", scratch / "killed")
        (scratch / "killed" / SUMMARY).unlink(missing_ok=True)
        ended_later = train(scratch / "killed", None, True)

    comparison = Comparison.of_parts(whole)
    comparison.note(whole, resumed, varying)
    comparison.note(ended, ended_later, varying, ", after terminate()")
    return comparison


def stop_half_way(run: Run, stop: Stop | None) -> None:
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


def outcome_of(run: Run) -> Outcome:
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
                "random": get_random_state(run.loaders["train"]),
                "summary": summary,
                "files": dict(_read_files(run.directory.path)),
                **{f"plugin {name}": plugin.state_dict() for name, plugin in plugins},
                "(attributes)": {f"plugin {name}": _attributes(each) for name, each in plugins},
            },
            where="the run's outcome",
        )
    )


def _attributes(plugin: Plugin) -> dict[str, Any]:
    """Give what a plugin holds, if it could be saved; its options are no state."""
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
