"""The model that a run ends with: its weights, and all that is needed to use them."""

import json
import logging
from typing import Any

import safetensors.torch

from ..options.plain import to_plain
from ..storage.checkpoint_file import copy_weights
from ..storage.directory import RunDirectory
from .assembly import Parts
from .checkpointing import is_finite
from .compatibility import source_of_component
from .manifest import describe_samples

logger = logging.getLogger("ignite_threenet")
FINAL_MODEL = "model.safetensors"
UNFINISHED_MODEL = "unfinished.safetensors"
METADATA_KEY = "ignite_threenet"
"""The key of the header under which the description of the model is, as JSON."""


def write_final_model(directory: RunDirectory, parts: Parts) -> None:
    """Write the weights as they were tested, with what the model was made for in the header."""
    _write_model(directory, parts, FINAL_MODEL)
    directory.remove(UNFINISHED_MODEL)


def write_unfinished_model(directory: RunDirectory, parts: Parts) -> None:
    """Write the weights of a run that an error has ended, unless a checkpoint has them.

    They may stand in the midst of an epoch, so that no run can go on from them to the last bit.
    """
    iteration = parts.recorder.iteration
    if iteration == 0 or directory.last_saved_iteration() == iteration:
        return
    try:
        if _write_model(directory, parts, UNFINISHED_MODEL):
            logger.info("the weights after iteration %d are in %s", iteration, UNFINISHED_MODEL)
    except OSError as error:
        logger.error("%s cannot be written: %s", UNFINISHED_MODEL, error)


def _write_model(directory: RunDirectory, parts: Parts, name: str) -> bool:
    if not is_finite(parts.model):
        logger.warning("%s: not written: the model is not finite", name)
        return False
    description = json.dumps(to_plain(describe_model(parts)), sort_keys=True)
    # One key alone: safetensors writes several in any order, and equal models would differ.
    weights = copy_weights(parts.model)
    directory.write(name, safetensors.torch.save(weights, {METADATA_KEY: description}))
    return True


def describe_model(parts: Parts) -> dict[str, Any]:
    """Say how the model is made anew, and what it takes and gives."""
    component = parts.components.get("model")
    reference = parts.config.model if component is not None else None
    return {
        "task": "classification",
        **describe_samples(parts.data),
        "class_names": list(parts.data.class_names),
        "iterations": parts.recorder.iteration,
        "model": {
            "class": type(parts.model).__name__,
            "reference": reference,
            "options": component.plain_options if component is not None else {},
            "source": source_of_component(component, str(reference))
            if component is not None
            else None,
        },
    }
