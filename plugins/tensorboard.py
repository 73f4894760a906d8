"""Writes a run's curves for TensorBoard."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ignite.engine import Engine, Events

from ignite_threenet import ConfigError, Plugin, Run, option

if TYPE_CHECKING:
    from ignite.handlers import TensorboardLogger


class Tensorboard(Plugin):
    """Write curves and options for TensorBoard, into the run's directory."""

    on_error = "detach"
    flush_s: int = option(10, help="seconds until a point is in the file, at most", min=1)

    def attach(self, run: Run) -> None:
        # Ignite's logger takes either of them.
        if find_spec("tensorboard") is None and find_spec("tensorboardX") is None:
            raise ConfigError(
                f"{self.name}: needs the package tensorboard: "
                "pip install 'ignite-threenet[tensorboard]'"
            )
        self._run = run
        self._logger: TensorboardLogger | None = None
        self._rates: dict[int, float] = {}
        self._epochs = self._measurements = 0  # that are written
        run.trainer.add_event_handler(Events.STARTED, self.start)
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.write)
        for evaluator in run.evaluators.values():
            evaluator.add_event_handler(Events.COMPLETED, self.write)

    def start(self, trainer: Engine) -> None:
        """Register what must hear of an iteration after all who may set its rate."""
        trainer.add_event_handler(Events.ITERATION_STARTED, self.note_rate)

    def note_rate(self, trainer: Engine) -> None:
        """Note the learning rate; that of the epoch's last iteration is kept."""
        self._rates[trainer.state.epoch] = float(self._run.optimizer.param_groups[0]["lr"])

    def write(self) -> None:
        """Write what was recorded since the last time; when resumed, all of it anew."""
        history = self._run.history
        for epoch in history.epochs[self._epochs :]:
            self._add("train", {"loss": epoch.loss}, epoch.epoch)
            if epoch.epoch in self._rates:
                self._add("train", {"lr": self._rates[epoch.epoch]}, epoch.epoch)
        for each in history.measurements[self._measurements :]:
            kind = "final" if each.final else "measured"
            self._add(f"{kind}/{each.split}", each.metrics, each.epoch)
        self._epochs, self._measurements = len(history.epochs), len(history.measurements)

    def state_dict(self) -> Mapping[str, Any]:
        return {"rates": dict(self._rates)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.close(None)
        # Empty where the plugin was detached before.
        self._rates = dict(state.get("rates", {}))
        self._epochs = self._measurements = 0

    def close(self, error: BaseException | None) -> None:
        logger, self._logger = self._logger, None
        if logger is not None:
            logger.close()

    def _add(self, tag: str, values: Mapping[str, float], step: int) -> None:
        logger = self._logger = self._logger or self._open()
        for name, value in values.items():
            logger.writer.add_scalar(f"{tag}/{name}", value, step)

    def _open(self) -> "TensorboardLogger":
        from ignite.handlers import TensorboardLogger

        # Points that an earlier process wrote, perhaps after its last checkpoint, are void.
        folder = self._run.directory.make_folder(self.name)
        logger = TensorboardLogger(log_dir=str(folder), purge_step=0, flush_secs=self.flush_s)
        used = {"dataset": self._run.dataset_name, "device": str(self._run.device)}
        options = self._run.options | used
        rows = [f"| {name} | {value} |" for name, value in options.items()]
        logger.writer.add_text("options", "\n".join(["| option | value |", "|---|---|", *rows]), 0)
        return logger
