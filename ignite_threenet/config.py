"""What a run is asked to do."""

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, dataclass_transform

from .errors import ConfigError
from .extensions.component import locate
from .options.declaration import make_options_class, option

DEFAULT_PLUGINS = ("accuracy", "best", "timing", "plot", "progress", "checkpoint")
"""The plugins that ``ignite-threenet run`` attaches if none are named."""

# NumPy's legacy seeding, which Ignite's manual_seed also calls, takes 32 bits.
_LARGEST_SEED = 2**32 - 1


@dataclass_transform(frozen_default=True, kw_only_default=True)
class _FrozenOptions:
    def __init_subclass__(cls) -> None:
        make_options_class(cls, frozen=True)


class RunConfig(_FrozenOptions):
    """What a run is asked to do.

    Raises:
        OptionError: an option has a value that is not allowed.
        ConfigError: the options contradict each other.

    Example:
        >>> RunConfig(dataset="mnist", epochs=40, lr=1e-2).batch_size
        256
        >>> RunConfig(epochs=0)
        Traceback (most recent call last):
        ignite_threenet.errors.OptionError: RunConfig.epochs: 0 is out of range; \
expected an integer at least 1
    """

    model: str = option(
        "threenet", help="name of a network ('models list' shows them), or file.py:Name"
    )
    dataset: str = option(
        "auto",
        help="auto, mnist, fashion-mnist, kmnist, digits or another name ('datasets list' shows "
        "them), or file.py:load, or a folder of images; auto is mnist if it can be had, else "
        "digits",
    )
    data_dir: Path = option(Path("data"), help="directory that holds the datasets")
    valid_size: int = option(
        0, help="training samples held out as the split 'valid', chosen by the seed", min=0
    )
    epochs: int = option(500, help="passes over the training set", min=1)
    batch_size: int = option(256, help="samples in a batch", min=1)
    optimizer: Literal["sgd", "adam", "adamw", "muon"] = option(
        "sgd", help="torch's optimizer of that name; muon leaves what is no matrix to adamw"
    )
    lr: float = option(1e-3, help="learning rate; with a schedule its peak", above=0)
    momentum: float = option(0.0, help="momentum of sgd", min=0)
    nesterov: bool = option(False, help="Nesterov momentum of sgd")
    betas: tuple[float, float] | None = option(
        None,
        help="decay rates of adam's averages; by default torch's own, 0.9,0.999",
        min=0,
        below=1,
    )
    weight_decay: float = option(0.0, help="weight decay; with sgd and adam an L2 penalty", min=0)
    label_smoothing: float = option(
        0.0, help="share of a label that is spread over all classes", min=0, max=1
    )
    normalize: Literal["half", "dataset"] = option(
        "half",
        help="pixels to [-1, 1], by 0.5 and 0.5; or to mean 0 and deviation 1 of the training set",
    )
    precision: Literal["float32", "bf16"] = option(
        "float32", help="of the training's matrix products; measurements are in float32"
    )
    compile: bool = option(
        False, help="compile the training step: some ten seconds, then faster iterations"
    )
    seed: int = option(
        0, help="seed of the weights and of the order of batches", min=0, max=_LARGEST_SEED
    )
    device: str = option("auto", help="auto (cuda, then mps, then cpu), or a device's name")
    out: Path | None = option(
        None, help="directory for the run's files; by default runs/<date-time>-<dataset>"
    )
    force: bool = option(False, help="replace the run that the directory holds")
    strict: bool = option(False, help="stop also when a plugin fails that only shows something")

    def __post_init__(self) -> None:
        # A run that is resumed from another directory must find them too.
        object.__setattr__(self, "model", locate("model", self.model))
        object.__setattr__(self, "dataset", locate("dataset", self.dataset))
        if self.momentum > 0 and self.optimizer != "sgd":
            raise ConfigError(f"momentum: an option of sgd, and the optimizer is {self.optimizer}")
        if self.betas is not None and self.optimizer == "sgd":
            raise ConfigError("betas: an option of adam, adamw and muon, and the optimizer is sgd")
        if self.nesterov and self.momentum == 0:
            raise ConfigError("nesterov: needs a momentum above 0, and momentum is 0")

    def as_dict(self) -> dict[str, Any]:
        """Give the options by name, in the order of declaration."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
