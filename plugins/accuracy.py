"""Measures the accuracy while training goes on."""

from collections.abc import Mapping
from typing import Any, Literal

from ignite.engine import Engine, Events

from ignite_threenet import Plugin, Run, option

_SPLITS = Literal["train", "valid", "test"]


class Accuracy(Plugin):
    """Measure the accuracy every few epochs, and once more at the end.

    What is held out as the split 'valid' is measured after each epoch. A split that another plugin
    watches is measured as well.
    """

    every: int = option(20, help="epochs between two measurements", min=1)
    split: _SPLITS | None = option(
        None, help="split that is measured; by default train, and valid if there is one"
    )

    def attach(self, run: Run) -> None:
        # The iteration after which somebody measured a split last.
        self._measured_at: dict[str, int] = {}
        if self.split is not None:
            run.require_split(self.split, f"{self.name}.split")
            self._measure_every(run, self.split, self.every)
            return
        self._measure_every(run, "train", self.every)
        if "valid" in run.evaluators:
            self._measure_every(run, "valid", 1)

    def watch(self, run: Run, split: str | None, where: str) -> Engine:
        """Measure the split that another plugin watches, and give its evaluator.

        Args:
            run: the run.
            split: the other plugin's own choice; if None, what is measured by default, and rather
                valid than train.
            where: who asks, for messages: ``best.split``.

        Raises:
            ConfigError: this run has no such split.
        """
        default = "valid" if "valid" in run.evaluators else "train"
        chosen = split or self.split or default
        evaluator = run.require_split(chosen, where)
        if chosen not in self._measured_at:
            self._measure_every(run, chosen, self.every)
        return evaluator

    def state_dict(self) -> Mapping[str, Any]:
        return {"measured_at": dict(self._measured_at)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._measured_at.update(state["measured_at"])

    def measure(self, trainer: Engine, run: Run, split: str) -> None:
        """Measure a split, unless somebody has; who wants the result listens to its evaluator."""
        if self._measured_at[split] != run.recorder.iteration:
            run.evaluate(split)

    def _measure_every(self, run: Run, split: str, epochs: int) -> None:
        self._measured_at[split] = 0
        run.evaluators[split].add_event_handler(Events.COMPLETED, self._note, run, split)
        for event in (Events.EPOCH_COMPLETED(every=epochs), Events.COMPLETED):
            run.trainer.add_event_handler(event, self.measure, run, split)

    def _note(self, evaluator: Engine, run: Run, split: str) -> None:
        self._measured_at[split] = run.recorder.iteration


def watched_evaluator(run: Run, split: str | None, where: str) -> Engine:
    """Give the evaluator of the split whose accuracy a plugin watches.

    Args:
        run: the run, with a plugin ``accuracy``, which may be another one than this.
        split: the plugin's own choice; if None, what ``accuracy`` measures.
        where: who asks, for messages: ``best.split``.

    Raises:
        ConfigError: this run has no such split.
    """
    accuracy = run.plugins["accuracy"]
    if isinstance(accuracy, Accuracy):
        return accuracy.watch(run, split, where)
    return run.require_split(split or getattr(accuracy, "split", None) or "train", where)
