"""Attributes of a run that can be read and used, but not replaced."""

from typing import Any

from .assembly import Parts

# Another one in its place would not be used; by what each is made instead.
_FIXED = {
    "model": "Run(model=...)",
    "optimizer": "Run(optimizer=...); its param_groups can be changed",
    "loss_fn": "Run(loss_fn=...)",
    "loaders": "Run(loaders=...)",
    "evaluators": "Run(metrics=...)",
    **dict.fromkeys(("trainer", "config", "device", "history", "recorder"), "Run()"),
}


class FixedAttributes:
    """Lets what a run was put together from be set once.

    Raises:
        AttributeError: another one is to be put in its place; the message says how it is made.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and name in vars(self):
            raise AttributeError(f"run.{name} cannot be replaced; it is made by {_FIXED[name]}")
        super().__setattr__(name, value)

    def _publish(self, parts: Parts) -> None:
        """Offer the parts to plugins and scripts."""
        self.device, self.model, self.loss_fn = parts.device, parts.model, parts.loss_fn
        self.optimizer, self.trainer = parts.optimizer, parts.trainer
        self.evaluators, self.history = parts.evaluators, parts.history
        self.recorder, self.loaders = parts.recorder, parts.data.loaders
        self.dataset_name, self.class_names = parts.data.name, parts.data.class_names
        self.data_sha256 = parts.data.sha256
