"""Tests of what a checkpoint must hold: whatever is changed in it ends in one line."""

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import last_checkpoint, make_run, train_until
from ignite.engine import Events
from ignite_threenet_plugins.checkpoint import Checkpoint
from torch import Tensor

from ignite_threenet import CheckpointError, ConfigError, PluginFailedError, Run
from ignite_threenet.run.saved_structure import MisfitError, check_structure
from ignite_threenet.storage import checkpoint_file as checkpoint
from ignite_threenet.testing import tiny_loaders

SUBSTITUTES: list[Any] = [
    *(None, True, -1, 0, 2**70, float("nan"), "", "text", [], [1], {}, {"a": 1}, torch.zeros(2)),
]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Read the checkpoint of a run that was stopped in mid-epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("saved"))
        run = make_run("accuracy", "best", Checkpoint(seconds=0), epochs=4)
        train_until(run, Events.ITERATION_COMPLETED(once=6))
        return last_checkpoint(run.directory.path)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Walk over everything in a value, the outer before the inner."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from places(each, (*path, key))
    elif isinstance(value, list | tuple) and len(value) < 100:
        for index, each in enumerate(value):
            yield from places(each, (*path, index))


def replaced(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Copy the containers on a path, with another value at its end."""
    if not path:
        return value
    changed = list(content) if isinstance(content, list | tuple) else dict(content)
    changed[path[0]] = replaced(content[path[0]], path[1:], value)
    return changed


def test_what_a_run_saves_is_accepted(content: dict[str, Any]) -> None:
    check_structure(content)


# What stands in these is read by others, who say what does not fit.
FREE = {"config", "model", "loss", "optimizer", "options", "state", "versions", "kinds", "sha256"}
FREE |= {"metrics"}


def test_every_leaf_of_another_kind_is_refused(content: dict[str, Any]) -> None:
    tried = 0
    for path in places(content):
        if FREE & {*path}:
            continue
        before = content
        for key in path:
            before = before[key]
        for value in (object(), [object()], {"another": [{}]}):
            tried += 1
            with pytest.raises(MisfitError):
                check_structure(replaced(content, path, value))
    assert tried > 200


def test_every_name_is_needed(content: dict[str, Any]) -> None:
    for path in places(content):
        if isinstance(path[-1], str) and not FREE & {*path[:-1]} and len(path) != 2:
            outer = content
            for key in path[:-1]:
                outer = outer[key]
            without = {key: each for key, each in outer.items() if key != path[-1]}
            with pytest.raises(MisfitError):
                check_structure(replaced(content, path[:-1], without))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("epoch",), -1, "has epoch -1; expected an integer at least 0"),
        (("ended",), "soon", "has ended 'soon'; expected False, True, 'skip_completed'"),
        (("history", "epochs", 0, "loss"), "low", "has history.epochs[0].loss 'low'; expected flo"),
        (("random", "python", 1), [1], "has random.python[1] list; expected a list of 625"),
        (("plugins", 0), {}, "has plugins[0] dict; expected values by the names name, use, "),
        (("history", "order"), [], "has 1 records of the kind epoch, and 0 in their order"),
    ],
    ids=str,
)
def test_the_message_says_where_and_what(
    content: dict[str, Any], path: tuple[Any, ...], value: Any, message: str
) -> None:
    with pytest.raises(MisfitError) as raised:
        check_structure(replaced(content, path, value))

    assert str(raised.value).startswith(message)


def test_a_thousand_changed_checkpoints_end_in_one_line_or_go_on(
    content: dict[str, Any], tmp_path: Path
) -> None:
    dice = random.Random(5)
    everywhere = list(places(content))
    run = make_run("accuracy", "best", Checkpoint(seconds=0), epochs=4)
    train_until(run, Events.ITERATION_COMPLETED(once=6))
    path = next(iter(run.directory.checkpoints()))
    manifest = Path("run/manifest.json").read_bytes()
    for _ in range(100):
        changed = copy.deepcopy(content)
        for _ in range(10):
            place = dice.choice(everywhere)
            value = dice.choice(SUBSTITUTES)
            try:
                changed = replaced(changed, place, value)
            except (IndexError, KeyError, TypeError, ValueError):
                continue  # what is no longer there
            if dice.random() < 0.5:
                break
        if not isinstance(changed, dict):
            continue
        path.write_bytes(checkpoint.encode(changed))
        Path("run/manifest.json").write_bytes(manifest)
        try:
            Run.resume("run", loaders=tiny_loaders()).train()
        except (CheckpointError, ConfigError, PluginFailedError) as error:
            assert "\n" not in str(error)  # noqa: PT017
        for other in Path("run").glob("checkpoint-*"):
            other.unlink()


def test_tensors_are_the_only_objects(content: dict[str, Any]) -> None:
    kinds = {type(_at(content, path)) for path in places(content)}

    assert kinds <= {dict, list, tuple, str, int, float, bool, type(None), Tensor}


def _at(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        content = content[key]
    return content
