"""A run: builds the parts, attaches the plugins, trains, tests, and sums up."""

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Accuracy, Loss
from ignite.utils import manual_seed
from torch import nn
from torch.optim import Optimizer

from ..config import RunConfig
from ..data.dataset import SPLITS, Dataset, DataShape
from ..data.loader import BatchLoader
from ..data.source import ChosenDataset, choose_dataset
from ..errors import CheckpointError, ConfigError, RunInterruptedError, UnknownNameError
from ..extensions.component import ChosenPart
from ..extensions.plugin import Plugin
from ..extensions.selection import resolve_plugins
from ..models.creation import choose_model, create_model, part_of, try_out
from ..options.declaration import plain_options
from ..options.plain import plain
from ..storage import checkpoint_file as checkpoint
from ..storage.directory import METRICS, SUMMARY, RunDirectory, check_usable
from ..training.device import select_device
from ..training.engines import Batch, LossFunction, create_evaluator, create_trainer
from ..training.history import History
from ..training.loss import create_loss
from ..training.optimizer import MakeOptimizer, create_optimizer
from ..training.randomness import get_random_state, keep_random_state
from ..training.recorders import EpochRecorder, MeasurementRecorder
from ..training.tracked_engine import AttachableEngine, Registration, describe_event, place_in_a_run
from .attachment import Attachment, Stopwatch
from .checkpointing import capture, restore
from .compatibility import (
    check_data,
    check_epochs,
    check_kinds,
    check_loaders,
    check_parts,
    check_plugins,
    check_versions,
    key_of,
)
from .fit import ResumedLoader
from .manifest import build_manifest
from .saved_run import (
    CUSTOM,
    SavedRun,
    check_places,
    config_of,
    open_saved_run,
    options_of,
    plugins_of,
)
from .summary import build_summary

logger = logging.getLogger("ignite_threenet")


# Evaluation needs no gradients: batches this large cost the fewest steps that still fit a
# processor's cache.
_EVALUATION_BATCH_SIZE = 2048


watcher: ContextVar[Callable[["Run"], None] | None] = ContextVar("watcher", default=None)
"""Called with each Run that has been made: so verify-resume looks on at the command line."""


# The part of a run's time that the evaluators take; no plugin's name has parentheses.
_MEASURING = "(measuring)"


