"""What several test modules share."""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from ignite_threenet import RunConfig
from ignite_threenet.data import download as sources
from ignite_threenet.data.idx import TRAIN_IMAGES
from ignite_threenet.testing import tiny_loaders
from ignite_threenet.testing.fixtures import InstallDistribution, install_distribution, run_cli

__all__ = ["InstallDistribution", "install_distribution", "run_cli"]

# Each core has a process of tests already, and the programs that these start.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

Batches = list[tuple[Tensor, Tensor]]
MakeBatches = Callable[..., Batches]
MakeConfig = Callable[..., RunConfig]


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever a test writes without saying where land in its own directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _own_random_state() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Take back what the command line does to the loggers."""
    loggers = [logging.getLogger(name) for name in (None, "ignite", "ignite_threenet")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no disk."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def without_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Capture and differentiate as ever, but spare the tests the making of machine code."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


def written_modules() -> list[str]:
    """Name the imported modules that tests have written: files, and distributions of acme's."""
    prefixes = ("acme", "ignite_threenet_file_")
    return sorted(name for name in sys.modules if name.startswith(prefixes))


@pytest.fixture
def forget_written_modules() -> Iterator[None]:
    """Import nothing that another test has written, and leave nothing to the next one."""

    def forget() -> None:
        for name in written_modules():
            del sys.modules[name]

    forget()
    yield
    forget()


@pytest.fixture
def make_batches() -> MakeBatches:
    """Make batches of the easy task of tiny_loaders(), as many of whatever size."""

    def make(count: int = 4, batch_size: int = 16, seed: int = 0) -> Batches:
        return tiny_loaders(count, batch_size, seed)["train"]

    return make


@pytest.fixture
def make_config(tmp_path: Path) -> MakeConfig:
    """Make the configuration of a short run in the test's own directory."""

    def make(**options: object) -> RunConfig:
        defaults: dict[str, object] = {"epochs": 3, "lr": 0.1, "out": tmp_path / "run"}
        return RunConfig(**(defaults | options))  # type: ignore[arg-type]

    return make


class Clock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def take(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    manual = Clock()
    monkeypatch.setattr("time.perf_counter", lambda: manual.now)
    return manual


@pytest.fixture
def small_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw few digits, where a test needs a named dataset and not a good one."""
    monkeypatch.setattr(sources, "_DIGITS_TRAIN", 512)
    monkeypatch.setattr(sources, "_DIGITS_TEST", 128)


def write_files(page: str) -> None:
    """Write the files that a page of the documentation shows."""
    for name, source in re.findall(r"```python file=(\S+)\n(.*?)```", page, flags=re.DOTALL):
        Path(name).write_text(source)


@pytest.fixture
def own_components() -> None:
    """Write the networks and datasets that the documentation shows: net.py, pets/ and others."""
    page = Path(__file__).parents[1] / "docs" / "models-and-datasets.md"
    write_files(page.read_text(encoding="utf-8"))
    for name, color in (("cat", "orange"), ("dog", "brown")):
        for number in range(10):
            path = Path("pets", name, f"{number}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), color).save(path)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every server be out of reach."""
    monkeypatch.setattr(sources, "_any_reachable", lambda urls: False)


@pytest.fixture
def mnist_dir() -> Path:
    """Find the real MNIST; skip where it is not on disk."""
    root = Path(__file__).parents[1]
    for directory in (root / "data", root.parent / "shared" / "data"):
        if (directory / "MNIST" / "raw" / TRAIN_IMAGES).is_file():
            return directory
    pytest.skip("the real MNIST is not on disk (looked in data/ and ../shared/data/)")
