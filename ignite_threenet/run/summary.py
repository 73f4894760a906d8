"""How a run ended."""

from typing import Any

from ..errors import DivergedError, RunInterruptedError, message_of
from ..options.plain import to_plain
from ..storage.contents import SUMMARY
from ..storage.directory import RunDirectory
from ..text import each_text, redact
from ..training.device import describe_device
from .assembly import Parts
from .attachment import Attachments


def build_summary(
    parts: Parts,
    attachments: Attachments,
    directory: RunDirectory,
    error: BaseException | None,
    seconds: float,
) -> dict[str, Any]:
    """Describe how a run ended.

    Args:
        parts: what the run was put together from.
        attachments: its plugins, which are closed.
        directory: where its files are.
        error: what ended it, or None where it went well.
        seconds: time taken in all.
    """
    final_test = parts.history.final_test
    best = {split: parts.history.best(split) for split in parts.evaluators}
    content = to_plain(
        {
            "status": _status(error),
            "error": message_of(error) if error is not None else None,
            "dataset": parts.data.name,
            "device": describe_device(parts.device),
            "epochs": len(parts.history.epochs),
            "iterations": parts.recorder.iteration,
            "best_accuracy": {
                split: {"accuracy": measurement.metrics["accuracy"], "epoch": measurement.epoch}
                for split, measurement in best.items()
                if measurement is not None
            },
            "test": final_test.metrics if final_test is not None else None,
            "seconds": seconds,
            "directory": directory.path,
            "files": [*directory.existing_files(), SUMMARY],
            "plugins": {each.name: each.summary for each in attachments},
            "detached": {
                each.name: str(each.failure) for each in attachments if each.failure is not None
            },
        }
    )
    # What others say, and what plugins add, may hold what they were given in confidence.
    said = {key: each_text(content[key], redact) for key in ("error", "plugins", "detached")}
    return {**content, **said}


def _status(error: BaseException | None) -> str:
    if error is None:
        return "completed"
    if isinstance(error, RunInterruptedError) or not isinstance(error, Exception):
        return "interrupted"
    return "diverged" if isinstance(error, DivergedError) else "failed"
