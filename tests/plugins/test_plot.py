"""Tests of the plugin `plot`."""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from helpers import collect_figures, make_run, train_until
from ignite.engine import Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.plot import Plot
from matplotlib.figure import Figure

from ignite_threenet import DivergedError, OptionError, PluginFailedError, Run


@dataclass(frozen=True)
class Picture:
    """What a picture shows."""

    title: str
    x_label: str
    y_label: str
    curves: dict[str, tuple[list[float], list[float]]]


def look_at(figure: Figure) -> Picture:
    (axes,) = figure.axes
    curves = {
        str(line.get_label()): (
            np.asarray(line.get_xdata()).tolist(),
            np.asarray(line.get_ydata()).tolist(),
        )
        for line in axes.get_lines()
    }
    return Picture(axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), curves)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return collect_figures(monkeypatch)


def written(run: Run) -> set[str]:
    """Name the files of the run that are pictures."""
    return {path.name for path in run.directory.path.iterdir() if path.suffix[1:] in MAGIC}


def interrupt() -> None:
    raise KeyboardInterrupt


MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_writes_a_picture_of_each_format(format: Any) -> None:
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


def test_the_loss_is_drawn_for_each_epoch(figures: list[Figure]) -> None:
    run = make_run(Plot())
    run.train()

    (picture,) = map(look_at, figures)
    epochs = run.history.epochs
    assert (picture.x_label, picture.y_label) == ("epoch", "loss (nats per sample)")
    assert picture.curves == {
        "last batch": ([1, 2, 3], [epoch.last_loss for epoch in epochs]),
        "mean of the epoch": ([1, 2, 3], [epoch.loss for epoch in epochs]),
    }


@pytest.mark.parametrize(("split", "is_drawn"), [("valid", True), ("test", True), ("train", False)])
def test_the_loss_of_another_split_is_drawn_as_it_was_measured(
    figures: list[Figure], split: Any, is_drawn: bool
) -> None:
    run = make_run(Accuracy(every=2, split=split), Plot())
    run.train()

    losses = [each.metrics["loss"] for each in run.history.of_split(split)]
    assert look_at(figures[0]).curves.get(split) == (([2, 3], losses) if is_drawn else None)


def test_the_name_of_a_dataset_is_drawn_as_it_is(figures: list[Figure]) -> None:
    run = make_run(Plot())
    run.dataset_name = "$x$ 猫\n\x1b[2J"
    run.train()

    assert look_at(figures[0]).title.startswith(r"\$x\$ 猫\n\x1b[2J: lowest mean loss")


def test_the_title_of_the_loss_says_the_lowest_and_when(figures: list[Figure]) -> None:
    run = make_run(Plot())
    run.train()

    lowest = min(run.history.epochs, key=lambda epoch: epoch.loss)
    assert look_at(figures[0]).title == (
        f"custom: lowest mean loss {lowest.loss:.4g} at epoch {lowest.epoch}"
    )


def test_the_accuracy_is_drawn_in_percent_for_each_measurement(figures: list[Figure]) -> None:
    run = make_run(Accuracy(every=2, split="train"), Plot())
    run.train()

    picture = look_at(figures[1])
    percents = [100 * each.metrics["accuracy"] for each in run.history.of_split("train")]
    assert (picture.x_label, picture.y_label) == ("epoch", "accuracy (% of samples)")
    assert picture.curves == {"train": ([2, 3], percents)}


def test_the_title_of_the_accuracy_says_the_best_of_each_split(figures: list[Figure]) -> None:
    run = make_run(Accuracy(every=1, split="train"), Plot())
    run.trainer.add_event_handler(Events.EPOCH_STARTED(once=3), lambda: run.evaluate("test"))
    run.train()

    train, test = run.history.best("train"), run.history.best("test")
    assert train is not None
    assert test is not None
    assert list(look_at(figures[1]).curves) == ["train", "test"]
    assert look_at(figures[1]).title == (
        f"custom: best accuracy on train {train.metrics['accuracy']:.3%} at epoch {train.epoch}, "
        f"test {test.metrics['accuracy']:.3%} at epoch 3"
    )


