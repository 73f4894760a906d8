"""Tests of what every built-in plugin promises; what each of them does is tested by itself."""

import random
import threading
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import ignite_threenet_plugins
import numpy as np
import pytest
import torch
from helpers import collect_figures, keep_mlflow_here, make_run

from ignite_threenet import Plugin
from ignite_threenet.extensions.plugin import ENTRY_POINT_GROUP
from ignite_threenet.testing import assert_contract, assert_observes_only, assert_resumes

PLUGINS: dict[str, type[Plugin]] = {
    each.name: each.load()
    for each in distribution("ignite-threenet").entry_points.select(group=ENTRY_POINT_GROUP)
}
OBSERVERS = [name for name, cls in PLUGINS.items() if not cls.changes_training]

CHANGES_TRAINING = {"augment", "early-stop", "ema", "schedule"}
ONLY_SHOWS = {"confusion", "csv", "mlflow", "plot", "progress", "tensorboard", "timing"}

# The package that an extra brings, by the plugin that it is named after.
EXTRAS = {"mlflow": "mlflow", "tensorboard": "tensorboard"}

# What lets a plugin do something in each of a few short epochs.
OPTIONS: dict[str, dict[str, Any]] = {
    "accuracy": {"every": 1},
    "checkpoint": {"seconds": 0.0},
    "confusion": {"worst": 3},
    "csv": {"every": 1},
    "lr-finder": {"iterations": 20},
    "plot": {"every": 1},
    "progress": {"interval_s": 0.0},
}


@pytest.fixture
def options(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give what a plugin is made with; skip where its extra is not installed."""
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name], reason=f"the extra {name!r} is not installed")
    keep_mlflow_here(monkeypatch)
    collect_figures(monkeypatch)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    return OPTIONS.get(name, {})


def test_every_file_is_installed_as_a_plugin() -> None:
    files = Path(ignite_threenet_plugins.__path__[0]).glob("[!_]*.py")

    modules = {cls.__module__ for cls in PLUGINS.values()}
    assert modules == {f"ignite_threenet_plugins.{path.stem}" for path in files}


def test_these_say_that_they_change_the_training() -> None:
    assert PLUGINS.keys() - set(OBSERVERS) == CHANGES_TRAINING


def test_without_these_a_run_can_go_on() -> None:
    assert {name for name, cls in PLUGINS.items() if cls.on_error == "detach"} == ONLY_SHOWS


@pytest.mark.parametrize("name", PLUGINS)
def test_the_contract_is_kept(name: str, options: dict[str, Any]) -> None:
    assert_contract(PLUGINS[name], **options)


@pytest.mark.parametrize("name", PLUGINS)
def test_a_resumed_run_ends_as_one_never_stopped(name: str, options: dict[str, Any]) -> None:
    assert_resumes(lambda: PLUGINS[name](**options))


@pytest.mark.parametrize("name", PLUGINS)
def test_a_run_that_does_not_train_leaves_nothing(name: str, options: dict[str, Any]) -> None:
    plugin = PLUGINS[name](**options)
    make_run(plugin)

    # Not by the run, which says nothing of an error where there was no training.
    plugin.close(None)

    assert plugin.summary() == {}
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("name", PLUGINS)
def test_nothing_is_left_running(name: str, options: dict[str, Any]) -> None:
    before = set(threading.enumerate())

    make_run(PLUGINS[name](**options)).train()

    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("name", OBSERVERS)
def test_an_observer_changes_no_weight(name: str, options: dict[str, Any]) -> None:
    assert_observes_only(lambda: PLUGINS[name](**options))


@pytest.mark.parametrize("name", OBSERVERS)
def test_an_observer_draws_no_random_number(name: str, options: dict[str, Any]) -> None:
    def draw_after(*plugins: Plugin, out: str) -> tuple[float, ...]:
        make_run(*plugins, out=Path(out)).train()
        return random.random(), np.random.random(), torch.rand(()).item()

    assert draw_after(PLUGINS[name](**options), out="with") == draw_after(out="without")
