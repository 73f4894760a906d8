"""Your own plugin: stop when the accuracy no longer improves.

Run this file to try it: python examples/patience.py
"""

from ignite.engine import Engine, Events

from ignite_threenet import Plugin, Run, RunConfig, option


class Patience(Plugin):
    """Stop when the accuracy no longer improves."""

    requires = ("accuracy",)
    changes_training = True
    split: str = option(
        "train", help="split whose accuracy is watched", choices=("train", "valid", "test")
    )
    patience: int = option(3, help="measurements without improvement before stopping", min=1)

    def attach(self, run: Run) -> None:
        """Listen to the evaluator, so that each measurement is seen when it is made."""
        self.best, self.bad = float("-inf"), 0
        evaluator = run.require_split(self.split, "patience.split")
        evaluator.add_event_handler(Events.COMPLETED, self.look, run)

    def look(self, evaluator: Engine, run: Run) -> None:
        """Count the measurements without improvement."""
        accuracy = evaluator.state.metrics["accuracy"]
        self.best, self.bad = (accuracy, 0) if accuracy > self.best else (self.best, self.bad + 1)
        if self.bad >= self.patience:
            run.trainer.terminate()


if __name__ == "__main__":
    config = RunConfig(dataset="digits", epochs=100, lr=0.1)
    summary = Run(config, plugins=["best", Patience(patience=5)]).train()
    print(f"stopped after {summary['epochs']} epochs")
    print(f"test accuracy {summary['test']['accuracy']:.2%}, files in {summary['directory']}")
