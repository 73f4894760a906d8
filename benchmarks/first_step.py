"""The command line, which leaves after its first training step; run as a file by processes.py."""

import os
from typing import Any

import torch
from ignite.engine import Events

from ignite_threenet import Run
from ignite_threenet.cli.main import main

_train = Run.train


def train_one_step(run: Run) -> dict[str, Any]:
    """Train as the run does, and let an observer end the process."""
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED, leave, run.device)
    return _train(run)


def leave(device: torch.device) -> None:
    """End the process at once, with success, when the device is done with the step."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    os._exit(0)


if __name__ == "__main__":
    Run.train = train_one_step  # type: ignore[assignment,method-assign]
    main()
