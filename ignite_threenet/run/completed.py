"""A run that had completed, put together again."""

from contextlib import suppress

from ..storage.checkpoint_file import load_weights
from ..storage.contents import METRICS
from ..training.randomness import keep_random_state
from .assembly import Parts
from .checkpointing import Checkpointer
from .final_model import FINAL_MODEL
from .saved_run import SavedRun


def restore_completed(saved: SavedRun, parts: Parts, checkpointer: Checkpointer) -> None:
    """Give a run the model that it was tested with, and all that it recorded and measured.

    Raises:
        CheckpointError: what was saved does not fit the run.
    """
    with keep_random_state(parts.data.train_loader):
        checkpointer.restore(saved)
    final = saved.directory.path / FINAL_MODEL
    if final.exists():
        # Without what is no tensor: that is as the checkpoint has it.
        parts.model.load_state_dict(load_weights(final), strict=False)
    # Without it the checkpoint's is known, which ends where the training did.
    with suppress(OSError, ValueError, TypeError, KeyError):
        lines = (saved.directory.path / METRICS).read_text(encoding="utf-8").splitlines()
        parts.history.load_lines(lines)
    parts.history.end_training()
    for split, evaluator in parts.evaluators.items():
        measured = parts.history.of_split(split) + [
            each for each in (parts.history.final_test,) if each is not None and each.split == split
        ]
        if measured:
            evaluator.state.metrics = dict(measured[-1].metrics)
