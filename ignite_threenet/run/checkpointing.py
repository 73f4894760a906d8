"""All that a run is made of: saved, and put back to the last bit."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import RunConfig
from ..errors import CheckpointError, DivergedError
from ..extensions.component import Component
from ..options.declaration import plain_options
from ..storage import checkpoint_file as checkpoint
from ..storage.directory import RunDirectory
from ..training.optimizer import load_optimizer_state
from ..training.randomness import check_random_state, get_random_state, set_random_state
from ..training.tracked_engine import describe_event
from .assembly import Parts
from .attachment import Attachment, Attachments
from .compatibility import (
    current_versions,
    kinds_of,
    resolved_options,
    source_of_component,
    source_of_plugin,
)
from .fit import Fit
from .saved_run import SavedRun
from .saved_structure import FORMAT


class Checkpointer:
    """Collects the state of a run, and puts it back.

    Args:
        parts: what is trained.
        attachments: the plugins.
        fit: the training.
        carried: what an earlier checkpoint held of plugins that are gone.
    """

    def __init__(
        self,
        parts: Parts,
        attachments: Attachments,
        fit: Fit,
        carried: Sequence[Mapping[str, Any]],
    ) -> None:
        self._parts = parts
        self._attachments = attachments
        self._fit = fit
        self._carried = carried

    def save(self, directory: RunDirectory, keep: int) -> Path:
        """Write a checkpoint to go on from, between two iterations.

        Args:
            directory: the run's directory.
            keep: checkpoints that the directory keeps, this one included.

        Raises:
            CheckpointError: it cannot be written, a weight is not finite, or this is in the midst
                of an iteration, or of an epoch's end; the checkpoints before it are still there.
        """
        if not self._fit.is_between_iterations():
            event = describe_event(self._parts.trainer.last_event_name)
            raise CheckpointError(
                directory.path,
                f"not saved at {event}; a run can go on from EPOCH_COMPLETED, INTERRUPT, "
                "TERMINATE, and an ITERATION_COMPLETED that is not an epoch's last",
            )
        content = self._capture(directory.path)
        encoded = checkpoint.encode(content, where=f"{directory.path}: checkpoint")
        return directory.write_checkpoint(self._parts.recorder.iteration, encoded, keep)

    def restore(self, saved: SavedRun) -> None:
        """Put everything into the state in which it was saved; the counters are there.

        Raises:
            CheckpointError: what was saved does not fit the run.
            PluginFailedError: a plugin does not take its state back.
        """
        parts, content = self._parts, saved.content
        try:
            restore_model(parts.model, content, parts.device)
            if isinstance(parts.loss_fn, nn.Module):
                parts.loss_fn.load_state_dict(content["loss"])
            load_optimizer_state(parts.optimizer, content["optimizer"])
            parts.history.load_state_dict(content["history"])
            parts.recorder.load_state_dict(content["recorder"], parts.device)
            for state in filter(None, (content["random"], content["epoch_random"])):
                check_random_state(state, parts.data.train_loader)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            # torch says in the first line of several that there is something to say.
            reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
            raise CheckpointError(saved.path, f"does not fit this run: {reason}") from error
        states = {each["name"]: each["state"] for each in saved.plugins}
        for attachment in self._attachments:
            plugin, state = attachment.plugin, states[attachment.name]
            if state is not None:
                attachment.call("load_state_dict", plugin.load_state_dict, state)
        set_random_state(content["random"], parts.data.train_loader)

    def _capture(self, path: Path) -> dict[str, Any]:
        parts, trainer, recorder = self._parts, self._parts.trainer, self._parts.recorder
        content = {
            "format": FORMAT,
            "versions": current_versions(),
            "config": _config_from_anywhere(parts.config),
            "dataset": {"name": parts.data.name, "sha256": dict(parts.data.sha256)},
            "components": {
                kind: _capture_component(each, getattr(parts.config, kind))
                for kind, each in parts.components.items()
            },
            "plugins": [*map(_capture_plugin, self._attachments), *self._carried],
            "kinds": kinds_of(parts),
            "epoch": trainer.state.epoch,
            "iteration": recorder.iteration,
            "steps": recorder.steps,
            "left_epoch": self._fit.left_epoch,
            "epoch_length": trainer.state.epoch_length,
            "ended": trainer.should_terminate,
            **capture_model(parts.model),
            "loss": _state_of(parts.loss_fn),
            "optimizer": parts.optimizer.state_dict(),
            "history": parts.history.state_dict(),
            "recorder": recorder.state_dict(),
            "random": self._random_state(),
            "epoch_random": self._fit.random_state_of_epoch,
        }
        _check_finite(parts.model, content["optimizer"], path)
        return content

    def _random_state(self) -> Mapping[str, Any]:
        """Give the random generators as they are; of an epoch without an iteration, as it began.

        What its loader has drawn by then, it draws again.
        """
        parts = self._parts
        ended = parts.history.epochs
        over = max(ended[-1].epoch if ended else 0, self._fit.left_epoch)
        if parts.trainer.state.epoch > over and parts.recorder.steps == 0:
            return self._fit.random_state_of_epoch
        return get_random_state(parts.data.train_loader)


def _config_from_anywhere(config: RunConfig) -> dict[str, Any]:
    """Give the options as plain values, with the directory of the data as seen from anywhere."""
    return plain_options(config) | {"data_dir": str(config.data_dir.absolute())}


def _capture_component(part: Component, word: str) -> dict[str, Any]:
    return {
        "name": part.name,
        "source": source_of_component(part, word),
        "options": resolved_options(part),
    }


def capture_model(model: nn.Module) -> dict[str, Any]:
    """Give all of a model's state, also what its state_dict() leaves out."""
    return {
        "model": dict(model.state_dict()),
        "buffers": _other_buffers(model),
        "frozen": [name for name, each in model.named_parameters() if not each.requires_grad],
    }


