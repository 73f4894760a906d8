"""Checks that an interrupted and resumed run ends as one that was never stopped."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from torch import Tensor, nn

from .config import RunConfig
from .engines import Batch
from .errors import RunInterruptedError
from .plugin import Plugin
from .run import Run

MakePlugins = Callable[[], Sequence[Plugin]]

# What no two runs have in common.
_TIMES = ("seconds",)


def verify_resume(
    config: RunConfig,
    make_plugins: MakePlugins,
    *,
    make_model: Callable[[], nn.Module] | None = None,
    make_loaders: Callable[[], Mapping[str, Iterable[Batch]]] | None = None,
    model_options: Mapping[str, Any] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
) -> dict[str, list[str]]:
    """Train once through, and once interrupted half-way in an epoch and resumed; compare.

    Args:
        config: what to train; its directory is not used.
        make_plugins: makes the plugins, anew for each of the runs.
        make_model: makes the network, with the same weights each time; the configured one
            without it.
        make_loaders: makes the loaders; those of the configured dataset without it.
        model_options: options of the configured model, by name.
        dataset_options: options of the configured dataset, by name.

    Returns:
        What differs, by the part of the run: empty lists where nothing does. The parts are
        ``model``, ``optimizer``, ``history`` (without times), and ``plugin NAME``.

    Raises:
        ThreeNetError: a run fails.
    """

    def parts() -> dict[str, Any]:
        return {
            "plugins": make_plugins(),
            "model": make_model() if make_model is not None else None,
            "loaders": make_loaders() if make_loaders is not None else None,
        }

    with tempfile.TemporaryDirectory() as scratch:
        options: dict[str, Any] = {
            "model_options": model_options,
            "dataset_options": dataset_options,
        }
        whole = Run(_in(config, Path(scratch, "whole")), **parts(), **options)
        whole.train()
        begun = Run(_in(config, Path(scratch, "parts")), **parts(), **options)
        resumed = _train_in_two_parts(begun, parts)
    return _compare(_states(whole), _states(resumed))


def _in(config: RunConfig, out: Path) -> RunConfig:
    return replace(config, out=out, force=False)


def _train_in_two_parts(run: Run, parts: Callable[[], dict[str, Any]]) -> Run:
    @run.trainer.on(Events.ITERATION_COMPLETED)
    def interrupt_half_way() -> None:
        length = run.trainer.state.epoch_length or 1
        if run.trainer.state.iteration == _half_way(run.config.epochs, length):
            run.interrupt()

    @run.trainer.on(Events.INTERRUPT)
    def save() -> None:
        run.save()

    with suppress(RunInterruptedError):
        run.train()
    resumed = Run.resume(run.directory.path, **parts())
    resumed.train()
    return resumed


def _half_way(epochs: int, length: int) -> int:
    """Choose an iteration in the middle of the middle epoch."""
    return (epochs - 1) // 2 * length + max(length // 2, 1)


def _states(run: Run) -> dict[str, Any]:
    return {
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "history": run.history.state_dict(),
        **{f"plugin {name}": plugin.state_dict() for name, plugin in run.plugins.items()},
    }


def _compare(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[str]]:
    return {part: list(_differences(one[part], other[part])) for part in one}


def _differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Name the places where two values differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other}, key=str):
            inner = f"{where}.{key}" if where else str(key)
            if key in one and key in other:
                yield from () if key in _TIMES else _differences(one[key], other[key], inner)
            else:
                yield f"{inner}: only in one"
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            yield f"{where}: {len(one)} and {len(other)} items"
        for index, (mine, theirs) in enumerate(zip(one, other, strict=False)):
            yield from _differences(mine, theirs, f"{where}[{index}]")
    elif not _is_same(one, other):
        yield f"{where}: {_spell_difference(one, other)}"


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one.cpu(), other.cpu())
    # By their spelling, in which NaN is the same as NaN.
    return type(one) is type(other) and repr(one) == repr(other)


def _spell_difference(one: Any, other: Any) -> str:
    if isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape:
        largest = (one.double().cpu() - other.double().cpu()).abs().max().item()
        return f"tensors {tuple(one.shape)} that differ by up to {largest:.3g}"
    return f"{_spell(one)} and {_spell(other)}"


def _spell(value: Any) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
