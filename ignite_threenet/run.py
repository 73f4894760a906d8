"""A run: builds the parts, attaches the plugins, trains, tests, and sums up."""

import logging
import os
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Accuracy, Loss
from ignite.utils import manual_seed
from torch import nn

from .attachment import AttachableEngine, Attachment, Registration, Stopwatch
from .config import RunConfig
from .data import HALF, BatchLoader, Dataset, check_dataset_name, load_data
from .device import select_device
from .directory import METRICS, SUMMARY, RunDirectory, check_usable
from .engines import Batch, LossFunction, create_evaluator, create_trainer
from .errors import ConfigError, UnknownNameError
from .history import EpochRecorder, History, MeasurementRecorder
from .model import ThreeNet
from .optimizer import create_optimizer
from .plugin import Plugin, resolve_plugins
from .randomness import keep_random_state
from .records import build_manifest, build_summary

logger = logging.getLogger(__package__)

SPLITS = ("train", "valid", "test")

# Evaluation needs no gradients: batches this large cost the fewest steps that still fit a
# processor's cache.
_EVALUATION_BATCH_SIZE = 2048

# The part of a run's time that the evaluators take; no plugin's name has parentheses.
_MEASURING = "(measuring)"


class Run:
    """One training run.

    Args:
        config: what to do; the defaults where it is None.
        plugins: names of installed plugins, and plugins; with what they require, they are
            attached in this order, requirements first.
        model: a network of one's own; ThreeNet where it is None.
        loss_fn: a loss of one's own; NLLLoss where it is None, which wants log-probabilities.
        loaders: iterables of ``(inputs, targets)`` of one's own, by split: ``train``, and
            perhaps ``valid`` and ``test``; the configured dataset where it is None.
        sources: where the options come from, for the manifest: ``command line`` and the like,
            by name; a plugin's as ``plugin.option``.

    Attributes:
        config: what to do.
        device: the device that it is done on.
        model: the network; when training has ended, the one that is tested.
        loss_fn: the loss function of the training; what is measured is without smoothing.
        optimizer: the optimizer.
        trainer: Ignite's engine for the training loop.
        evaluators: Ignite's engines for measurements, by split, with the metrics ``accuracy``
            and ``loss``.
        plugins: the plugins by name, in their order.
        loaders: batches by split; they are there from the trainer's Events.STARTED on.
        history: what was measured.
        directory: where files go; there from Events.STARTED on.
        dataset_name: the dataset's name; ``custom`` with loaders of one's own.
        sources: where the options come from.

    Raises:
        ConfigError: what was asked for cannot be done.
        PluginError: a plugin cannot be used.

    Example:
        >>> import tempfile
        >>> batches = [(torch.rand(8, 784), torch.arange(8))] * 3
        >>> config = RunConfig(epochs=2, out=tempfile.mkdtemp())
        >>> run = Run(config, loaders={"train": batches, "test": batches})
        >>> summary = run.train()
        >>> summary["status"], summary["epochs"], sorted(summary["test"])
        ('completed', 2, ['accuracy', 'loss'])
    """

    def __init__(
        self,
        config: RunConfig | None = None,
        plugins: Iterable[str | Plugin] = (),
        *,
        model: nn.Module | None = None,
        loaders: Mapping[str, Iterable[Batch]] | None = None,
        loss_fn: LossFunction | None = None,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self.config = config if config is not None else RunConfig()
        _check(self.config, loaders)
        self.device = select_device(self.config.device)
        self.sources = dict(sources or {})
        self.dataset_name = self.config.dataset if loaders is None else "custom"
        self.loaders: dict[str, Iterable[Batch]] = dict(loaders or {})
        self.history = History()
        self._stopwatch = Stopwatch()

        manual_seed(self.config.seed)
        self.model = (model if model is not None else ThreeNet()).to(self.device)
        self.loss_fn = loss_fn if loss_fn is not None else _create_loss(self.config)
        self._measured_loss_fn = loss_fn if loss_fn is not None else nn.NLLLoss()
        self.optimizer = create_optimizer(self.model, self.config)
        self.trainer = self._create_trainer()
        self.evaluators = {split: self._create_evaluator(split) for split in self._split_names()}

        self.plugins: dict[str, Plugin] = {}
        self._attachments: list[Attachment] = []
        self._evaluation_loaders: dict[str, Iterable[Batch]] = self.loaders
        self._directory: RunDirectory | None = None
        try:
            self._attach(plugins)
        except BaseException as error:
            self._close(error)
            raise

    @property
    def directory(self) -> RunDirectory:
        """The run's directory.

        Raises:
            RuntimeError: training has not started, so there is none yet.
        """
        if self._directory is None:
            raise RuntimeError("a run has its directory from the trainer's Events.STARTED on")
        return self._directory

    @property
    def registrations(self) -> list[Registration]:
        """The handlers of all engines, by engine and event, in the order in which they run."""
        engines = [self.trainer, *self.evaluators.values()]
        return [
            registration
            for engine in engines
            for registration in sorted(engine.registrations, key=_place_in_a_run)
        ]

    @property
    def plugin_seconds(self) -> dict[str, float]:
        """Seconds spent so far in each plugin's own code, without the measuring it ordered."""
        return {name: self._stopwatch.seconds.get(name, 0.0) for name in self.plugins}

    @property
    def measuring_seconds(self) -> float:
        """Seconds spent so far in the evaluators, without the plugins that listen to them."""
        return self._stopwatch.seconds.get(_MEASURING, 0.0)

    @property
    def attachments(self) -> list[Attachment]:
        """The plugins as they are attached, in their order."""
        return list(self._attachments)

    def require_split(self, split: str, where: str) -> Engine:
        """Give a split's evaluator.

        Args:
            split: train, valid or test.
            where: who asks, for the message: ``accuracy.split``.

        Raises:
            ConfigError: this run has no such split.
        """
        if split not in self.evaluators:
            can_hold_out = split == "valid" and self.dataset_name != "custom"
            hint = "; hold samples out by --valid-size" if can_hold_out else ""
            raise ConfigError(
                f"{where}: this run has no split {split!r}, only {', '.join(self.evaluators)}{hint}"
            )
        return self.evaluators[split]

    def evaluate(self, split: str) -> dict[str, float]:
        """Measure the model as it is now; the evaluator's handlers hear of it.

        Args:
            split: train, valid or test.

        Returns:
            The metrics by name.
        """
        evaluator = self.require_split(split, "evaluate")
        if split not in self._evaluation_loaders:
            raise ConfigError(f"evaluate: the split {split!r} has no data before training starts")
        loader: Any = self._evaluation_loaders[split]
        with self._stopwatch.measure(_MEASURING), keep_random_state(loader):
            # After a failure, Ignite's next run() only clears that away and returns None.
            state = evaluator.run(loader) or evaluator.run(loader)
        return dict(state.metrics)

    def train(self) -> dict[str, Any]:
        """Train, test the model that training ends with, and write the summary.

        Returns:
            What summary.json holds.

        Raises:
            ConfigError: this run has trained already.
            DataError: the dataset cannot be had.
            DirectoryError: the directory is in use, or cannot be written.
            DivergedError: the loss is no longer finite.
            PluginFailedError: a plugin failed.
        """
        if self._directory is not None:
            raise ConfigError("a Run trains once; make another one")
        start = time.perf_counter()
        error: BaseException | None = None
        try:
            self._prepare()
            self._train_and_test()
        except BaseException as raised:
            error = raised
        error = self._close(error)
        summary = self._sum_up(error, time.perf_counter() - start)
        if error is not None:
            raise error
        return summary

    def close(self) -> None:
        """Close the plugins of a run that is not going to train."""
        self._close(None)

    def _split_names(self) -> list[str]:
        if self.loaders:
            return [split for split in SPLITS if split in self.loaders]
        return [split for split in SPLITS if split != "valid" or self.config.valid_size > 0]

    def _create_trainer(self) -> AttachableEngine:
        autocast = torch.bfloat16 if self.config.precision == "bf16" else None
        trainer = create_trainer(
            self.model,
            self.optimizer,
            self.loss_fn,
            self.device,
            autocast=autocast,
            compiled=self.config.compile,
        )
        trainer.lets_errors_pass = True
        trainer.add_event_handler(Events.EPOCH_STARTED, self._choose_order)
        EpochRecorder(self.history).attach(trainer)
        return trainer

    def _create_evaluator(self, split: str) -> AttachableEngine:
        metrics = {
            "accuracy": Accuracy(device=self.device),
            "loss": Loss(self._measured_loss_fn, device=self.device),
        }
        evaluator = create_evaluator(self.model, metrics, self.device, name=f"evaluators[{split}]")
        evaluator.lets_errors_pass = True
        MeasurementRecorder(self.history, split, self.trainer).attach(evaluator)
        return evaluator

    def _attach(self, plugins: Iterable[str | Plugin]) -> None:
        for chosen in resolve_plugins(plugins):
            if chosen.required_by is not None:
                logger.info("%s: required by %s", chosen.name, chosen.required_by)
            plugin = chosen.create()
            attachment = Attachment(
                plugin,
                self._stopwatch,
                current_epoch=lambda: self.trainer.state.epoch,
                strict=self.config.strict,
            )
            self.plugins[plugin.name] = plugin
            self._attachments.append(attachment)
            attachment.attach(self)

    def _prepare(self) -> None:
        """Load the data, then make the directory: nothing is left where there is no data."""
        dataset = self._load_data() if not self.loaders else None
        self._directory = RunDirectory.create(
            self.config.out, self.dataset_name, force=self.config.force
        )
        self._directory.write_manifest(build_manifest(self, dataset))
        self.history.write_to(partial(self._directory.append_line, METRICS))
        logger.info("files go to %s", self._directory.path)

    def _load_data(self) -> Dataset:
        config = self.config
        dataset = load_data(config.dataset, config.data_dir)
        if config.valid_size > 0:
            dataset = dataset.hold_out(config.valid_size, config.seed)
        splits = {name: split.to(self.device) for name, split in dataset.splits.items()}
        self.dataset_name = dataset.name
        scaling = dataset.scaling() if config.normalize == "dataset" else HALF
        self.loaders = {
            name: BatchLoader(
                split, config.batch_size, config.seed if name == "train" else None, scaling
            )
            for name, split in splits.items()
        }
        self._evaluation_loaders = {
            name: BatchLoader(split, _EVALUATION_BATCH_SIZE, scaling=scaling)
            for name, split in splits.items()
        }
        return dataset

    def _choose_order(self, trainer: Engine) -> None:
        """Tell a loader that draws its order anew for each epoch which epoch this is."""
        loader = self.loaders["train"]
        for part in (loader, getattr(loader, "sampler", None)):
            set_epoch = getattr(part, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(trainer.state.epoch)

    def _train_and_test(self) -> None:
        manual_seed(self.config.seed)
        loader: Any = self.loaders["train"]
        completed: list[bool] = []
        self.trainer.add_event_handler(Events.COMPLETED, lambda: completed.append(True))
        self.trainer.run(loader, max_epochs=self.config.epochs)
        if not completed:
            logger.warning("a handler ended the training without the event COMPLETED")
        self.history.end_training()
        if "test" in self.evaluators:
            self.evaluate("test")

    def _close(self, error: BaseException | None) -> BaseException | None:
        """Close the plugins, the last one first; of several errors the first one counts."""
        for attachment in reversed(self._attachments):
            try:
                attachment.close(error)
                attachment.sum_up()
            except BaseException as failure:
                if error is None:
                    error = failure
                else:
                    logger.error("%s", str(failure) or type(failure).__name__)
        return error

    def _sum_up(self, error: BaseException | None, seconds: float) -> dict[str, Any]:
        """Write the summary; of a run that never got a directory there is nothing to say."""
        if self._directory is None:
            return {}
        summary = build_summary(self, error, seconds)
        if error is not None:
            logger.info("what there is so far is in %s", self._directory.path)
        try:
            self._directory.write_summary(summary)
        except OSError as failure:
            if error is None:
                raise
            logger.error("%s cannot be written: %s", SUMMARY, failure)
        return summary


def _create_loss(config: RunConfig) -> LossFunction:
    if config.label_smoothing == 0:
        return nn.NLLLoss()
    # It takes a log-softmax first, which leaves log-probabilities as they are.
    return nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)


# As Ignite fires them.
_EVENTS_IN_ORDER = (
    Events.STARTED,
    Events.EPOCH_STARTED,
    Events.GET_BATCH_STARTED,
    Events.GET_BATCH_COMPLETED,
    Events.ITERATION_STARTED,
    Events.ITERATION_COMPLETED,
    Events.EPOCH_COMPLETED,
    Events.COMPLETED,
)


def _place_in_a_run(registration: Registration) -> int:
    name = registration.event.partition("(")[0]
    names = [event.name for event in _EVENTS_IN_ORDER]
    return names.index(name) if name in names else len(names)


def _check(config: RunConfig, loaders: Mapping[str, Iterable[Batch]] | None) -> None:
    """Refuse what can be refused before anything is built."""
    check_dataset_name(config.dataset)
    if idist.get_world_size() > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("a run takes one process; several (torchrun) are not supported")
    if config.out is not None:
        check_usable(config.out, force=config.force)
    if loaders is None:
        return
    for split in loaders:
        if split not in SPLITS:
            raise UnknownNameError("split", split, SPLITS, where="loaders")
    if "train" not in loaders:
        raise ConfigError("loaders: there is none for the split 'train'")
    if config.valid_size > 0:
        raise ConfigError("valid_size: loaders of one's own bring their own split 'valid'")
