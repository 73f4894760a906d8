"""What all measurements share: the data, the device, and how thoroughly to measure."""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ignite_threenet import Dataset, Run, RunConfig, Split, load_data

BATCH_SIZE = 256
LEARNING_RATE = 1e-3

_MNIST_FOLDER = Path("MNIST", "raw")


@dataclass(frozen=True)
class Setting:
    """What is measured on, and how thoroughly.

    Attributes:
        dataset: the samples.
        data_dir: the directory that they were read from.
        work_dir: a directory for what the measured runs write.
        device: where the measured code computes.
        rounds: how often each contender takes its turn.
        epochs_per_run: epochs of each run whose median epoch counts.
        pil_batches: batches of the DataLoader loop, which takes too long for an epoch.
        plugin_epochs: epochs of the run whose plugins are timed.
        memory_epochs: epochs of the runs whose memory is measured.
        recipe: the recipe whose training is measured.
        seeds: how many seeds the recipe is tried with.
    """

    dataset: Dataset
    data_dir: Path
    work_dir: Path
    device: torch.device
    rounds: int = 7
    epochs_per_run: int = 3
    pil_batches: int = 20
    plugin_epochs: int = 60
    memory_epochs: tuple[int, ...] = (10, 60)
    recipe: str = "quick"
    seeds: int = 3

    @cached_property
    def train(self) -> Split:
        """The training set, on the device."""
        return self.dataset.splits["train"].to(self.device)

    @cached_property
    def images(self) -> Tensor:
        """The training images as the network takes them: (N, 784) float32, on the device."""
        shares = self.train.images.flatten(start_dim=1).float().div_(255)
        return shares.sub_(0.5).div_(0.5)

    def timed(self, action: Callable[[], object]) -> float:
        """Give the seconds that an action takes, until the device is done with it."""
        self._synchronize()
        start = time.perf_counter()
        action()
        self._synchronize()
        return time.perf_counter() - start

    def train_run(self, epochs: int, plugins: Iterable[str] = ()) -> tuple[Run, dict[str, Any]]:
        """Make a run on the dataset and let it train; give it with its summary."""
        config = RunConfig(
            dataset=self.dataset.name,
            data_dir=self.data_dir,
            epochs=epochs,
            batch_size=BATCH_SIZE,
            lr=LEARNING_RATE,
            device=str(self.device),
            out=self.new_directory(),
        )
        with contextlib.redirect_stderr(_Screen()):
            run = Run(config, plugins)
            return run, run.train()

    def new_directory(self) -> Path:
        """Make a directory for a run's files."""
        return Path(tempfile.mkdtemp(dir=self.work_dir))

    def _synchronize(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)


def load_dataset(data_dir: Path) -> Dataset:
    """Read MNIST if it is on disk, else the digits, which are drawn if they are not."""
    return load_data("mnist" if (data_dir / _MNIST_FOLDER).is_dir() else "digits", data_dir)


class _Screen(io.StringIO):
    """Takes what a run shows, and is a terminal to it, so that the bars cost what they cost."""

    def isatty(self) -> bool:
        return True
