"""Tests of the plugin `plot`."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pytest
import torch
from conftest import MakeBatches, MakeConfig
from ignite.engine import Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.checkpoint import Checkpoint
from ignite_threenet_plugins.plot import Plot
from matplotlib.figure import Figure

from ignite_threenet import DivergedError, OptionError, PluginFailedError, Run, RunInterruptedError

MakeRun = Callable[..., Run]


@dataclass(frozen=True)
class Picture:
    """What a picture shows."""

    title: str
    x_label: str
    y_label: str
    curves: dict[str, tuple[list[float], list[float]]]


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> list[Picture]:
    """Collect the pictures instead of rendering them."""
    drawn: list[Picture] = []

    def collect(figure: Figure, file: IO[bytes], **options: object) -> None:
        (axes,) = figure.axes
        curves = {
            str(line.get_label()): (
                np.asarray(line.get_xdata()).tolist(),
                np.asarray(line.get_ydata()).tolist(),
            )
            for line in axes.get_lines()
        }
        drawn.append(Picture(axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), curves))

    monkeypatch.setattr(Figure, "savefig", collect)
    return drawn


@pytest.fixture
def make_run(make_batches: MakeBatches, make_config: MakeConfig) -> MakeRun:
    def make(*plugins: Any, **options: Any) -> Run:
        loaders = {"train": make_batches(), "test": make_batches(count=2, seed=1)}
        return Run(make_config(**options), plugins, loaders=loaders)

    return make


def written(run: Run) -> set[str]:
    """Name the files of the run that are pictures."""
    return {path.name for path in run.directory.path.iterdir() if path.suffix[1:] in MAGIC}


def interrupt() -> None:
    raise KeyboardInterrupt


MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_writes_a_picture_of_each_format(make_run: MakeRun, format: Any) -> None:
    run = make_run(Accuracy(), Plot(format=format))
    summary = run.train()

    assert written(run) == {f"loss.{format}", f"accuracy.{format}"}
    for name in written(run):
        assert (run.directory.path / name).read_bytes().startswith(MAGIC[format])
        assert name in summary["files"]


@pytest.mark.parametrize("option", [{"format": "gif"}, {"every": -1}])
def test_refuses_options_out_of_range(option: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Plot(**option)


def test_the_loss_is_drawn_for_each_epoch(make_run: MakeRun, pictures: list[Picture]) -> None:
    run = make_run(Plot())
    run.train()

    (picture,) = pictures
    epochs = run.history.epochs
    assert (picture.x_label, picture.y_label) == ("epoch", "training loss (nats per sample)")
    assert picture.curves == {
        "last batch": ([1, 2, 3], [epoch.last_loss for epoch in epochs]),
        "mean of the epoch": ([1, 2, 3], [epoch.loss for epoch in epochs]),
    }


def test_the_title_of_the_loss_says_the_lowest_and_when(
    make_run: MakeRun, pictures: list[Picture]
) -> None:
    run = make_run(Plot())
    run.train()

    lowest = min(run.history.epochs, key=lambda epoch: epoch.loss)
    assert pictures[0].title == (
        f"custom: lowest mean loss {lowest.loss:.4g} at epoch {lowest.epoch}"
    )


def test_the_accuracy_is_drawn_in_percent_for_each_measurement(
    make_run: MakeRun, pictures: list[Picture]
) -> None:
    run = make_run(Accuracy(every=2), Plot())
    run.train()

    picture = pictures[1]
    percents = [100 * each.metrics["accuracy"] for each in run.history.of_split("train")]
    assert (picture.x_label, picture.y_label) == ("epoch", "accuracy (% of samples)")
    assert picture.curves == {"train": ([2, 3], percents)}


def test_the_title_of_the_accuracy_says_the_best_of_each_split(
    make_run: MakeRun, pictures: list[Picture]
) -> None:
    run = make_run(Accuracy(every=1), Plot())
    run.trainer.add_event_handler(Events.EPOCH_STARTED(once=3), lambda: run.evaluate("test"))
    run.train()

    train, test = run.history.best("train"), run.history.best("test")
    assert train is not None
    assert test is not None
    assert list(pictures[1].curves) == ["train", "test"]
    assert pictures[1].title == (
        f"custom: best accuracy on train {train.metrics['accuracy']:.3%} at epoch {train.epoch}, "
        f"test {test.metrics['accuracy']:.3%} at epoch 3"
    )


def test_no_accuracy_is_drawn_where_none_was_measured(
    make_run: MakeRun, pictures: list[Picture]
) -> None:
    run = make_run(Plot())
    run.train()

    assert written(run) == {"loss.png"}


def test_draws_once_at_the_end_by_default(make_run: MakeRun, pictures: list[Picture]) -> None:
    make_run(Accuracy(every=1), Plot()).train()

    assert [picture.y_label.split()[0] for picture in pictures] == ["training", "accuracy"]


def test_draws_every_few_epochs_where_that_is_asked_for(
    make_run: MakeRun, pictures: list[Picture]
) -> None:
    make_run(Plot(every=2), epochs=5).train()

    assert [picture.curves["last batch"][0] for picture in pictures] == [
        [1, 2],
        [1, 2, 3, 4],
        [1, 2, 3, 4, 5],
    ]


def test_draws_nothing_when_the_run_is_stopped_at_once(
    make_run: MakeRun, pictures: list[Picture]
) -> None:
    run = make_run(Accuracy(every=1), Plot())
    run.trainer.add_event_handler(Events.EPOCH_STARTED(once=3), interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.train()

    assert pictures == []


def test_draws_nothing_when_the_run_is_interrupted(
    make_run: MakeRun, pictures: list[Picture]
) -> None:
    run = make_run(Accuracy(every=1), Plot())
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=2), lambda: run.interrupt())
    with pytest.raises(RunInterruptedError):
        run.train()

    assert [epoch.epoch for epoch in run.history.epochs] == [1, 2]
    assert pictures == []


def test_a_resumed_run_draws_all_its_epochs(make_run: MakeRun, pictures: list[Picture]) -> None:
    run = make_run(Checkpoint(), Plot())
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=7), lambda: run.interrupt())
    with pytest.raises(RunInterruptedError):
        run.train()

    loaders = {"train": run.loaders["train"], "test": run.loaders["test"]}
    Run.resume(run.directory.path, loaders=loaders).train()

    (picture,) = pictures
    assert picture.curves["last batch"][0] == [1, 2, 3]


def test_draws_what_there_is_when_the_run_diverges(
    make_run: MakeRun, pictures: list[Picture]
) -> None:
    def spoil() -> None:
        with torch.no_grad():
            next(run.model.parameters()).fill_(torch.nan)

    run = make_run(Plot())
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=2), spoil)
    with pytest.raises(DivergedError):
        run.train()

    assert written(run) == {"loss.png"}
    assert pictures[0].curves["last batch"][0] == [1, 2]


def test_draws_nothing_where_no_epoch_was_finished(
    make_run: MakeRun, pictures: list[Picture]
) -> None:
    def fail() -> None:
        raise RuntimeError("no data")

    run = make_run(Accuracy(), Plot())
    run.trainer.add_event_handler(Events.STARTED, fail)
    with pytest.raises(RuntimeError, match="no data"):
        run.train()

    assert pictures == []
    assert run.attachments[-1].failure is None


def test_needs_no_pyplot(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # makes importing it an error
    run = make_run(Accuracy(), Plot())
    summary = run.train()

    assert summary["detached"] == {}
    assert written(run) == {"loss.png", "accuracy.png"}


@pytest.fixture
def broken_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(figure: Figure, file: IO[bytes], **options: object) -> None:
        raise RuntimeError("no fonts")

    monkeypatch.setattr(Figure, "savefig", fail)


@pytest.mark.usefixtures("broken_drawing")
def test_a_failure_to_draw_does_not_stop_the_run(make_run: MakeRun) -> None:
    summary = make_run(Plot(every=1)).train()

    assert (summary["status"], summary["epochs"]) == ("completed", 3)
    assert summary["detached"] == {
        "plot": "plugin 'plot' (ignite-threenet 0.1.0) failed at EPOCH_COMPLETED, epoch 1: "
        "RuntimeError: no fonts"
    }


@pytest.mark.usefixtures("broken_drawing")
def test_a_failure_to_draw_stops_a_strict_run(make_run: MakeRun) -> None:
    run = make_run(Plot(every=1), strict=True)
    with pytest.raises(PluginFailedError, match="no fonts"):
        run.train()


def test_drawing_changes_nothing_of_the_training(
    make_run: MakeRun, pictures: list[Picture]
) -> None:
    without, with_plot = make_run(out="without"), make_run(Plot(every=1), out="with")
    without.train()
    with_plot.train()

    weights, others = without.model.state_dict(), with_plot.model.state_dict()
    assert pictures
    assert all(torch.equal(weights[name], others[name]) for name in weights)
