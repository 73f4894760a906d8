"""Writes a run's curves for TensorBoard."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ignite.engine import Events

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
        self._written = 0  # records of the history
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.write)
        for evaluator in run.evaluators.values():
            evaluator.add_event_handler(Events.COMPLETED, self.write)

    def write(self) -> None:
        """Write what was recorded since the last time; when resumed, all of it anew."""
        for tag, epoch, values in self._run.history.points(self._written):
            self._add(tag, values, epoch)
            self._written += 1

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.close(None)
        self._written = 0

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