class Run:
    """One training run.

    Args:
        config: what to do; the defaults where it is None.
        plugins: names of installed plugins, and plugins; with what they require, they are
            attached in this order, requirements first.
        model: a network of one's own, or a class or function that makes one, called with
            ``input_shape`` and ``classes`` of the data, as far as it takes them; the configured
            one where it is None.
        loss_fn: a loss of one's own; where it is None, NLLLoss for ThreeNet, and for any other
            network CrossEntropyLoss, which takes logits and log-probabilities.
        optimizer: a function that makes the optimizer of the model; if None, the configured one.
        loaders: iterables of ``(inputs, targets)`` of one's own, by split: ``train``, and
            perhaps ``valid`` and ``test``; the configured dataset where it is None.
        model_options: options of the configured model, by name.
        dataset_options: options of the configured dataset, by name.
        sources: where the options come from, for the manifest: ``command line`` and the like,
            by name; a plugin's as ``plugin.option``.
        saved: what to go on from; see Run.resume().

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
        parts: the model and the dataset, by ``model`` and ``dataset``, as they were chosen; not
            those of one's own.
        dataset_name: the dataset's name; ``custom`` with loaders of one's own.
        class_names: names of the classes, by their label; empty where they have none.
        sources: where the options come from.
        recorder: sums up the epoch in progress.
        data_sha256: digests of the dataset's files, or of its tensors; empty with loaders of
            one's own.
        carried_plugins: what a checkpoint held of plugins that are no longer installed.
        changes: what is no longer as it was when the run began, and was allowed.
        left_epoch: the last epoch that terminate_epoch() ended; 0 at first.
        random_state_of_epoch: the random generators as they were when the epoch began.

    Raises:
        ConfigError: what was asked for cannot be done.
        PluginError: a plugin cannot be used.
        DataError: the dataset, which says only when it is loaded what it is like, cannot be had.

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
        model: nn.Module | Callable[..., nn.Module] | None = None,
        loaders: Mapping[str, Iterable[Batch]] | None = None,
        loss_fn: LossFunction | None = None,
        optimizer: MakeOptimizer | None = None,
        model_options: Mapping[str, Any] | None = None,
        dataset_options: Mapping[str, Any] | None = None,
        sources: Mapping[str, str] | None = None,
        saved: SavedRun | None = None,
    ) -> None:
        self.config = config if config is not None else RunConfig()
        _check(self.config, loaders, saved)
        self.device = select_device(self.config.device)
        self.sources = dict(sources or {})
        self.parts: dict[str, ChosenPart] = {}
        self.dataset_name = CUSTOM
        self.class_names: tuple[str, ...] = ()
        self.loaders: dict[str, Iterable[Batch]] = dict(loaders or {})
        self.history = History()
        self.recorder = EpochRecorder(self.history)
        self.data_sha256: Mapping[str, str] = {}
        self.carried_plugins: list[Mapping[str, Any]] = []
        self.changes: list[Mapping[str, Any]] = []
        self.left_epoch = 0
        self.random_state_of_epoch: Mapping[str, Any] = {}
        self._saved = saved
        self._can_interrupt = self._interrupt_requested = False
        self._stopwatch = Stopwatch()

        self._dataset: Dataset | None = None
        self._loading_seconds = 0.0
        self._chosen_dataset = self._choose_dataset(dataset_options or {})
        shape = self._find_shape()
        manual_seed(self.config.seed)
        self.model = self._make_model(model, model_options or {}, shape).to(self.device)
        if saved is not None:
            self._note_changes(saved, check_parts(saved, self))
        smoothing = self.config.label_smoothing
        self.loss_fn = loss_fn if loss_fn is not None else create_loss(self.model, smoothing)
        self._measured_loss_fn = loss_fn if loss_fn is not None else create_loss(self.model)
        make_optimizer = optimizer if optimizer is not None else self._create_optimizer
        self.optimizer = make_optimizer(self.model)
        if saved is not None:
            check_kinds(saved, self)
        self.trainer = self._create_trainer()
        self.evaluators = {split: self._create_evaluator(split) for split in self._split_names()}

        self.plugins: dict[str, Plugin] = {}
        self._attachments: list[Attachment] = []
        self._evaluation_loaders: dict[str, Iterable[Batch]] = self.loaders
        self._directory: RunDirectory | None = None
        self._has_trained = False
        self._is_restored = saved is None
        try:
            self._attach(plugins)
        except BaseException as error:
            self._close(error)
            raise
        watch = watcher.get()
        if watch is not None:
            watch(self)

    @classmethod
    def resume(
        cls,
        path: Path | str,
        *,
        epochs: int | None = None,
        plugins: Iterable[str | Plugin] | None = None,
        model: str | nn.Module | Callable[..., nn.Module] | None = None,
        dataset: str | None = None,
        dataset_options: Mapping[str, Any] | None = None,
        data_dir: Path | str | None = None,
        loaders: Mapping[str, Iterable[Batch]] | None = None,
        loss_fn: LossFunction | None = None,
        optimizer: MakeOptimizer | None = None,
        allow_changes: bool = False,
        without: Collection[str] = (),
    ) -> "Run":
        """Make a run that goes on where another one stopped, and ends as if it never had.

        Args:
            path: the other run's directory.
            epochs: epochs in all, where more are wanted than at first.
            plugins: the plugins as at first, or names or files of them, which get the options that
                they had; by default those that the run had, as far as they are still there.
            model: the network of one's own, as at first; or where its file is now.
            dataset: where the dataset is now.
            dataset_options: those of its options that are paths, where these lead elsewhere now.
            data_dir: where the directory of the datasets is now.
            loaders: the loaders of one's own, as at first.
            loss_fn: the loss of one's own, as at first.
            optimizer: what makes the optimizer, as at first.
            allow_changes: go on also where the source of the model, the dataset or a plugin is
                another than it was, or where a plugin that changes the training is gone.
            without: names of plugins to go on without.

        Raises:
            DirectoryError: there is no run, or another process is using it.
            CheckpointError: there is no checkpoint that can be read, or it does not fit.
        """
        saved = open_saved_run(Path(path))._replace(allow_changes=allow_changes, without=without)
        given: dict[str, Any] = {"epochs": epochs, "dataset": dataset, "data_dir": data_dir}
        if isinstance(model, str):
            given["model"], model = model, None
        try:
            config = config_of(saved, **{k: each for k, each in given.items() if each is not None})
            check_places(saved, config.as_dict())
            return cls(
                config,
                plugins_of(saved, plugins),
                model=model,
                loaders=loaders,
                loss_fn=loss_fn,
                optimizer=optimizer,
                model_options=options_of(saved, "model") if model is None else None,
                dataset_options=None
                if loaders is not None
                else {**options_of(saved, "dataset"), **(dataset_options or {})},
                saved=saved,
            )
        except BaseException:
            saved.directory.release()
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
    def options(self) -> dict[str, Any]:
        """The options of the run and, as ``owner.option``, of its parts and plugins.

        The owner is ``model``, ``dataset`` or a plugin's name; the values are plain.
        """
        owners = {"": plain_options(self.config)}
        owners |= {f"{kind}.": plain(part.options) for kind, part in self.parts.items()}
        owners |= {f"{name}.": plain_options(each) for name, each in self.plugins.items()}
        return {
            f"{prefix}{name}": value
            for prefix, options in owners.items()
            for name, value in options.items()
        }

    @property
    def registrations(self) -> list[Registration]:
        """The handlers of all engines, by engine and event, in the order in which they run."""
        engines = [self.trainer, *self.evaluators.values()]
        return [
            registration
            for engine in engines
            for registration in sorted(engine.registrations, key=place_in_a_run)
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
            can_hold_out = split == "valid" and self._chosen_dataset is not None
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

    def random_state(self) -> dict[str, Any]:
        """Read the state of all random generators that the training may draw from."""
        return get_random_state(self.loaders.get("train"))

    def keep_random_state(self) -> AbstractContextManager[None]:
        """Put all random generators back after a block that draws from them."""
        return keep_random_state(self.loaders.get("train"))

    def save(self, keep: int = 2) -> Path:
        """Write a checkpoint to go on from, between two iterations.

        Args:
            keep: checkpoints that the directory keeps, this one included.

        Raises:
            CheckpointError: it cannot be written, a weight is not finite, or this is in the midst
                of an iteration, or of an epoch's end; the checkpoints before it are still there.
        """
        path = self.directory.path
        if not self._is_between_iterations():
            event = describe_event(self.trainer.last_event_name)
            raise CheckpointError(
                path,
                f"not saved at {event}; a run can go on from EPOCH_COMPLETED, INTERRUPT, "
                "TERMINATE, and an ITERATION_COMPLETED that is not an epoch's last",
            )
        content = checkpoint.encode(capture(self), where=f"{path}: checkpoint")
        return self.directory.write_checkpoint(self.recorder.iteration, content, keep)

    def interrupt(self) -> bool:
        """Ask training to end after the iteration in hand; a signal handler may call this.

        Ignite's Events.INTERRUPT is fired then, and train() raises RunInterruptedError.

        Returns:
            Whether it will: only while training goes on is there something to end.
        """
        self._interrupt_requested = self._can_interrupt
        return self._can_interrupt

    @property
    def was_interrupted(self) -> bool:
        """Whether interrupt() has ended the training, or will."""
        return self._interrupt_requested

    def train(self) -> dict[str, Any]:
        """Train, test the model that training ends with, and write the summary.

        A resumed run that had completed, and is not given more epochs, trains nothing.

        Returns:
            What summary.json holds.

        Raises:
            ConfigError: this run has trained already.
            DataError: the dataset cannot be had.
            DirectoryError: the directory is in use, or cannot be written.
            DivergedError: the loss is no longer finite.
            PluginFailedError: a plugin failed.
            RunInterruptedError: interrupt() was called.
            CheckpointError: the data is not what it was, or what was saved does not fit.
        """
        if self._has_trained:
            raise ConfigError("a Run trains once; make another one")
        self._has_trained = True
        if self._saved is not None and _is_completed(self._saved, self.config.epochs):
            return self._skip_training(self._saved.directory)
        start = time.perf_counter() - self._loading_seconds
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
        if self._saved is not None:
            self._saved.directory.release()

    def _choose_dataset(self, options: Mapping[str, Any]) -> ChosenDataset | None:
        if self.loaders:
            if options:
                raise ConfigError("dataset_options: the loaders are one's own")
            return None
        part = self._choose_part("dataset", options)
        self.parts["dataset"] = part
        self.dataset_name = part.name
        return ChosenDataset(part)

    def _choose_part(self, kind: str, options: Mapping[str, Any]) -> ChosenPart:
        choose = choose_model if kind == "model" else choose_dataset
        part = choose(getattr(self.config, kind))
        if self._saved is not None:
            # Of another part than it was, check_parts() says so.
            known = {spec.name for spec in part.specs}
            options = {name: each for name, each in options.items() if name in known}
        return part.with_options(options)

    def _find_shape(self) -> DataShape | None:
        """Learn what the data is like, from itself where nothing else says; None of loaders."""
        if self._chosen_dataset is None:
            return None
        shape = self._chosen_dataset.shape_in_advance()
        if shape is not None:
            return shape
        start = time.perf_counter()
        self._dataset = self._load_data(self._chosen_dataset)
        self._loading_seconds = time.perf_counter() - start
        return DataShape(self._dataset.sample_shape, self._dataset.classes)

    def _make_model(
        self,
        model: nn.Module | Callable[..., nn.Module] | None,
        options: Mapping[str, Any],
        shape: DataShape | None,
    ) -> nn.Module:
        if model is not None and options:
            raise ConfigError("model_options: the model is one's own")
        if isinstance(model, nn.Module):
            if shape is not None:
                try_out(model, part_of(type(model)), shape)
            return model
        if model is not None:
            return create_model(part_of(model), shape)
        self.parts["model"] = self._choose_part("model", options)
        return create_model(self.parts["model"], shape)

    def _split_names(self) -> list[str]:
        if self.loaders:
            return [split for split in SPLITS if split in self.loaders]
        if self._dataset is not None:
            return [split for split in SPLITS if split in self._dataset.splits]
        return [split for split in SPLITS if split != "valid" or self.config.valid_size > 0]

    def _create_optimizer(self, model: nn.Module) -> Optimizer:
        return create_optimizer(model, self.config)

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
        trainer.add_event_handler(Events.TERMINATE_SINGLE_EPOCH, self._note_left_epoch)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._end_pass)
        trainer.add_event_handler(Events.TERMINATE, self._end_full_pass)
        self.recorder.attach(trainer)
        trainer.add_event_handler(Events.COMPLETED, self._end_interruptible_part)
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
        created = [(chosen, chosen.create()) for chosen in resolve_plugins(plugins)]
        if self._saved is not None:
            carried, changes = check_plugins(self._saved, [plugin for _, plugin in created])
            self.carried_plugins = carried
            self._note_changes(self._saved, changes)
        for chosen, plugin in created:
            if chosen.required_by is not None:
                logger.info("%s: required by %s", chosen.name, chosen.required_by)
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
        if self._chosen_dataset is not None:
            self._create_loaders(self._dataset or self._load_data(self._chosen_dataset))
            self._dataset = None
        if self._saved is None:
            self._directory = RunDirectory.create(
                self.config.out, self.dataset_name, force=self.config.force
            )
        else:
            check_data(self._saved, self)
            check_versions(self._saved)
            self._directory = self._saved.directory
        self._manifest = build_manifest(self)
        if self._saved is None:
            self._directory.write_manifest(self._manifest)
            self._write_history()
        logger.info("files go to %s", self._directory.path)

    def _write_history(self) -> None:
        """Write what is recorded, and from now on what will be."""
        self.directory.rewrite_lines(METRICS, self.history.lines())
        self.history.write_to(partial(self.directory.append_line, METRICS))

    def _load_data(self, chosen: ChosenDataset) -> Dataset:
        # What is drawn at random in there is drawn alike in each run.
        manual_seed(self.config.seed)
        dataset = chosen.load(self.config.data_dir)
        if self.config.valid_size > 0:
            dataset = dataset.hold_out(self.config.valid_size, self.config.seed)
        self.dataset_name, self.class_names = dataset.name, dataset.class_names
        self.data_sha256 = dataset.sha256
        return dataset

    def _create_loaders(self, dataset: Dataset) -> None:
        config = self.config
        splits = {name: split.to(self.device) for name, split in dataset.splits.items()}
        by_dataset = config.normalize == "dataset"
        scaling = dataset.scaling() if by_dataset else dataset.default_scaling()
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

    def _choose_order(self, trainer: Engine) -> None:
        """Tell a loader that draws its order anew for each epoch which epoch this is."""
        loader = self.loaders["train"]
        for part in (loader, getattr(loader, "sampler", None)):
            set_epoch = getattr(part, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(trainer.state.epoch)

    def _note_left_epoch(self, trainer: Engine, iter_counter: int) -> None:
        self.left_epoch = trainer.state.epoch

    def _end_pass(self, trainer: Engine) -> None:
        """Let the loader come to its end in the epoch that it has given its batches to.

        Ignite asks for one batch more only in the next epoch; what a loader draws then from its
        generator would be drawn after the checkpoint, and never by a run that goes on from there.
        """
        batches: Any = trainer._dataloader_iter
        # None: of an epoch that was left early, or was over when the run was saved.
        if batches is not None and (rest := list(islice(batches, 1))):
            trainer._dataloader_iter = chain(rest, batches)

    def _end_full_pass(self, trainer: Engine) -> None:
        """Let the loader come to its end where training ends at an epoch's last iteration."""
        if self.recorder.steps == trainer.state.epoch_length:
            self._end_pass(trainer)

    def _is_between_iterations(self) -> bool:
        event, length = self.trainer.last_event_name, self.trainer.state.epoch_length
        if event in (Events.EPOCH_COMPLETED, Events.TERMINATE, Events.TERMINATE_SINGLE_EPOCH):
            return True
        # Of an epoch whose end was not yet heard of, nobody would hear when the run goes on.
        epochs = self.history.epochs
        is_recorded = bool(epochs) and epochs[-1].epoch == self.trainer.state.epoch
        is_at_end = not is_recorded and self.recorder.steps == length
        return event in (Events.ITERATION_COMPLETED, Events.INTERRUPT) and not is_at_end

    def _train_and_test(self) -> None:
        manual_seed(self.config.seed)
        completed: list[bool] = []
        self.trainer.add_event_handler(Events.STARTED, self._begin)
        self.trainer.add_event_handler(Events.COMPLETED, lambda: completed.append(True))
        if self._saved is None:
            self.trainer.run(self._train_loader(), max_epochs=self.config.epochs)
        else:
            self._run_resumed(self._saved)
        if self._interrupt_requested:
            self.trainer.abandon()
            self._raise_interrupted()
        if not completed:
            logger.warning("a handler ended the training without the event COMPLETED")
        self.history.end_training()
        if "test" in self.evaluators:
            self.evaluate("test")

    def _run_resumed(self, saved: SavedRun) -> None:
        content, epochs = saved.content, self.config.epochs
        self._load_counters(saved)
        where = f"epoch {content['epoch']}, iteration {content['iteration']}"
        logger.info("going on from %s, %s", saved.path, where)
        if saved.has_ended(epochs):
            self._end_as_saved(saved)
            return
        loader = self._train_loader()
        if self._begins_in_mid_epoch(saved) and saved.iterations_in_epoch > 0:
            loader = ResumedLoader(loader, saved)
        self.trainer.run(loader)

    def _end_as_saved(self, saved: SavedRun) -> None:
        """Do what was left to do when the training had ended.

        Ignite would take a trainer that is done for a new one, and train it again.
        """
        trainer = self.trainer
        trainer.state.dataloader = self._train_loader()
        trainer.should_terminate = saved.content["ended"]
        trainer.fire_event(Events.STARTED)
        if trainer.should_terminate != "skip_completed":
            trainer.fire_event(Events.COMPLETED)

    def _begins_in_mid_epoch(self, saved: SavedRun) -> bool:
        """Tell whether iterations of the saved epoch are to come."""
        is_over = saved.is_at_epoch_end or saved.has_ended(self.config.epochs)
        return saved.is_in_mid_epoch and not is_over

    def _load_counters(self, saved: SavedRun) -> None:
        """Set the trainer's counters to those with which the epoch in hand, or the next, began.

        Ignite would compute them from one another, which takes epochs of one known length.
        """
        trainer, content = self.trainer, saved.content
        length, epochs = content["epoch_length"], self.config.epochs
        trainer.load_state_dict({"epoch_length": length, "iteration": 0, "max_epochs": epochs})
        trainer.state.iteration = content["iteration"]
        begins_in_mid_epoch = self._begins_in_mid_epoch(saved)
        trainer.state.epoch = content["epoch"] - begins_in_mid_epoch
        trainer._init_iter = saved.iterations_in_epoch if begins_in_mid_epoch else 0

    def _train_loader(self) -> Any:
        return self.loaders["train"]

    def _begin(self, trainer: Engine) -> None:
        """Do what comes after all that was attached has heard of Events.STARTED."""
        for event in (Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED):
            trainer.add_event_handler(event, self._interrupt_if_requested)
        if self._saved is None:
            trainer.add_event_handler(Events.EPOCH_STARTED, self._note_epoch_start)
        elif self._begins_in_mid_epoch(self._saved):
            self._restore_at_epoch_start(trainer, self._saved)
        else:
            self._restore(self._saved)
            trainer.add_event_handler(Events.EPOCH_STARTED, self._note_epoch_start)
            if self._saved.is_at_epoch_end and not self._saved.has_ended(self.config.epochs):
                # It was terminated at an epoch's last iteration, of whose end nobody has heard.
                trainer.fire_event(Events.EPOCH_COMPLETED)
        self._can_interrupt = True

    def _restore_at_epoch_start(self, trainer: Engine, saved: SavedRun) -> None:
        """Restore after Events.EPOCH_STARTED, which Ignite fires again for the epoch in hand."""

        def restore_once() -> None:
            handle.remove()
            self._restore(saved)
            self.random_state_of_epoch = saved.content["epoch_random"]
            trainer.add_event_handler(Events.EPOCH_STARTED, self._note_epoch_start)

        handle = trainer.add_event_handler(Events.EPOCH_STARTED, restore_once)

    def _restore(self, saved: SavedRun) -> None:
        restore(saved, self)
        self._is_restored = True
        saved.remove_damaged()
        self.directory.write_manifest(self._manifest)
        # It told how the run ended before, which is no longer so.
        (self.directory.path / SUMMARY).unlink(missing_ok=True)
        self._write_history()

    def _note_changes(self, saved: SavedRun, changes: Iterable[Mapping[str, Any]]) -> None:
        """Remember what changed since the run began; what is as it was last is no change."""
        if not self.changes:
            self.changes += saved.directory.manifest.get("changes", [])
        last = {(each["of"], each["fact"]): each["now"] for each in self.changes}
        self.changes += [each for each in changes if last.get(key_of(each)) != each["now"]]

    def _note_epoch_start(self) -> None:
        self.random_state_of_epoch = self.random_state()

    def _interrupt_if_requested(self, trainer: Engine) -> None:
        """Interrupt between iterations, and at an epoch's end only after its handlers."""
        if not self._interrupt_requested:
            return
        if self._is_between_iterations():
            trainer.interrupt()

    def _end_interruptible_part(self) -> None:
        self._can_interrupt = False
        if self._interrupt_requested:
            self._raise_interrupted()

    def _raise_interrupted(self) -> None:
        self._can_interrupt = False
        state, directory = self.trainer.state, self.directory
        saved_iteration = directory.last_saved_iteration()
        resumable = directory.path if saved_iteration == self.recorder.iteration else None
        raise RunInterruptedError(state.epoch, state.iteration, resumable)

    def _skip_training(self, directory: RunDirectory) -> dict[str, Any]:
        summary = dict(directory.read_summary())
        logger.info(
            "%s had completed its %d epochs, so nothing is trained; more by --epochs",
            directory.path,
            summary["epochs"],
        )
        self.close()
        return summary

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
        """Write the summary; of a run that did not begin, or go on, there is nothing to say."""
        if self._directory is None or not self._is_restored:
            if self._saved is not None:
                self._saved.directory.release()
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
        finally:
            self._directory.release()
        return summary


def _is_completed(saved: SavedRun, epochs: int) -> bool:
    """Tell whether a saved run was summed up, and no more epochs are wanted than it was asked."""
    summary = saved.directory.read_summary()
    return summary.get("status") == "completed" and epochs <= saved.config["epochs"]


def _check(
    config: RunConfig,
    loaders: Mapping[str, Iterable[Batch]] | None,
    saved: SavedRun | None,
) -> None:
    """Refuse what can be refused before anything is built."""
    if idist.get_world_size() > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("a run takes one process; several (torchrun) are not supported")
    if saved is not None:
        check_loaders(saved, are_own=loaders is not None)
        if not _is_completed(saved, config.epochs):
            check_epochs(saved, config.epochs)
    elif config.out is not None:
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
