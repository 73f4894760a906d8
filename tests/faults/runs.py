"""A run so small that it takes a fraction of a second, and all that is left of one."""

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from ignite.engine import Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.best import Best
from ignite_threenet_plugins.checkpoint import Checkpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ignite_threenet import CheckpointError, Plugin, Run, RunConfig
from ignite_threenet.storage import checkpoint_file as checkpoint
from ignite_threenet.storage.contents import METRICS, SUMMARY

EPOCHS = 3
LENGTH = 4
_FEATURES, _CLASSES, _BATCH = 12, 3, 8


class Noise(Plugin):
    """Draw from every random generator, and remember it: what a resumed run must not lose."""

    def attach(self, run: Run) -> None:
        self.drawn: list[float] = []
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED, self.draw, run)

    def draw(self, run: Run) -> None:
        noise = random.random() + float(np.random.random()) + torch.rand(()).item()
        self.drawn.append(noise)
        with torch.no_grad():
            next(run.model.parameters()).add_(noise, alpha=1e-4)

    def state_dict(self) -> Mapping[str, Any]:
        return {"drawn": list(self.drawn)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.drawn = list(state["drawn"])


def make_model() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Linear(_FEATURES, 16),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(16, _CLASSES),
            nn.LogSoftmax(dim=1),
        )


def make_loaders(length: int = LENGTH) -> dict[str, Any]:
    """Make loaders of an easy task; that of the training shuffles by a generator of its own."""
    generator = torch.Generator().manual_seed(2)
    # The last batch is smaller.
    labels = torch.randint(_CLASSES, (length * _BATCH - 3,), generator=generator)
    inputs = torch.rand(len(labels), _FEATURES, generator=generator)
    inputs[torch.arange(len(labels)), labels] += 2.0
    shuffled = DataLoader(
        TensorDataset(inputs, labels),
        batch_size=_BATCH,
        shuffle=True,
        generator=torch.Generator().manual_seed(3),
    )
    return {"train": shuffled, "test": [(inputs, labels)]}


def make_plugins() -> list[Plugin]:
    return [Accuracy(every=1), Best(), Checkpoint(seconds=0.0), Noise()]


def make_run(
    out: Path,
    plugins: Iterable[Plugin] | None = None,
    *,
    epochs: int = EPOCHS,
    loaders: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Run:
    return Run(
        RunConfig(epochs=epochs, lr=0.05, momentum=0.9, device="cpu", out=out, force=force),
        make_plugins() if plugins is None else plugins,
        model=make_model(),
        loaders=make_loaders() if loaders is None else loaders,
    )


def resume(
    out: Path,
    plugins: Iterable[Plugin] | None = None,
    *,
    epochs: int | None = None,
    loaders: Mapping[str, Any] | None = None,
) -> Run:
    return Run.resume(
        out,
        epochs=epochs,
        plugins=make_plugins() if plugins is None else plugins,
        model=make_model(),
        loaders=make_loaders() if loaders is None else loaders,
    )


def warm_up(directory: Path) -> None:
    """Have all imported that a run takes, once, and not again in each child."""
    make_run(directory).close()


def checkpoints(out: Path) -> list[Path]:
    """List a run's checkpoints, the newest first."""
    return sorted(out.glob("checkpoint-*.safetensors"), reverse=True)


def newest_good(out: Path) -> dict[str, Any] | None:
    """Read the newest checkpoint that can be read."""
    for path in checkpoints(out):
        try:
            return checkpoint.read(path)
        except CheckpointError:
            continue
    return None


def outcome(out: Path) -> Any:
    """Collect all that a run has left, but for what may differ: times, places, versions."""
    models: dict[str, Any] = {}
    if (out / "best.pt").exists():
        models["best.pt"] = checkpoint.load_weights(out / "best.pt")
        models["best.safetensors"] = safetensors.torch.load_file(out / "best.safetensors")
    summary = _json(out / SUMMARY)
    return without_times(
        {
            "checkpoint": newest_good(out),
            "models": models,
            "metrics": [json.loads(line) for line in (out / METRICS).read_text().splitlines()],
            "summary": summary | {"files": sorted(summary.get("files", []))},
        }
    )


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


_MAY_DIFFER = frozenset({"seconds", "directory", "out", "force", "versions"})


def without_times(value: Any) -> Any:
    """Copy nested values without those that may differ from run to run."""
    if isinstance(value, Mapping):
        return {key: without_times(each) for key, each in value.items() if key not in _MAY_DIFFER}
    if isinstance(value, list | tuple):
        return [without_times(each) for each in value]
    return value


def differences(found: Any, expected: Any, where: str = "") -> Iterator[str]:
    """Name what differs, to the last bit."""
    if isinstance(expected, Tensor):
        same = isinstance(found, Tensor) and found.dtype == expected.dtype
        if not same or not torch.equal(_bits(found), _bits(expected)):
            yield f"{where} differs"
    elif isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in {**expected, **found}:
            place = f"{where}/{key}"
            if key in found and key in expected:
                yield from differences(found[key], expected[key], place)
            else:
                yield f"{place} is {'new' if key in found else 'missing'}"
    elif isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        for index, pair in enumerate(zip(found, expected, strict=True)):
            yield from differences(*pair, f"{where}[{index}]")
    elif repr(found) != repr(expected):
        yield f"{where} is {found!r}, expected {expected!r}"[:300]


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)


def not_finite(value: Any, where: str = "") -> Iterator[str]:
    """Name the tensors with a number that is not finite."""
    if isinstance(value, Tensor):
        if not value.isfinite().all():
            yield f"{where} is not finite"
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from not_finite(each, f"{where}/{key}")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from not_finite(each, f"{where}[{index}]")


# A run's files, of all that may lie in its directory.
_FILES = (
    "manifest.json",
    METRICS,
    SUMMARY,
    "model.safetensors",
    "unfinished.safetensors",
    "best.pt",
    "best.safetensors",
    ".lock",
    ".owner",
)


def strangers(out: Path) -> list[str]:
    """Name what lies in a run's directory and should not."""
    names = sorted(path.name for path in out.iterdir()) if out.exists() else []
    kept = [name for name in names if name in _FILES or name.startswith("checkpoint-")]
    return [f"left {name}" for name in names if name not in kept]