def restore_model(model: nn.Module, content: Mapping[str, Any], device: torch.device) -> None:
    """Take back what capture_model() gave."""
    _make_missing_buffers(model, content["model"], device)
    model.load_state_dict(content["model"])
    for buffer in content["buffers"]:
        _restore_buffer(model, buffer["names"], buffer["value"].to(device))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in content["frozen"])


def _check_finite(model: nn.Module, optimizer: Mapping[str, Any], path: Path) -> None:
    if not is_finite(model):
        raise CheckpointError(path, "not saved: the model is not finite")
    if not _holds_finite(optimizer):
        raise CheckpointError(path, "not saved: the optimizer is not finite")


def _other_buffers(model: nn.Module) -> list[dict[str, Any]]:
    """Give the buffers that a model's state_dict() leaves out, each with all its names."""
    persistent = model.state_dict().keys()
    names: dict[int, list[str]] = {}
    values: dict[int, Tensor] = {}
    for name, buffer in model.named_buffers(remove_duplicate=False):
        if name not in persistent:
            names.setdefault(id(buffer), []).append(name)
            values[id(buffer)] = buffer
    return [{"names": names[each], "value": values[each]} for each in names]


def _state_of(loss_fn: object) -> dict[str, Any]:
    return dict(loss_fn.state_dict()) if isinstance(loss_fn, nn.Module) else {}


def _capture_plugin(attachment: Attachment) -> dict[str, Any]:
    plugin = attachment.plugin
    return {
        "name": plugin.name,
        "use": plugin.use,
        "source": source_of_plugin(plugin),
        "options": plain_options(plugin),
        "changes_training": plugin.changes_training,
        "left_out": False,
        # None of one that was detached: it begins anew.
        "state": attachment.state(),
    }


def check_finite(parts: Parts) -> None:
    """Refuse to take weights that are not finite for those of a training that went well.

    Raises:
        DivergedError: one is not finite, also if each loss was.
    """
    if not is_finite(parts.model):
        state = parts.trainer.state
        raise DivergedError(state.epoch, state.iteration, math.nan, "a weight")


def is_finite(model: nn.Module) -> bool:
    """Tell whether a model can be gone on with; a buffer may be a mask of infinities."""
    has_nan = any(bool(buffer.isnan().any()) for buffer in model.buffers())
    return not has_nan and _holds_finite(list(model.parameters()))


def _holds_finite(value: object) -> bool:
    if isinstance(value, Tensor):
        return bool(value.isfinite().all())
    if isinstance(value, Mapping):
        return all(_holds_finite(each) for each in value.values())
    if isinstance(value, list | tuple):
        return all(_holds_finite(each) for each in value)
    return True


def _make_missing_buffers(model: nn.Module, saved: Mapping[str, Any], device: torch.device) -> None:
    """Make the buffers that were None before the first batch: load_state_dict() makes none."""
    for name in saved.keys() - model.state_dict().keys():
        path, _, attribute = name.rpartition(".")
        with suppress(AttributeError):
            owner = model.get_submodule(path)
            if attribute in owner._buffers:
                setattr(owner, attribute, torch.empty_like(saved[name], device=device))


def _restore_buffer(model: nn.Module, names: Sequence[str], value: Tensor) -> None:
    """Put back a buffer that is not persistent; several modules may share it."""
    for name in names:
        path, _, attribute = name.rpartition(".")
        owner = model.get_submodule(path)
        current = getattr(owner, attribute)
        if isinstance(current, Tensor) and current.shape == value.shape:
            value = current.copy_(value)
        else:
            setattr(owner, attribute, value)
