"""Tests of the plugin `csv`."""

import csv
from collections.abc import Callable
from typing import Any

import pytest
from conftest import MakeBatches, MakeConfig
from ignite.engine import Engine, Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.checkpoint import Checkpoint
from ignite_threenet_plugins.csv_file import Csv

from ignite_threenet import OptionError, Plugin, PluginFailedError, Run, RunInterruptedError
from ignite_threenet.testing import assert_contract, assert_observes_only, assert_resumes

MakeRun = Callable[..., Run]

EPOCH_COLUMNS = ["epoch", "iteration", "loss", "last_loss", "seconds", "samples"]


@pytest.fixture
def make_run(make_batches: MakeBatches, make_config: MakeConfig) -> MakeRun:
    def make(*plugins: Any, **options: Any) -> Run:
        loaders = {"train": make_batches(), "test": make_batches(count=2, seed=1)}
        return Run(make_config(**options), plugins, loaders=loaders)

    return make


def read(run: Run, name: str = "metrics.csv") -> list[dict[str, str]]:
    with (run.directory.path / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def epochs_of(run: Run) -> list[int]:
    return [int(row["epoch"]) for row in read(run)]


def test_keeps_the_contract_and_only_observes() -> None:
    assert_contract(Csv)
    assert_observes_only(lambda: Csv(every=1), epochs=2)


def test_each_row_holds_what_was_recorded_of_an_epoch(make_run: MakeRun) -> None:
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


def test_what_was_measured_stands_beside_its_epoch(make_run: MakeRun) -> None:
    run = make_run(Csv(), Accuracy(every=2))
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


def test_the_final_test_is_no_epochs(make_run: MakeRun) -> None:
    run = make_run(Csv())
    run.train()

    assert run.history.final_test is not None
    assert "test_accuracy" not in read(run)[0]


def test_of_several_measurements_in_an_epoch_the_last_one_counts(make_run: MakeRun) -> None:
    run = make_run(Csv(), epochs=1)
    for event in (Events.EPOCH_STARTED, Events.EPOCH_COMPLETED):
        run.trainer.add_event_handler(event, lambda: run.evaluate("train"))
    run.train()

    first, last = (each.metrics["loss"] for each in run.history.of_split("train"))
    assert first != last
    assert [row["train_loss"] for row in read(run)] == [str(last)]


def test_what_was_measured_in_an_epoch_cut_short_is_not_lost(make_run: MakeRun) -> None:
    run = make_run(Csv(), Accuracy(every=1))
    event = Events.ITERATION_COMPLETED(once=6)
    run.trainer.add_event_handler(event, lambda: run.trainer.terminate())
    run.train()

    last = read(run)[-1]
    assert (last["epoch"], last["loss"]) == ("2", "")
    assert last["train_accuracy"] != ""


def test_is_there_also_when_the_run_fails(make_run: MakeRun) -> None:
    class Fails(Plugin):
        def attach(self, run: Run) -> None:
            run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.fail)

        def fail(self, trainer: Engine) -> None:
            if trainer.state.epoch == 2:
                raise OSError("unplugged")

    run = make_run(Fails(), Csv())
    with pytest.raises(PluginFailedError):
        run.train()

    assert epochs_of(run) == [1, 2]


def test_a_resumed_run_writes_all_its_epochs(make_run: MakeRun) -> None:
    run = make_run(Csv(), Checkpoint())
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda: run.interrupt())
    with pytest.raises(RunInterruptedError):
        run.train()
    assert epochs_of(run) == [1]

    plugins = [Csv(), Checkpoint()]
    resumed = Run.resume(run.directory.path, plugins=plugins, loaders=run.loaders)
    resumed.train()

    assert epochs_of(resumed) == [1, 2, 3]


def test_a_resumed_run_ends_as_one_that_was_never_stopped() -> None:
    assert_resumes(lambda: Csv(every=1))


@pytest.mark.parametrize(("every", "expected"), [(0, None), (1, [1, 2]), (2, [1, 2])])
def test_is_written_while_training_goes_on_where_that_is_asked_for(
    make_run: MakeRun, every: int, expected: list[int] | None
) -> None:
    def look() -> None:
        exists = (run.directory.path / "metrics.csv").exists()
        seen.append(epochs_of(run) if exists else None)

    seen: list[list[int] | None] = []
    run = make_run(Csv(every=every))
    run.trainer.add_event_handler(Events.EPOCH_STARTED(once=3), look)
    run.train()

    assert seen == [expected]


def test_is_written_after_all_who_measure_at_an_epochs_end(make_run: MakeRun) -> None:
    seen: list[str] = []
    run = make_run(Csv(every=1), Accuracy(every=1))
    event = Events.EPOCH_STARTED(once=2)
    run.trainer.add_event_handler(event, lambda: seen.append(read(run)[0]["train_accuracy"]))
    run.train()

    assert seen == [str(run.history.of_split("train")[0].metrics["accuracy"])]


def test_two_of_them_write_to_files_of_their_own(make_run: MakeRun) -> None:
    second = Csv()
    second.__dict__["name"] = "second"
    run = make_run(Csv(), second)
    run.train()

    assert read(run) == read(run, "second.csv")


def test_writes_nothing_where_nothing_was_trained(make_run: MakeRun) -> None:
    csv_plugin = Csv()
    make_run(csv_plugin).close()

    assert csv_plugin.summary() == {}


def test_refuses_options_out_of_range() -> None:
    with pytest.raises(OptionError):
        Csv(every=-1)
