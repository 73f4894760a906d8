"""Looks for a learning rate before the training."""

import logging
import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import FastaiLRFinder
from torch import Tensor

from ignite_threenet import ConfigError, Plugin, Run, create_trainer, option, picture_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("ignite_threenet.lr-finder")


class LrFinder(Plugin):
    """Try out learning rates before the training, and suggest one; leaves no trace."""

    start_lr: float = option(1e-5, help="rate of the first iteration of the search", above=0)
    end_lr: float = option(10.0, help="rate of the last one, unless it diverges before", above=0)
    iterations: int = option(100, help="iterations of the search", min=10)
    apply: bool = option(False, help="train with the rate that is suggested, in place of --lr")

    def __post_init__(self) -> None:
        # On the instance, because an option decides it.
        self.__dict__["changes_training"] = self.apply

    def attach(self, run: Run) -> None:
        if self.start_lr >= self.end_lr:
            raise ConfigError(
                f"{self.name}.start_lr: {self.start_lr:g} is not below end_lr, {self.end_lr:g}"
            )
        self.suggestion: float | None = None
        self._is_done = False
        run.trainer.add_event_handler(Events.STARTED, self.start, run)

    def start(self, trainer: Engine, run: Run) -> None:
        """Search, unless this run goes on from a checkpoint."""
        if trainer.state.iteration > 0:
            return
        with run.keep_state():
            rates, losses = self._search(run)
        self._is_done = True
        run.directory.write_figure(self._draw(rates, losses, run), f"{self.name}.png")
        if self.suggestion is None:
            logger.warning("%s: no rate from %g on lowers the loss", self.name, self.start_lr)
            return
        logger.info("%s: suggests --lr %.2g; it was %g", self.name, self.suggestion, run.config.lr)
        if self.apply:
            self._apply(run, self.suggestion)

    def state_dict(self) -> Mapping[str, Any]:
        return {"suggestion": self.suggestion, "is_done": self._is_done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.suggestion, self._is_done = state["suggestion"], state["is_done"]

    def summary(self) -> Mapping[str, Any]:
        if not self._is_done:
            return {}
        is_applied = self.apply and self.suggestion is not None
        return {
            "suggestion": self.suggestion,
            "applied": is_applied,
            "file": f"{self.name}.png",
        }

    def _search(self, run: Run) -> tuple[list[float], list[float]]:
        """Train with rising rates; give the rates and the smoothed losses."""
        optimizer = run.optimizer
        for group in optimizer.param_groups:
            # Ignite takes its first step from the optimizer's own rate.
            group["lr"] = group["initial_lr"] = self.start_lr
        rates: list[float] = []

        def note(loss: Tensor) -> float:
            # Ignite's own record of the rates is one iteration ahead.
            rates.append(optimizer.param_groups[0]["lr"])
            # By NaN, Ignite's comparisons would not end the search; by infinity they do.
            return math.inf if loss.isnan() else loss.item()

        autocast = torch.bfloat16 if run.config.precision == "bf16" else None
        trainer = create_trainer(run.model, optimizer, run.loss_fn, run.device, autocast=autocast)
        finder = FastaiLRFinder()
        with (
            warnings.catch_warnings(),
            finder.attach(
                trainer,
                {"optimizer": optimizer},
                output_transform=note,
                num_iter=self.iterations,
                start_lr=self.start_lr,
                end_lr=self.end_lr,
            ),
        ):
            # That a search ends without diverging is no fault.
            warnings.filterwarnings("ignore", "Run completed without loss diverging")
            # Ignite begins a loader anew if it is shorter than that.
            trainer.run(run.loaders["train"], max_epochs=1, epoch_length=self.iterations)
        results = finder.get_results()
        try:
            self.suggestion = rates[results["lr"].index(finder.lr_suggestion())]
        except RuntimeError:
            self.suggestion = None
        return rates, results["loss"]

    def _apply(self, run: Run, rate: float) -> None:
        for group in run.optimizer.param_groups:
            if "initial_lr" in group:
                raise ConfigError(
                    f"{self.name}.apply: a schedule has begun with --lr; name {self.name} before "
                    "the plugin that brings it"
                )
            group["lr"] = rate

    def _draw(self, rates: list[float], losses: list[float], run: Run) -> "Figure":
        # Figure alone, without pyplot: it needs no display, and leaves no global state behind.
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.0, 4.5), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        axes.plot(rates, losses, label="loss, smoothed")
        axes.axvline(run.config.lr, color="gray", linestyle=":", label=f"--lr {run.config.lr:g}")
        found = "no rate is suggested"
        if self.suggestion is not None:
            found = f"suggested: {self.suggestion:.2g}"
            loss = losses[rates.index(self.suggestion)]
            axes.plot(self.suggestion, loss, "o", color="C3", label=found)
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss (nats per sample)")
        finite = [loss for loss in losses if math.isfinite(loss)]
        if finite:
            # A loss that diverges would press all else to the ground.
            low, high = min(finite), finite[0]
            axes.set_ylim(low - 0.1 * (high - low) - 1e-3, high + 0.5 * (high - low) + 1e-3)
        axes.set_title(f"{picture_text(run.dataset_name)}: {found}")
        axes.grid(alpha=0.3)
        axes.legend()
        return figure
