"""Logs a run to MLflow."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ignite.engine import Events

from ignite_threenet import ConfigError, Plugin, Run, RunInterruptedError, option

if TYPE_CHECKING:
    from ignite.handlers import MLflowLogger

_PICTURES = (".png", ".svg", ".pdf")
_URI = "MLFLOW_TRACKING_URI"


class Mlflow(Plugin):
    """Log curves, options and pictures to MLflow."""

    on_error = "detach"
    tracking_uri: str | None = option(
        None, help="where MLflow keeps its runs; by default where it does itself"
    )
    experiment: str | None = option(None, help="experiment of the run; by default MLflow's own")
    artifacts: bool = option(True, help="log the pictures of the run's directory at its end")

    def attach(self, run: Run) -> None:
        if find_spec("mlflow") is None:
            raise ConfigError(
                f"{self.name}: needs the package mlflow: pip install 'ignite-threenet[mlflow]'"
            )
        self._run = run
        self._logger: MLflowLogger | None = None
        self._exits = ExitStack()
        self._run_id = ""
        self._read = 0  # records of the history
        self._logged: Counter[tuple[str, int]] = Counter()
        run.trainer.add_event_handler(Events.STARTED, self.start, run)
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.log)
        for evaluator in run.evaluators.values():
            evaluator.add_event_handler(Events.COMPLETED, self.log)

    def start(self, run: Run) -> None:
        """Open a run of MLflow; one that is resumed goes on with its own."""
        import mlflow
        from ignite.handlers import MLflowLogger

        if self.tracking_uri is not None:
            self._exits.callback(_reset_uri, os.environ.get(_URI))
            mlflow.set_tracking_uri(self.tracking_uri)
        # In a file, because no two runs have the id in common, as they have their states.
        file = run.directory.path / f"{self.name}.txt"
        saved = file.read_text(encoding="utf-8").strip() if file.exists() else None
        # Nested in what a script has opened, if anything; Ignite's logger takes the active run.
        started = mlflow.start_run(saved, self._experiment_id(), file.parent.name, nested=True)
        self._logger, self._run_id = MLflowLogger(), started.info.run_id
        if saved is None:
            self._logger.log_params(
                run.options | {"dataset": run.dataset_name, "device": str(run.device)}
            )
            run.directory.write(file.name, f"{self._run_id}\n".encode())
        else:
            self._logged = _find_points(saved)

    def log(self) -> None:
        """Log what was recorded since the last time; when resumed, what is not there yet."""
        if self._logger is None:
            return
        for prefix, epoch, values in self._run.history.points(self._read):
            self._log(prefix, values, epoch)
            self._read += 1

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._read = 0

    def close(self, error: BaseException | None) -> None:
        is_stopped = isinstance(error, RunInterruptedError) or not isinstance(error, Exception)
        status = "FINISHED" if error is None else "KILLED" if is_stopped else "FAILED"
        with self._exits:
            if self._logger is not None:
                self._exits.callback(self._logger.end_run, status)
                self._log_pictures(self._logger)

    def summary(self) -> Mapping[str, Any]:
        return {"run_id": self._run_id} if self._run_id else {}

    def _experiment_id(self) -> str | None:
        import mlflow

        if self.experiment is None:
            return None
        # Not by set_experiment(), which would also choose that of the process's later runs.
        found = mlflow.get_experiment_by_name(self.experiment)
        return str(found.experiment_id if found else mlflow.create_experiment(self.experiment))

    def _log(self, prefix: str, values: Mapping[str, float], step: int) -> None:
        new = {}
        for name, value in values.items():
            key = re.sub(r"[^\w./ :-]", "_", f"{prefix}/{name}", flags=re.ASCII)
            # MLflow forgets nothing: what a run wrote before it was resumed is there to stay.
            if self._logged[key, step] > 0:
                self._logged[key, step] -= 1
            else:
                new[key] = value
        if new and self._logger is not None:
            self._logger.log_metrics(new, step=step, run_id=self._run_id)

    def _log_pictures(self, logger: "MLflowLogger") -> None:
        directory = self._run.directory
        for path in (directory.path / name for name in directory.files):
            if self.artifacts and path.suffix in _PICTURES and path.exists():
                logger.log_artifact(str(path), run_id=self._run_id)


def _find_points(run_id: str) -> Counter[tuple[str, int]]:
    """Count the points of a run, by metric and step."""
    import mlflow

    client = mlflow.MlflowClient()
    names = client.get_run(run_id).data.metrics
    return Counter(
        (name, point.step) for name in names for point in client.get_metric_history(run_id, name)
    )


def _reset_uri(before: str | None) -> None:
    """Undo set_tracking_uri(), which tells the processes to come too."""
    import mlflow

    mlflow.set_tracking_uri(None)
    if before is not None:
        os.environ[_URI] = before
