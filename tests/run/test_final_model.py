"""Tests of the file with the model that a run ends with, and what its header says."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MakeConfig
from helpers import assert_same_weights, make_run
from ignite.engine import Events
from safetensors.torch import load_file
from torch import nn

from ignite_threenet import DivergedError, Plugin, Run, RunConfig


def header_of(run: Run) -> dict[str, Any]:
    content = (run.directory.path / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    description: dict[str, Any] = json.loads(
        json.loads(content[8 : 8 + length])["__metadata__"]["ignite_threenet"]
    )
    return description


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.directory.path / "model.safetensors")


@pytest.mark.parametrize("plugins", [(), ("best",), ("ema",), ("best", "ema", "checkpoint")])
def test_it_is_the_model_that_was_tested_whatever_the_plugins(plugins: tuple[str, ...]) -> None:
    run = make_run(*plugins)
    run.train()

    assert_same_weights(weights_of(run), run.model.state_dict())


@pytest.mark.usefixtures("small_digits")
def test_its_header_says_what_the_model_was_made_for(make_config: MakeConfig) -> None:
    config = make_config(dataset="digits", epochs=1, normalize="dataset")
    run = Run(config, model_options={"hidden": (20,)})
    run.train()

    header = header_of(run)
    manifest = json.loads((run.directory.path / "manifest.json").read_text())
    assert header["task"] == "classification"
    assert header["input_shape"] == [1, 28, 28]
    assert header["dtype"] == "uint8"
    assert header["scaling"]["mean"] == pytest.approx(0.13, abs=0.05)
    assert header["class_names"] == list("0123456789")
    assert header["model"]["reference"] == "threenet"
    assert header["model"]["options"] == {"hidden": [20]}
    assert {key: manifest["dataset"][key] for key in ("input_shape", "dtype", "scaling")} == {
        key: header[key] for key in ("input_shape", "dtype", "scaling")
    }


def test_of_loaders_of_your_own_nothing_is_known() -> None:
    run = make_run(model=nn.Linear(784, 10))
    run.train()

    header = header_of(run)
    assert header["input_shape"] is None
    assert header["scaling"] is None
    assert header["model"] == {"class": "Linear", "reference": None, "options": {}, "source": None}


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = make_run(out=tmp_path / "first"), make_run(out=tmp_path / "second")
    for run in (first, second):
        run.train()

    name = "model.safetensors"
    assert (first.directory.path / name).read_bytes() == (second.directory.path / name).read_bytes()


class Poison(Plugin):
    """Let the model end with a weight that is not a number."""

    def attach(self, run: Run) -> None:
        run.trainer.add_event_handler(Events.COMPLETED, self.spoil, run)

    @torch.no_grad()
    def spoil(self, run: Run) -> None:
        next(run.model.parameters()).fill_(torch.nan)


def test_a_run_whose_weights_are_not_finite_has_not_gone_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = make_run(Poison())

    with pytest.raises(DivergedError, match=r"^a weight became nan at epoch 3, iteration 12; "):
        run.train()

    assert run.directory.read_summary()["status"] == "diverged"
    assert not (run.directory.path / "model.safetensors").exists()
    assert "unfinished.safetensors: not written: the model is not finite" in caplog.text


def test_an_interrupted_run_has_none_yet() -> None:
    run = make_run()
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda: run.interrupt())

    with pytest.raises(Exception, match="interrupted"):
        run.train()

    assert not (run.directory.path / "model.safetensors").exists()


def test_each_epoch_has_the_learning_rate_of_its_last_step() -> None:
    run = make_run("schedule")
    run.train()

    lines = (run.directory.path / "metrics.jsonl").read_text().splitlines()
    rates = [json.loads(line)["learning_rate"] for line in lines if '"epoch"' in line[:20]]
    assert rates == [record.learning_rate for record in run.history.epochs]
    assert len(set(rates)) == len(rates) == RunConfig(epochs=3).epochs
