"""Tests of the plugin `csv`."""

import csv

import pytest
from helpers import Fails, make_run, train_until
from ignite.engine import Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.csv_file import Csv

from ignite_threenet import OptionError, PluginFailedError, Run

EPOCH_COLUMNS = ["epoch", "iteration", "loss", "last_loss", "seconds", "samples", "learning_rate"]


def read(run: Run, name: str = "metrics.csv") -> list[dict[str, str]]:
    with (run.directory.path / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def epochs_of(run: Run) -> list[int]:
    return [int(row["epoch"]) for row in read(run)]


def test_each_row_holds_what_was_recorded_of_an_epoch() -> None:
    run = make_run(Csv())
    summary = run.train()

    rows = read(run)
    assert list(rows[0]) == EPOCH_COLUMNS
    for row, record in zip(rows, run.history.epochs, strict=True):
        assert [float(row[name]) for name in EPOCH_COLUMNS] == [
            getattr(record, name) for name in EPOCH_COLUMNS
        ]
    assert summary["plugins"]["csv"] == {"file": "metrics.csv"}
    assert "metrics.csv" in summary["files"]


def test_what_was_measured_stands_beside_its_epoch() -> None:
    run = make_run(Csv(), Accuracy(every=2, split="train"))
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda: run.evaluate("test"))
    run.train()

    rows = read(run)
    (tested,), trained = run.history.of_split("test"), run.history.of_split("train")
    measured = ["train_accuracy", "train_loss", "test_accuracy", "test_loss"]
    assert list(rows[0]) == EPOCH_COLUMNS + measured
    assert [[row[name] for name in measured] for row in rows] == [
        ["", "", str(tested.metrics["accuracy"]), str(tested.metrics["loss"])],
        *(
            [str(each.metrics[name]) for name in ("accuracy", "loss")] + ["", ""]
            for each in trained
        ),
    ]


def test_the_final_test_is_no_epochs() -> None:
    run = make_run(Csv())
    run.train()

    assert run.history.final_test is not None
    assert "test_accuracy" not in read(run)[0]


def test_of_several_measurements_in_an_epoch_the_last_one_counts() -> None:
    run = make_run(Csv(), epochs=1)
    for event in (Events.EPOCH_STARTED, Events.EPOCH_COMPLETED):
        run.trainer.add_event_handler(event, lambda: run.evaluate("train"))
    run.train()

    first, last = (each.metrics["loss"] for each in run.history.of_split("train"))
    assert first != last
    assert [row["train_loss"] for row in read(run)] == [str(last)]


def test_what_was_measured_in_an_epoch_cut_short_is_not_lost() -> None:
    run = make_run(Csv(), Accuracy(every=1))
    event = Events.ITERATION_COMPLETED(once=6)
    run.trainer.add_event_handler(event, lambda: run.trainer.terminate())
    run.train()

    last = read(run)[-1]
    assert (last["epoch"], last["loss"]) == ("2", "")
    assert last["train_accuracy"] != ""


def test_is_there_also_when_the_run_fails() -> None:
    run = make_run(Fails(epoch=2), Csv())
    with pytest.raises(PluginFailedError):
        run.train()

    assert epochs_of(run) == [1, 2]


def test_a_resumed_run_writes_all_its_epochs() -> None:
    run = train_until(make_run("csv", "checkpoint"), Events.EPOCH_COMPLETED(once=1))
    assert epochs_of(run) == [1]

    resumed = Run.resume(run.directory.path, loaders=run.loaders)
    resumed.train()

    assert epochs_of(resumed) == [1, 2, 3]


@pytest.mark.parametrize(("every", "expected"), [(0, None), (1, [1, 2]), (2, [1, 2])])
def test_is_written_while_training_goes_on_where_that_is_asked_for(
    every: int, expected: list[int] | None
) -> None:
    def look() -> None:
        exists = (run.directory.path / "metrics.csv").exists()
        seen.append(epochs_of(run) if exists else None)

    seen: list[list[int] | None] = []
    run = make_run(Csv(every=every))
    run.trainer.add_event_handler(Events.EPOCH_STARTED(once=3), look)
    run.train()

    assert seen == [expected]


def test_is_written_after_all_who_measure_at_an_epochs_end() -> None:
    seen: list[str] = []
    run = make_run(Csv(every=1), Accuracy(every=1))
    event = Events.EPOCH_STARTED(once=2)
    run.trainer.add_event_handler(event, lambda: seen.append(read(run)[0]["train_accuracy"]))
    run.train()

    assert seen == [str(run.history.of_split("train")[0].metrics["accuracy"])]


def test_two_of_them_write_to_files_of_their_own() -> None:
    second = Csv()
    second.__dict__["name"] = "second"
    run = make_run(Csv(), second)
    run.train()

    assert read(run) == read(run, "second.csv")


def test_refuses_options_out_of_range() -> None:
    with pytest.raises(OptionError):
        Csv(every=-1)
