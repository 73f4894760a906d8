"""All that a run is made of: saved, and put back to the last bit."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from ..options.declaration import plain_options
from ..training.optimizer import load_optimizer_state
from ..training.randomness import set_random_state
from .attachment import Attachment
from .compatibility import (
    current_versions,
    kinds_of,
    resolved_options,
    source_of_part,
    source_of_plugin,
)
from .saved_run import FORMAT, SavedRun

if TYPE_CHECKING:
    from ..extensions.component import ChosenPart
    from .run import Run


def capture(run: "Run") -> dict[str, Any]:
    """Collect the state of all parts of a run.

    Raises:
        CheckpointError: a weight is not finite, so nobody should go on from here.
    """
    state = run.trainer.state
    content = {
        "format": FORMAT,
        "versions": current_versions(),
        "config": plain_options(run.config) | {"data_dir": str(run.config.data_dir.absolute())},
        "dataset": {"name": run.dataset_name, "sha256": dict(run.data_sha256)},
        "parts": {kind: _capture_part(part, run) for kind, part in run.parts.items()},
        "plugins": [_capture_plugin(each) for each in run.attachments] + list(run.carried_plugins),
        "kinds": kinds_of(run),
        "epoch": state.epoch,
        "iteration": run.recorder.iteration,
        "steps": run.recorder.steps,
        "left_epoch": run.left_epoch,
        "epoch_length": state.epoch_length,
        "ended": run.trainer.should_terminate,
        "model": dict(run.model.state_dict()),
        "buffers": _other_buffers(run.model),
        "frozen": [name for name, each in run.model.named_parameters() if not each.requires_grad],
        "loss": _state_of(run.loss_fn),
        "optimizer": run.optimizer.state_dict(),
        "history": run.history.state_dict(),
        "recorder": run.recorder.state_dict(),
        "random": _random_state_to_go_on_from(run),
        "epoch_random": run.random_state_of_epoch,
    }
    # A buffer may be a mask of infinities.
    has_nan = any(bool(buffer.isnan().any()) for buffer in run.model.buffers())
    if has_nan or not _is_finite(list(run.model.parameters())):
        raise CheckpointError(run.directory.path, "not saved: the model is not finite")
    if not _is_finite(content["optimizer"]):
        raise CheckpointError(run.directory.path, "not saved: the optimizer is not finite")
    return content


def _random_state_to_go_on_from(run: "Run") -> Mapping[str, Any]:
    """Give the random generators as they are; of an epoch without an iteration, as it began.

    What its loader has drawn by then, it draws again.
    """
    ended = run.history.epochs
    over = max(ended[-1].epoch if ended else 0, run.left_epoch)
    if run.trainer.state.epoch > over and run.recorder.steps == 0:
        return run.random_state_of_epoch
    return run.random_state()


def _capture_part(part: "ChosenPart", run: "Run") -> dict[str, Any]:
    return {
        "name": part.name,
        "source": source_of_part(part, run),
        "options": resolved_options(part),
    }


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
        "state": attachment.call("state_dict", plugin.state_dict),
    }


def _is_finite(value: object) -> bool:
    if isinstance(value, Tensor):
        return bool(value.isfinite().all())
    if isinstance(value, Mapping):
        return all(_is_finite(each) for each in value.values())
    if isinstance(value, list | tuple):
        return all(_is_finite(each) for each in value)
    return True


def restore(saved: SavedRun, run: "Run") -> None:
    """Put all parts of a run into the state in which they were saved; the counters are there.

    Raises:
        CheckpointError: what was saved does not fit the run.
        PluginFailedError: a plugin does not take its state back.
    """
    content = saved.content
    try:
        _make_missing_buffers(run.model, content["model"], run.device)
        run.model.load_state_dict(content["model"])
        for buffer in content["buffers"]:
            _restore_buffer(run.model, buffer["names"], buffer["value"].to(run.device))
        for name, parameter in run.model.named_parameters():
            parameter.requires_grad_(name not in content["frozen"])
        if isinstance(run.loss_fn, nn.Module):
            run.loss_fn.load_state_dict(content["loss"])
        load_optimizer_state(run.optimizer, content["optimizer"])
        run.history.load_state_dict(content["history"])
        run.recorder.load_state_dict(content["recorder"], run.device)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # torch says in the first line of several that there is something to say.
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise CheckpointError(saved.path, f"does not fit this run: {reason}") from error
    states = {each["name"]: each["state"] for each in saved.plugins}
    for attachment in run.attachments:
        plugin, state = attachment.plugin, states[attachment.name]
        if state is not None:
            attachment.call("load_state_dict", plugin.load_state_dict, state)
    set_random_state(content["random"], run.loaders["train"])


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
