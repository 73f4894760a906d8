"""What a run writes about itself: what it was made from, what was measured, how it ended."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ..errors import RunInterruptedError
from ..extensions.plugin import Plugin
from ..storage.directory import METRICS, SUMMARY, RunDirectory
from .assembly import Parts
from .attachment import Attachments
from .compatibility import check_data, check_versions
from .final_model import write_final_model
from .manifest import build_manifest
from .saved_run import SavedRun
from .summary import build_summary

logger = logging.getLogger("ignite_threenet")


class RunFiles:
    """The files of a run, from its beginning to its end.

    Args:
        parts: what the run was put together from.
        attachments: its plugins.
        saved: what it goes on from, or None.
        sources: where options come from.
        changes: what was another when the run began.
    """

    def __init__(
        self,
        parts: Parts,
        attachments: Attachments,
        saved: SavedRun | None,
        sources: Mapping[str, str],
        changes: Sequence[Mapping[str, Any]],
    ) -> None:
        self._parts = parts
        self._attachments = attachments
        self._saved = saved
        self._sources = sources
        self._changes = changes
        self._directory: RunDirectory | None = None
        self._is_begun = False

    @property
    def directory(self) -> RunDirectory:
        """The run's directory.

        Raises:
            RuntimeError: training has not started, so there is none yet.
        """
        if self._directory is None:
            raise RuntimeError("a run has its directory from the trainer's Events.STARTED on")
        return self._directory

    def begin(self) -> None:
        """Make the directory, or take that of the saved run, and describe the run in it.

        Raises:
            DirectoryError: it is in use, or cannot be written.
            CheckpointError: the data is not what it was.
        """
        config, data = self._parts.config, self._parts.data
        if self._saved is None:
            self._directory = RunDirectory.create(config.out, data.name, force=config.force)
        else:
            check_data(self._saved, data)
            check_versions(self._saved)
            self._directory = self._saved.directory
        plugins: Mapping[str, Plugin] = self._attachments.plugins
        self._manifest = build_manifest(self._parts, plugins, self._sources, self._changes)
        if self._saved is None:
            self._write_what_is_known(self._directory)
        logger.info("files go to %s", self._directory.path)

    def take_over(self, saved: SavedRun) -> None:
        """Write what a saved run has come to, once it is restored."""
        saved.remove_damaged()
        # It told how the run ended before, which is no longer so.
        (saved.directory.path / SUMMARY).unlink(missing_ok=True)
        self._write_what_is_known(saved.directory)

    def interruption(self) -> RunInterruptedError:
        """Make the error that says where training was interrupted, and whether it can go on."""
        state, directory = self._parts.trainer.state, self.directory
        is_saved = directory.last_saved_iteration() == self._parts.recorder.iteration
        return RunInterruptedError(
            state.epoch, state.iteration, directory.path if is_saved else None
        )

    def end(self, error: BaseException | None, seconds: float) -> dict[str, Any]:
        """Write the model that was tested, and the summary, and give the directory free.

        Args:
            error: what ended the run, or None.
            seconds: time taken in all.

        Returns:
            The summary; empty if the run did not begin, or go on: there is nothing to say.
        """
        directory = self._directory if self._is_begun else None
        if directory is None:
            self.release()
            return {}
        try:
            if error is None:
                write_final_model(directory, self._parts)
            return self._summarize(directory, error, seconds)
        finally:
            directory.release()

    def keep(self) -> dict[str, Any]:
        """Leave everything as it is, where the saved run was completed; give its summary."""
        if self._saved is None:
            return {}
        directory = self._saved.directory
        summary = dict(directory.read_summary())
        logger.info(
            "%s had completed its %d epochs, so nothing is trained; more by --epochs",
            directory.path,
            summary["epochs"],
        )
        self.release()
        return summary

    def release(self) -> None:
        """Give the directory of the saved run free."""
        if self._saved is not None:
            self._saved.directory.release()

    def _write_what_is_known(self, directory: RunDirectory) -> None:
        """Write the manifest and what is recorded, and from now on what will be."""
        directory.write_manifest(self._manifest)
        history = self._parts.history
        directory.rewrite_lines(METRICS, history.lines())
        history.write_to(partial(directory.append_line, METRICS))
        self._is_begun = True

    def _summarize(
        self, directory: RunDirectory, error: BaseException | None, seconds: float
    ) -> dict[str, Any]:
        summary = build_summary(self._parts, self._attachments, directory, error, seconds)
        if error is not None:
            logger.info("what there is so far is in %s", directory.path)
        try:
            directory.write_summary(summary)
        except OSError as failure:
            if error is None:
                raise
            logger.error("%s cannot be written: %s", SUMMARY, failure)
        return summary
