"""Draws the curves of a run."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from ignite.engine import Events

from ignite_threenet import Plugin, Run, RunInterruptedError, option, picture_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_INCHES = (8.0, 4.5)
_DPI = 120


class Plot(Plugin):
    """Draw the curves of the loss and of the accuracy."""

    on_error = "detach"
    format: Literal["png", "svg", "pdf"] = option("png", help="kind of picture")
    every: int = option(0, help="epochs between two drawings while training; 0: at the end", min=0)

    def attach(self, run: Run) -> None:
        self._run = run
        if self.every > 0:
            run.trainer.add_event_handler(Events.EPOCH_COMPLETED(every=self.every), self.draw)
        run.trainer.add_event_handler(Events.COMPLETED, self.draw)

    def close(self, error: BaseException | None) -> None:
        # Not for one who waits for the run to stop: it can go on, and draws then.
        if isinstance(error, Exception) and not isinstance(error, RunInterruptedError):
            self.draw()

    def draw(self) -> None:
        """Write the pictures of what was measured so far."""
        history = self._run.history
        if history.epochs:
            self._write("loss", self._draw_loss)
        if any(history.of_split(split) for split in self._run.evaluators):
            self._write("accuracy", self._draw_accuracy)

    @property
    def _title(self) -> str:
        return picture_text(self._run.dataset_name)

    def _draw_loss(self, axes: "Axes") -> None:
        epochs = self._run.history.epochs
        numbers = [epoch.epoch for epoch in epochs]
        last_losses = [epoch.last_loss for epoch in epochs]
        axes.plot(numbers, last_losses, color="C0", alpha=0.3, label="last batch")
        axes.plot(numbers, [epoch.loss for epoch in epochs], color="C0", label="mean of the epoch")
        lowest = min(epochs, key=lambda epoch: epoch.loss)
        for split in self._run.evaluators:
            self._draw_measured_loss(axes, split)
        axes.set_ylabel("loss (nats per sample)")
        axes.set_ylim(bottom=0)
        axes.set_title(f"{self._title}: lowest mean loss {lowest.loss:.4g} at epoch {lowest.epoch}")

    def _draw_measured_loss(self, axes: "Axes", split: str) -> None:
        """Draw the loss of a split that is not trained on, if it was measured."""
        measured = [each for each in self._run.history.of_split(split) if "loss" in each.metrics]
        if measured and split != "train":
            losses = [each.metrics["loss"] for each in measured]
            axes.plot([each.epoch for each in measured], losses, marker=".", label=split)

    def _draw_accuracy(self, axes: "Axes") -> None:
        history = self._run.history
        bests = []
        for split in self._run.evaluators:
            best = history.best(split)
            if best is None:
                continue
            measurements = history.of_split(split)
            percents = [100 * measurement.metrics["accuracy"] for measurement in measurements]
            axes.plot([m.epoch for m in measurements], percents, marker=".", label=split)
            bests.append(f"{split} {best.metrics['accuracy']:.3%} at epoch {best.epoch}")
        axes.set_ylabel("accuracy (% of samples)")
        axes.set_title(f"{self._title}: best accuracy on {', '.join(bests)}")

    def _write(self, name: str, draw: Callable[["Axes"], None]) -> None:
        # Figure alone, without pyplot: it needs no display, and leaves no global state behind.
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
        # Two of this plugin must not draw over each other.
        stem = name if self.name == "plot" else f"{self.name}-{name}"
        self._run.directory.write_figure(figure, f"{stem}.{self.format}")
