"""Tests of what a plugin wants to remember: who is to blame if that cannot be saved, and when."""

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from helpers import make_run
from ignite_threenet_plugins.checkpoint import Checkpoint

from ignite_threenet import Plugin, PluginFailedError, Run


class Remembers(Plugin):
    """Gives a state that a test chooses."""

    def attach(self, run: Run) -> None:
        self.state: Any = {}

    def state_dict(self) -> Mapping[str, Any]:
        if isinstance(self.state, Exception):
            raise self.state
        state: Mapping[str, Any] = self.state
        return state


class Shows(Remembers):
    """Is taken out if it fails."""

    on_error = "detach"


STATES: dict[str, tuple[Any, str]] = {
    "a lock": ({"lock": threading.Lock()}, "state_dict(): lock"),
    "a set": ({"deep": {"seen": {1, 2}}}, "state_dict(): deep: seen"),
    "an object": ({"plugin": Remembers()}, "state_dict(): plugin"),
    "no mapping": (7, "TypeError"),
    "an error": (KeyError("count"), "KeyError: 'count'"),
}


@pytest.mark.parametrize(("state", "where"), STATES.values(), ids=STATES)
def test_a_state_that_cannot_be_saved_is_its_plugins_fault_before_anything_is_trained(
    state: Any, where: str
) -> None:
    plugin = Remembers()
    run = make_run(plugin, Checkpoint(seconds=0))
    plugin.state = state

    with pytest.raises(PluginFailedError) as raised:
        run.train()

    message = str(raised.value)
    assert message.startswith("plugin 'remembers' failed at state_dict, epoch 0: ")
    assert where.partition(": ")[2] in message
    assert run.history.epochs == []


def test_one_that_only_shows_something_is_taken_out() -> None:
    plugin = Shows()
    run = make_run(plugin, Checkpoint(seconds=0))
    plugin.state = {"lock": threading.Lock()}

    summary = run.train()

    assert summary["status"] == "completed"
    assert list(summary["detached"]) == ["shows"]
