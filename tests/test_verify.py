"""Tests of the comparison of a resumed run with one that was never stopped."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events

from ignite_threenet import Plugin, Run, RunConfig
from ignite_threenet.verify import verify_resume

pytestmark = pytest.mark.usefixtures("small_digits")


class Counter(Plugin):
    """Counts the iterations, and remembers its count."""

    def attach(self, run: Run) -> None:
        self.count = 0
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED, self.advance)

    def advance(self) -> None:
        self.count += 1

    def state_dict(self) -> Mapping[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


class Forgetful(Counter):
    """Counts the iterations, and forgets its count."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


class Disturbing(Counter):
    """Changes a weight by a count that it forgets."""

    def attach(self, run: Run) -> None:
        super().attach(run)
        self._run = run
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.disturb)

    def state_dict(self) -> Mapping[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass

    @torch.no_grad()
    def disturb(self, trainer: Engine) -> None:
        for parameter in self._run.model.parameters():
            parameter.add_(0.001 * self.count)


def differences_with(*plugins: type[Plugin], epochs: int = 3) -> dict[str, list[str]]:
    config = RunConfig(dataset="digits", epochs=epochs, batch_size=128)
    return verify_resume(config, lambda: [plugin() for plugin in plugins])


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_nothing_differs_where_plugins_remember(epochs: int) -> None:
    assert differences_with(Counter, epochs=epochs) == {
        "model": [],
        "optimizer": [],
        "history": [],
        "plugin counter": [],
    }


def test_a_plugin_that_forgets_is_named_with_the_values_that_differ() -> None:
    differences = differences_with(Forgetful)

    assert differences.pop("plugin forgetful") == ["count: 12 and 6"]
    assert not any(differences.values())


def test_a_plugin_that_changes_the_training_by_what_it_forgets_shows_in_the_model() -> None:
    differences = differences_with(Disturbing)

    assert differences["model"][0].startswith("layers.0.bias: tensors (200,) that differ by up to")
    assert any(place.startswith("epochs[") for place in differences["history"])
