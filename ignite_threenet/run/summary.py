"""How a run ended."""

from typing import TYPE_CHECKING, Any

from ..errors import DivergedError, RunInterruptedError
from ..options.plain import plain
from ..storage.directory import SUMMARY
from ..training.device import describe_device

if TYPE_CHECKING:
    from .run import Run


def build_summary(run: "Run", error: BaseException | None, seconds: float) -> dict[str, Any]:
    """Describe how a run ended.

    Args:
        run: the run, its plugins closed.
        error: what ended it, or None where it went well.
        seconds: time taken in all.
    """
    final_test = run.history.final_test
    best = {split: run.history.best(split) for split in run.evaluators}
    return plain(  # type: ignore[no-any-return]
        {
            "status": _status(error),
            "error": str(error) or type(error).__name__ if error is not None else None,
            "dataset": run.dataset_name,
            "device": describe_device(run.device),
            "epochs": len(run.history.epochs),
            "iterations": run.recorder.iteration,
            "best_accuracy": {
                split: {"accuracy": measurement.metrics["accuracy"], "epoch": measurement.epoch}
                for split, measurement in best.items()
                if measurement is not None
            },
            "test": final_test.metrics if final_test is not None else None,
            "seconds": seconds,
            "directory": run.directory.path,
            "files": [name for name in run.directory.files if (run.directory.path / name).exists()]
            + [SUMMARY],
            "plugins": {each.name: each.summary for each in run.attachments},
            "detached": {
                each.name: str(each.failure) for each in run.attachments if each.failure is not None
            },
        }
    )


def _status(error: BaseException | None) -> str:
    if error is None:
        return "completed"
    if isinstance(error, RunInterruptedError) or not isinstance(error, Exception):
        return "interrupted"
    return "diverged" if isinstance(error, DivergedError) else "failed"
