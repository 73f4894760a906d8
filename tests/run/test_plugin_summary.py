"""Tests of what plugins add to the summary: whatever it is, the run's own end is not lost."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers import make_run

from ignite_threenet import Plugin, PluginFailedError


class Unshowable:
    def __repr__(self) -> str:
        raise ValueError("cannot be shown")


class MuteError(Exception):
    """An error whose message is an error."""

    def __str__(self) -> str:
        raise ValueError("cannot be told")


class Lazy(Mapping[str, int]):
    """A mapping that fails when it is read."""

    def __getitem__(self, key: str) -> int:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise OSError("unplugged")

    def __len__(self) -> int:
        return 1


def raise_mute() -> Any:
    raise MuteError


def make_circle() -> dict[str, Any]:
    circle: dict[str, Any] = {}
    circle["inner"] = [circle]
    return circle


def make_tower() -> dict[str, Any]:
    tower: dict[str, Any] = {}
    for _ in range(5000):
        tower = {"inner": tower}
    return tower


class Says(Plugin):
    """Adds what a test wants to the summary."""

    def __post_init__(self) -> None:
        self.make: Callable[[], Any] = dict

    @classmethod
    def of(cls, make: Callable[[], Any]) -> "Says":
        plugin = cls()
        plugin.make = make
        return plugin

    def summary(self) -> Any:
        return self.make()


class Shows(Says):
    """The same, of a plugin that only shows something."""

    on_error = "detach"


class Breaks(Plugin):
    """Ends the run by an error."""

    def close(self, error: BaseException | None) -> None:
        raise OSError("the real one")


BAD = {
    "a circle": (make_circle, "ValueError: summary(): inner[0]: holds itself"),
    "a tower": (make_tower, "more than 100 values inside one another"),
    "a huge number": (lambda: {"n": 10**5000}, "ValueError: summary(): n: cannot be written"),
    "an object that cannot be shown": (lambda: {"x": Unshowable()}, "ValueError: cannot be shown"),
    "a key that cannot be shown": (lambda: {Unshowable(): 1}, "ValueError: cannot be shown"),
    "a lazy mapping": (Lazy, "OSError: unplugged"),
    "a list": (lambda: [1], "TypeError: summary() gave a list; expected a mapping"),
    "a number": (lambda: 5, "TypeError: summary() gave a int; expected a mapping"),
    "an error without a message": (raise_mute, "MuteError: (its message cannot be shown)"),
}
GOOD = {
    "nothing": (lambda: None, {}),
    "a set": (lambda: {"x": {2, 1}}, {"x": [1, 2]}),
    "numbers as keys": (lambda: {float("nan"): 1, 2: (3,)}, {"nan": 1, "2": [3]}),
    "bytes": (lambda: {"x": b"y"}, {"x": "b'y'"}),
    "no numbers": (lambda: {"x": [float("inf"), float("nan")]}, {"x": [None, None]}),
    "a path": (lambda: {"x": Path("y")}, {"x": "y"}),
    "the same twice": (lambda: {"x": [[each := [1], each]]}, {"x": [[[1], [1]]]}),
}


def read_summary() -> Any:
    return json.loads(Path("run", "summary.json").read_text())


@pytest.mark.parametrize("what", GOOD)
def test_what_json_can_take_is_in_the_summary(what: str) -> None:
    make, expected = GOOD[what]

    make_run(Says.of(make)).train()

    assert read_summary()["plugins"]["says"] == expected


@pytest.mark.parametrize("what", BAD)
def test_what_json_cannot_take_is_blamed_on_the_plugin(what: str) -> None:
    make, reason = BAD[what]

    with pytest.raises(PluginFailedError) as caught:
        make_run(Says.of(make)).train()

    assert str(caught.value).startswith("plugin 'says' failed at summary, epoch 3: ")
    assert reason in str(caught.value)
    summary = read_summary()
    assert (summary["status"], summary["plugins"]["says"]) == ("failed", {})
    assert summary["error"] == str(caught.value)


@pytest.mark.parametrize("what", BAD)
def test_a_plugin_that_only_shows_something_is_detached_by_what_it_gives(what: str) -> None:
    make, reason = BAD[what]

    make_run(Shows.of(make)).train()

    summary = read_summary()
    assert (summary["status"], summary["plugins"]["shows"]) == ("completed", {})
    assert reason in summary["detached"]["shows"]


@pytest.mark.parametrize("what", BAD)
def test_the_real_error_is_not_hidden(what: str) -> None:
    # Closed in reverse order.
    with pytest.raises(PluginFailedError, match="the real one"):
        make_run(Says.of(BAD[what][0]), Breaks()).train()

    assert "the real one" in read_summary()["error"]


@pytest.mark.parametrize("what", BAD)
def test_the_directory_is_given_free(what: str) -> None:
    with pytest.raises(PluginFailedError):
        make_run(Says.of(BAD[what][0])).train()

    assert not Path("run", ".owner").exists()
    assert make_run(force=True).train()["status"] == "completed"


@pytest.mark.parametrize("where", ["attach", "close", "summary"])
def test_a_plugin_that_is_detached_is_named_with_the_place_and_the_reason(where: str) -> None:
    def fail(plugin: Plugin, *args: object) -> None:
        raise OSError("unplugged")

    faulty = type("Faulty", (Plugin,), {"on_error": "detach", where: fail})

    make_run(faulty()).train()

    epoch = 0 if where == "attach" else 3
    assert read_summary()["detached"] == {
        "faulty": f"plugin 'faulty' failed at {where}, epoch {epoch}: OSError: unplugged"
    }
