"""What takes processes of its own to be measured: start, memory, and whole commands."""

import json
import math
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .setting import Setting
from .tables import Row, Table, take_turns

_HERE = Path(__file__).parent
_COMMAND = (sys.executable, "-m", "ignite_threenet")
_IMPORT_TORCH = (sys.executable, "-c", "import torch")
_BYTES_OF_A_FLOAT = 4


def measure_start(setting: Setting) -> Table:
    """Measure how long one waits for help, and for the first training step."""

    def reach_first_step() -> float:
        options = run_options(setting, epochs=1)
        return _seconds([sys.executable, str(_HERE / "first_step.py"), "run", *options])

    seconds = take_turns(
        {
            "import torch": partial(_seconds, _IMPORT_TORCH),
            "ignite-threenet --help": partial(_seconds, [*_COMMAND, "--help"]),
            "ignite-threenet run, to the first step": reach_first_step,
        },
        setting.rounds,
    )
    return Table(
        name="start",
        title="seconds from the command on",
        rows=[Row(label, values) for label, values in seconds.items()],
        baseline="import torch",
    )


def measure_memory(setting: Setting) -> Table:
    """Measure the peak of resident memory, and whether it grows with the epochs."""
    of_torch = peak_megabytes(_IMPORT_TORCH)
    of_images = _BYTES_OF_A_FLOAT * setting.dataset.splits["train"].images.numel() / 1e6
    least = "torch + images: that, and the training images as float32"
    of_runs = [
        Row(f"run of {epochs} epochs", [peak_megabytes(_run_command(setting, epochs))], "MB")
        for epochs in setting.memory_epochs
    ]
    return Table(
        name="memory",
        title="peak of resident memory, 1 MB = 1,000,000 bytes; measured once",
        rows=[
            Row("import torch", [of_torch], "MB"),
            Row(least, [of_torch + of_images], "MB", note="computed"),
            *of_runs,
        ],
        baseline=least,
    )


def measure_recipe(setting: Setting) -> Table:
    """Measure a recipe, as a user runs it, with several seeds."""
    summaries = [_run_recipe(setting, seed) for seed in range(setting.seeds)]
    accuracies = [100 * summary["test"]["accuracy"] for summary in summaries]
    mean = statistics.mean(accuracies)
    return Table(
        name="recipe",
        title=f"recipe {setting.recipe}, {setting.seeds} seeds",
        rows=[
            Row("training", [_training_seconds(summary) for summary in summaries]),
            Row("whole command", [summary["command_seconds"] for summary in summaries]),
            Row("test accuracy", accuracies, "%", note=f"mean {mean:.3f} %"),
        ],
    )


def run_options(setting: Setting, *more: str, epochs: int | None = None) -> list[str]:
    """Spell the options of a run on the setting's data, into a new directory."""
    data = ["--dataset", setting.dataset.name, "--data-dir", str(setting.data_dir)]
    place = ["--device", str(setting.device), "--out", str(setting.new_directory())]
    length = ["--epochs", str(epochs)] if epochs is not None else []
    return [*data, *place, *length, *more]


def peak_megabytes(command: Sequence[str]) -> float:
    """Run a command, and give the peak of its resident memory."""
    launched = _run([sys.executable, str(_HERE / "launcher.py"), *command])
    return int(launched) / 1e6


def _run_command(setting: Setting, epochs: int) -> list[str]:
    return [*_COMMAND, "run", *run_options(setting, epochs=epochs)]


def _run_recipe(setting: Setting, seed: int) -> dict[str, Any]:
    """Run the recipe; give its summary, with the seconds of the whole command."""
    options = run_options(setting, "--recipe", setting.recipe, "--seed", str(seed), "--json")
    start = time.perf_counter()
    printed = _run([*_COMMAND, "run", *options])
    summary: dict[str, Any] = json.loads(printed)
    return summary | {"command_seconds": time.perf_counter() - start}


def _training_seconds(summary: dict[str, Any]) -> float:
    lines = Path(summary["directory"], "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = map(json.loads, lines)
    return math.fsum(record["seconds"] for record in records if record["record"] == "epoch")


def _seconds(command: Sequence[str]) -> float:
    start = time.perf_counter()
    _run(command)
    return time.perf_counter() - start


def _run(command: Sequence[str]) -> str:
    """Run a command, and give what it prints; show what it complained of where it fails."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode != 0:
        raise RuntimeError(f"failed: {shlex.join(command)}\n{result.stderr}")
    return result.stdout
