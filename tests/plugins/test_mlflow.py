"""Tests of the plugin `mlflow`: what it logs is read back by MLflow's client."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import (
    Curves,
    MeasureOften,
    Rates,
    keep_mlflow_here,
    make_run,
    recorded_curves,
    train_until,
)
from ignite.engine import Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.checkpoint import Checkpoint
from ignite_threenet_plugins.mlflow import Mlflow
from ignite_threenet_plugins.plot import Plot
from ignite_threenet_plugins.schedule import Schedule

from ignite_threenet import ConfigError, DivergedError, Plugin, Run

mlflow = pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    keep_mlflow_here(monkeypatch)
    yield
    assert mlflow.active_run() is None
    mlflow.set_tracking_uri(None)


def logged(run: Run) -> Any:
    """Read what MLflow knows of a run."""
    return mlflow.MlflowClient().get_run(run.plugins["mlflow"].summary()["run_id"])


def curves(run: Run) -> Curves:
    found, client = logged(run), mlflow.MlflowClient()
    histories = {
        name: client.get_metric_history(found.info.run_id, name) for name in found.data.metrics
    }
    return {name: sorted((p.step, p.value) for p in points) for name, points in histories.items()}


def sorted_curves(run: Run) -> Curves:
    """Say what the history holds, sorted as curves() are."""
    return {name: sorted(points) for name, points in recorded_curves(run).items()}


def test_logs_each_epoch_each_measurement_and_the_final_test() -> None:
    rates = Rates()
    run = make_run(rates, Accuracy(every=2), Mlflow(), Schedule())
    summary = run.train()

    found = curves(run)
    assert found.pop("train/lr") == sorted(rates.last.items())
    assert found == sorted_curves(run)
    assert [step for step, _ in found["measured/train/accuracy"]] == [2, 3]
    assert found["final/test/accuracy"] == [(3, summary["test"]["accuracy"])]


def test_logs_the_options_and_where_its_run_is() -> None:
    run = make_run(Accuracy(every=2), Mlflow(experiment="digits"), lr=0.05, device="cpu")
    summary = run.train()

    found = logged(run)
    expected = {"lr": "0.05", "epochs": "3", "accuracy.every": "2", "dataset": "custom"}
    assert found.data.params.items() >= expected.items()
    assert found.info.run_name == "run"
    assert mlflow.get_experiment(found.info.experiment_id).name == "digits"
    assert summary["plugins"]["mlflow"] == {"run_id": found.info.run_id}
    assert (run.directory.path / "mlflow.txt").read_text() == f"{found.info.run_id}\n"


def test_an_experiment_is_made_once_and_not_for_the_whole_process() -> None:
    first = make_run(Mlflow(experiment="digits"), out=Path("first"))
    second = make_run(Mlflow(experiment="digits"), out=Path("second"))
    third = make_run(Mlflow(), out=Path("third"))
    for run in (first, second, third):
        run.train()

    ids = [logged(run).info.experiment_id for run in (first, second, third)]
    assert ids[0] == ids[1]
    assert mlflow.get_experiment(ids[2]).name == "Default"


def test_an_address_of_its_own_is_forgotten_afterwards(tmp_path: Path) -> None:
    environment, before = dict(os.environ), mlflow.get_tracking_uri()
    run = make_run(Mlflow(tracking_uri="elsewhere"))
    run.train()

    assert run.plugins["mlflow"].summary()["run_id"] in {
        path.name for path in (tmp_path / "elsewhere").glob("*/*")
    }
    assert mlflow.get_tracking_uri() == before
    assert dict(os.environ) == environment


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED"), (DivergedError, "FAILED")],
)
def test_the_status_says_how_the_run_ended(error: type[BaseException], status: str) -> None:
    def fail() -> None:
        if error is not DivergedError:
            raise error
        with torch.no_grad():
            next(run.model.parameters()).fill_(torch.nan)

    run = make_run(Mlflow())
    run.trainer.add_event_handler(Events.EPOCH_STARTED(once=2), fail)
    with pytest.raises(error):
        run.train()

    assert logged(run).info.status == status
    assert [step for step, _ in curves(run)["train/loss"]] == [1]


@pytest.mark.parametrize("artifacts", [True, False])
def test_logs_the_pictures_where_they_are_wanted(artifacts: bool) -> None:
    run = make_run(Accuracy(), Mlflow(artifacts=artifacts), Plot())
    run.train()

    found = mlflow.MlflowClient().list_artifacts(logged(run).info.run_id)
    assert {each.path for each in found} == ({"loss.png", "accuracy.png"} if artifacts else set())
    assert logged(run).info.status == "FINISHED"


@pytest.mark.parametrize("iteration", [5, 7, 8])
def test_a_resumed_run_goes_on_with_its_run_of_mlflow(iteration: int) -> None:
    def plugins() -> list[Plugin]:
        return [Schedule(), MeasureOften(), Mlflow(), Checkpoint()]

    whole = make_run(*plugins(), out=Path("whole"))
    whole.train()
    run = train_until(make_run(*plugins()), Events.ITERATION_COMPLETED(once=iteration))
    first = logged(run)
    resumed = Run.resume(run.directory.path, plugins=plugins(), loaders=run.loaders)
    resumed.train()

    assert (first.info.status, logged(resumed).info.status) == ("KILLED", "FINISHED")
    assert logged(resumed).info.run_id == first.info.run_id
    assert curves(resumed) == curves(whole)


def test_no_step_that_was_logged_after_the_checkpoint_is_logged_again() -> None:
    def plugins() -> list[Plugin]:
        return [MeasureOften(), Mlflow(), Checkpoint(seconds=0)]

    run = make_run(*plugins(), epochs=5)
    run.train()
    before = curves(run)
    run.directory.checkpoints()[0].unlink()
    (run.directory.path / "summary.json").unlink()
    loaders = {**run.loaders, "test": [(torch.zeros(4, 784), torch.arange(4))]}
    resumed = Run.resume(run.directory.path, plugins=plugins(), loaders=loaders)
    resumed.train()

    assert run.history.measurements[-1].metrics != resumed.history.measurements[-1].metrics
    assert curves(resumed) == before


def test_a_run_may_get_more_epochs() -> None:
    run = make_run("mlflow", "checkpoint")
    run.train()
    longer = Run.resume(run.directory.path, epochs=5, loaders=run.loaders)
    summary = longer.train()

    assert summary["detached"] == {}
    assert [step for step, _ in curves(longer)["train/loss"]] == [1, 2, 3, 4, 5]
    assert [step for step, _ in curves(longer)["train/lr"]] == [1, 2, 3, 4, 5]


def test_a_run_whose_first_part_was_not_logged_is_logged_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(mlflow, "start_run", _fail)
        run = train_until(make_run("mlflow", "checkpoint"), Events.ITERATION_COMPLETED(once=5))
    resumed = Run.resume(run.directory.path, loaders=run.loaders)
    resumed.train()

    assert [step for step, _ in curves(resumed)["train/loss"]] == [1, 2, 3]
    assert [step for step, _ in curves(resumed)["train/lr"]] == [1, 2, 3]


def _fail(*arguments: object, **options: object) -> None:
    raise OSError("no server")


def test_a_store_that_fails_does_not_stop_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(Mlflow())
    run.trainer.add_event_handler(
        Events.EPOCH_COMPLETED(once=1), lambda: monkeypatch.setattr(mlflow, "log_metrics", _fail)
    )
    summary = run.train()

    assert summary["status"] == "completed"
    assert summary["detached"]["mlflow"].endswith(
        "failed at EPOCH_COMPLETED, epoch 2: OSError: no server"
    )
    assert logged(run).info.status == "FINISHED"


def test_a_folder_that_mlflow_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    summary = make_run(Mlflow(tracking_uri="refused")).train()

    assert "MLFLOW_ALLOW_FILE_STORE=true" in summary["detached"]["mlflow"]


def test_lies_within_a_run_that_a_script_has_opened() -> None:
    run = make_run(Mlflow())
    with mlflow.start_run() as outer:
        run.train()
        assert mlflow.active_run().info.run_id == outer.info.run_id

    assert logged(run).data.tags["mlflow.parentRunId"] == outer.info.run_id
    assert mlflow.get_run(outer.info.run_id).data.metrics == {}


def test_a_metric_whose_name_mlflow_refuses_gets_another() -> None:
    run = make_run(Mlflow())
    test = run.evaluators["test"]
    test.add_event_handler(
        Events.EPOCH_COMPLETED, lambda: test.state.metrics.update({"top@5 (é)": 0.5})
    )
    run.train()

    assert curves(run)["final/test/top_5 ___"] == [(3, 0.5)]


@pytest.mark.filterwarnings(
    # MLflow 3.17 on SQLAlchemy 2.1.
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"
)
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("sqlalchemy", "alembic"))),
    reason="MLflow's databases need sqlalchemy and alembic",
)
def test_mlflows_own_default_is_a_database_that_needs_no_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name)
    run = make_run(Accuracy(), Mlflow(), Plot())
    summary = run.train()

    found = curves(run)
    assert summary["detached"] == {}
    assert (tmp_path / "mlflow.db").is_file()
    assert found.pop("train/lr") == [(1, 0.1), (2, 0.1), (3, 0.1)]
    assert found == sorted_curves(run)


def test_says_how_to_install_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigError) as raised:
        make_run(Mlflow())

    assert str(raised.value) == (
        "mlflow: needs the package mlflow: pip install 'ignite-threenet[mlflow]'"
    )
