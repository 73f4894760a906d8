"""A run: put together, trained, tested, summed up."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

from ignite.engine import Engine
from torch import nn

from ..config import RunConfig
from ..errors import ConfigError
from ..extensions.plugin import Plugin
from ..settings.choice import Choice, key_of
from ..settings.choosing import choose_for_script
from ..storage.directory import RunDirectory
from ..training.engines import Batch
from ..training.kept_state import keep_state
from ..training.loss import LossFunction
from ..training.optimizer import MakeOptimizer
from ..training.randomness import keep_random_state
from ..training.tracked_engine import Registration, list_handlers
from .assembly import Given, MakeMetrics, assemble
from .attachment import Attachments
from .checkpointing import Checkpointer, check_finite
from .compatibility import check_components, check_kinds, check_plugins, merge_changes
from .completed import restore_completed
from .files import RunFiles
from .first_batch import try_loaders
from .fit import Fit
from .fixed import FixedAttributes
from .manifest import build_plan, flat_options
from .request import check_request, check_unused
from .saved_choice import choose_for_resume
from .saved_run import SavedRun, open_saved_run

logger = logging.getLogger("ignite_threenet")
watcher: ContextVar[Callable[["Run"], object]] = ContextVar("watcher", default=lambda run: None)
"""Called with each Run that has been made: so verify-resume looks on at the command line."""


class Run(FixedAttributes):
    """One training run.

    Args:
        config: what to do; the defaults if None.
        plugins: names of installed plugins, and plugins; with what they require, they are
            attached in this order, requirements first.
        model: your own network, or a class or function that makes one, called with
            ``input_shape`` and ``classes`` of the data if it accepts them; or what names one, as
            ``file.py:Name``; the configured one if None.
        loss_fn: your own loss; if None, NLLLoss for ThreeNet, and for any other network
            CrossEntropyLoss, which takes logits and log-probabilities.
        optimizer: a function that makes the optimizer of the model; the configured one if None.
        metrics: a function that makes the metrics of an evaluator, by name; ``accuracy`` and
            ``loss`` if None.
        loaders: your own iterables of ``(inputs, targets)``, by split: ``train``, and perhaps
            ``valid`` and ``test``; the configured dataset if None.
        model_options: options of the configured model, by name.
        dataset_options: options of the configured dataset, by name.

    Attributes:
        config: what to do.
        device: the device that it is done on.
        model: the network; when training has ended, the one that is tested.
        loss_fn: the loss function of the training; what is measured is without smoothing.
        optimizer: the optimizer.
        trainer: Ignite's engine for the training loop.
        evaluators: Ignite's engines for measurements, by split.
        plugins: the plugins by name, in their order.
        loaders: batches by split.
        history: what was measured.
        recorder: sums up the epoch in progress.
        attachments: the plugins as they are attached, with the time that they take.
        components: the model and the dataset, by ``model`` and ``dataset``, as they were chosen;
            not your own.
        dataset_name: the dataset's name; ``custom`` with your own loaders.
        class_names: names of the classes, by their label; empty if they have none.
        sources: where options come from, by ``option`` or ``owner.option``: ``command line`` and
            the like.
        data_sha256: digests of the dataset's files or tensors; empty with your own loaders.

    Raises:
        ConfigError: what was asked for cannot be done.
        PluginError: a plugin cannot be used.
        DataError: the dataset cannot be had.

    Example:
        >>> import tempfile, torch
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
        model: str | nn.Module | Callable[..., nn.Module] | None = None,
        loaders: Mapping[str, Iterable[Batch]] | None = None,
        loss_fn: LossFunction | None = None,
        optimizer: MakeOptimizer | None = None,
        metrics: MakeMetrics | None = None,
        model_options: Mapping[str, Any] | None = None,
        dataset_options: Mapping[str, Any] | None = None,
    ) -> None:
        config = config if config is not None else RunConfig()
        if isinstance(model, str):
            config, model = replace(config, model=model), None
        given = Given(model, loaders, loss_fn, optimizer, metrics)
        options = {"model": model_options or {}, "dataset": dataset_options or {}}
        choice = choose_for_script(config, plugins, options, given.components)
        self._put_together(choice, given, None)

    @classmethod
    def of_choice(
        cls, choice: Choice, given: Given | None = None, saved: SavedRun | None = None
    ) -> "Run":
        """Make a run of who takes part in it, what a script gives, and what it goes on from."""
        run = cls.__new__(cls)
        run._put_together(choice, given if given is not None else Given(), saved)
        return run

    def _put_together(self, choice: Choice, given: Given, saved: SavedRun | None) -> None:
        self.config, self.components = choice.config, choice.configured
        self.sources, self._saved = choice.sources, saved
        check_request(self.config, given, saved)
        changes = check_components(saved, self.config, self.components) if saved else []
        plugins = choice.create_plugins()
        check_unused(plugins)
        parts = self._parts = assemble(choice, given)
        self._publish(parts)

        self.attachments = Attachments(lambda: self.trainer.state.epoch, strict=self.config.strict)
        self.plugins = self.attachments.plugins
        carried: list[Mapping[str, Any]] = []
        if saved is not None:
            check_kinds(saved, parts)
            carried, of_plugins = check_plugins(saved, plugins)
            changes = merge_changes(saved, [*changes, *of_plugins])
        self._fit = Fit(parts, saved, self._restore, self.attachments.check_states)
        self._checkpointer = Checkpointer(parts, self.attachments, self._fit, carried)
        self._files = RunFiles(parts, self.attachments, saved, self.sources, changes)
        self._has_trained = False
        self.attachments.attach(plugins, self)
        if saved is not None and saved.is_completed(self.config.epochs):
            restore_completed(saved, parts, self._checkpointer)
        watcher.get()(self)

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
        metrics: MakeMetrics | None = None,
        allow_changes: bool = False,
        without: Collection[str] = (),
    ) -> "Run":
        """Make a run that goes on where another one stopped, and ends as if it never had.

        Args:
            path: the other run's directory.
            epochs: epochs in all, if more are wanted than at first.
            plugins: the plugins as at first, or names or files of them, which get the options that
                they had; by default those that the run had and that are still there.
            model: your own network, as at first; or where its file is now.
            dataset: where the dataset is now.
            dataset_options: those of its options that are paths, if these lead elsewhere now.
            data_dir: where the directory of the datasets is now.
            loaders: your own, as at first.
            loss_fn: your own, as at first.
            optimizer: your own, as at first.
            metrics: your own, as at first.
            allow_changes: go on also if the source of the model, the dataset or a plugin is
                another than it was, or if a plugin that changes the training is gone.
            without: names of plugins to go on without.

        Raises:
            DirectoryError: there is no run, or another process is using it.
            CheckpointError: there is no checkpoint that can be read, or it does not fit.
        """
        saved = open_saved_run(Path(path))._replace(allow_changes=allow_changes, without=without)
        place, network = (model, None) if isinstance(model, str) else (None, model)
        given = Given(network, loaders, loss_fn, optimizer, metrics)
        options = {"model": place, "dataset": dataset, "epochs": epochs, "data_dir": data_dir}
        options |= {key_of(key, "dataset"): each for key, each in (dataset_options or {}).items()}
        try:
            choice = choose_for_resume(saved, plugins, options, given.components)
            return cls.of_choice(choice, given, saved)
        except BaseException:
            saved.directory.release()
            raise

    @property
    def directory(self) -> RunDirectory:
        """Where the run's files go: a path, which is made when something is first written."""
        return self._files.directory

    @property
    def options(self) -> dict[str, Any]:
        """The options of the run and, as ``owner.option``, of its components and plugins.

        The owner is ``model``, ``dataset`` or a plugin's name; the values are plain.
        """
        return flat_options(self.config, self.components, self.plugins)

    @property
    def registrations(self) -> list[Registration]:
        """The handlers of all engines, by engine and event, in the order in which they run."""
        return list_handlers([self.trainer, *self.evaluators.values()])

    @property
    def plan(self) -> dict[str, Any]:
        """What the run would do, before it starts."""
        return build_plan(self._parts, self.plugins, self.sources, self.registrations)

    @property
    def was_interrupted(self) -> bool:
        """Whether interrupt() has ended the training, or will."""
        return self._fit.was_interrupted

    def require_split(self, split: str, where: str) -> Engine:
        """Give a split's evaluator.

        Args:
            split: train, valid or test.
            where: who asks, for the message: ``accuracy.split``.

        Raises:
            ConfigError: this run has no such split.
        """
        if split not in self.evaluators:
            can_hold_out = split == "valid" and not self._parts.data.is_given
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
        self.require_split(split, "evaluate")
        loader = self._parts.data.evaluation_loader(split)
        with self.attachments.measuring(), keep_random_state(loader):
            return dict(self.evaluators[split].run_anew(loader).metrics)

    @contextmanager
    def keep_state(self) -> Iterator[None]:
        """Put the model, loss, optimizer and random generators back after a block."""
        kept = keep_state(self.model, self.loss_fn, self.optimizer)
        with keep_random_state(self.loaders["train"]), kept:
            yield

    def save(self, keep: int = 2) -> Path:
        """Write a checkpoint to go on from, between two iterations; see Checkpointer.save()."""
        return self._checkpointer.save(self.directory, keep)

    def interrupt(self) -> bool:
        """Ask training to end after the iteration in hand; a signal handler may call this.

        Ignite's Events.INTERRUPT is fired then, and train() raises RunInterruptedError. Tells
        whether it will: only while training goes on is there something to end.
        """
        return self._fit.interrupt()

    def train(self) -> dict[str, Any]:
        """Train, test the model that training ends with, and write the summary.

        A resumed run that had completed, and is not given more epochs, trains nothing.

        Returns:
            What summary.json holds.

        Raises:
            ConfigError: this run has trained already.
            DirectoryError: the directory is in use, or cannot be written.
            DivergedError: the loss is no longer finite.
            PluginFailedError: a plugin failed.
            RunInterruptedError: interrupt() was called.
            CheckpointError: what was saved does not fit.
        """
        if self._has_trained:
            raise ConfigError("a Run trains once; make another one")
        self._has_trained = True
        if self._saved is not None and self._saved.is_completed(self.config.epochs):
            self.attachments.close(None)
            return self._files.keep()
        start = time.perf_counter() - self._parts.data.loading_s
        error: BaseException | None = None
        try:
            try_loaders(self._parts)
            self._files.begin()
            self._fit.run()
            self._test()
        except BaseException as raised:
            error = raised
        error = self.attachments.close(error)
        summary = self._files.end(error, time.perf_counter() - start)
        if error is not None:
            raise error
        return summary

    def close(self) -> None:
        """Close the plugins of a run that is not going to train."""
        self.attachments.close(None)
        self._files.release()

    def _restore(self, saved: SavedRun) -> None:
        self._checkpointer.restore(saved)
        self._files.take_over(saved)

    def _test(self) -> None:
        if self._fit.was_interrupted:
            raise self._files.interruption()
        check_finite(self._parts)
        self.history.end_training()
        if "test" in self.evaluators:
            self.evaluate("test")