def test_no_accuracy_is_drawn_where_none_was_measured(figures: list[Figure]) -> None:
    run = make_run(Plot())
    run.train()

    assert written(run) == {"loss.png"}


def test_draws_once_at_the_end_by_default(figures: list[Figure]) -> None:
    make_run(Accuracy(every=1), Plot()).train()

    assert [picture.y_label.split()[0] for picture in map(look_at, figures)] == [
        "loss",
        "accuracy",
    ]


def test_draws_every_few_epochs_where_that_is_asked_for(figures: list[Figure]) -> None:
    make_run(Plot(every=2), epochs=5).train()

    assert [picture.curves["last batch"][0] for picture in map(look_at, figures)] == [
        [1, 2],
        [1, 2, 3, 4],
        [1, 2, 3, 4, 5],
    ]


def test_draws_nothing_when_the_run_is_stopped_at_once(figures: list[Figure]) -> None:
    run = make_run(Accuracy(every=1, split="train"), Plot())
    run.trainer.add_event_handler(Events.EPOCH_STARTED(once=3), interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.train()

    assert figures == []


def test_draws_nothing_when_the_run_is_interrupted(figures: list[Figure]) -> None:
    run = make_run(Accuracy(every=1), Plot())
    train_until(run, Events.EPOCH_COMPLETED(once=2))

    assert [epoch.epoch for epoch in run.history.epochs] == [1, 2]
    assert figures == []


def test_a_resumed_run_draws_all_its_epochs(figures: list[Figure]) -> None:
    run = train_until(make_run("checkpoint", "plot"), Events.ITERATION_COMPLETED(once=7))

    Run.resume(run.directory.path, loaders=run.loaders).train()

    (picture,) = map(look_at, figures)
    assert picture.curves["last batch"][0] == [1, 2, 3]


def test_draws_what_there_is_when_the_run_diverges(figures: list[Figure]) -> None:
    def spoil() -> None:
        with torch.no_grad():
            next(run.model.parameters()).fill_(torch.nan)

    run = make_run(Plot())
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=2), spoil)
    with pytest.raises(DivergedError):
        run.train()

    assert written(run) == {"loss.png"}
    assert look_at(figures[0]).curves["last batch"][0] == [1, 2]


def test_draws_nothing_where_no_epoch_was_finished(figures: list[Figure]) -> None:
    def fail() -> None:
        raise RuntimeError("no data")

    run = make_run(Accuracy(), Plot())
    run.trainer.add_event_handler(Events.STARTED, fail)
    with pytest.raises(RuntimeError, match="no data"):
        run.train()

    assert figures == []
    assert list(run.attachments)[-1].failure is None


def test_needs_no_pyplot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # makes importing it an error
    run = make_run(Accuracy(), Plot())
    summary = run.train()

    assert summary["detached"] == {}
    assert written(run) == {"loss.png", "accuracy.png"}


@pytest.fixture
def broken_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("no fonts")

    monkeypatch.setattr(Figure, "savefig", fail)


@pytest.mark.usefixtures("broken_drawing")
def test_a_failure_to_draw_does_not_stop_the_run() -> None:
    summary = make_run(Plot(every=1)).train()

    assert (summary["status"], summary["epochs"]) == ("completed", 3)
    assert summary["detached"] == {
        "plot": "plugin 'plot' (ignite-threenet 0.1.0) failed at EPOCH_COMPLETED, epoch 1: "
        "RuntimeError: no fonts"
    }


@pytest.mark.usefixtures("broken_drawing")
def test_a_failure_to_draw_stops_a_strict_run() -> None:
    run = make_run(Plot(every=1), strict=True)
    with pytest.raises(PluginFailedError, match="no fonts"):
        run.train()
