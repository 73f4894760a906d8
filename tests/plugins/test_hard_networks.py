"""Tests of the plugins with networks that cannot be copied, or hold more than tensors."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import make_run
from ignite.engine import Events
from ignite_threenet_plugins.checkpoint import Checkpoint
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ignite_threenet import Run, load_weights
from ignite_threenet.testing import tiny_loaders

PLUGINS = ["accuracy", "best", "ema", "lr-finder"]


class Locked(nn.Module):
    """Holds what nothing can copy."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.linear = nn.Linear(784, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        with self.lock:
            outputs: Tensor = self.linear(inputs)
            return outputs


class Counted(Locked):
    """Has state that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.batches += self.training
        return super().forward(inputs)

    def get_extra_state(self) -> dict[str, Any]:
        return {"batches": self.batches, "names": ["a", "b"]}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.batches = state["batches"]


def hooked() -> nn.Module:
    model, lock = Locked(), threading.Lock()

    def look(module: nn.Module, inputs: Any, outputs: Tensor) -> None:
        with lock:
            assert outputs.shape[1] == 10

    model.linear.register_forward_hook(look)
    return model


def with_weight_norm() -> nn.Module:
    with pytest.warns(FutureWarning, match="weight_norm"):
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(784, 10)))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lock": Locked,
    "extra state": Counted,
    "hook": hooked,
    "weight norm of old": with_weight_norm,
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(784, 10)),
    "spectral norm of old": lambda: nn.utils.spectral_norm(nn.Linear(784, 10)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(784, 10)),
}


def make(name: str, out: str, epochs: int = 4) -> Run:
    torch.manual_seed(3)
    model = NETWORKS[name]()
    plugins = [*PLUGINS, Checkpoint()]
    return make_run(*plugins, model=model, loaders=tiny_loaders(), epochs=epochs, out=Path(out))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_plugin_works_and_a_stopped_run_goes_on(name: str) -> None:
    whole, stopped = make(name, "whole"), make(name, "stopped")
    stopped.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=6), stopped.interrupt)

    assert whole.train()["status"] == "completed"
    with pytest.raises(Exception, match="interrupted"):
        stopped.train()
    torch.manual_seed(9)
    resumed = Run.resume(
        Path("stopped"),
        plugins=[*PLUGINS, Checkpoint()],
        model=NETWORKS[name](),
        loaders=tiny_loaders(),
    )
    resumed.train()

    state, expected = resumed.model.state_dict(), whole.model.state_dict()
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(state[key], value) if isinstance(value, Tensor) else state[key] == value
    assert load_weights("whole/best.safetensors").keys() <= expected.keys()
