"""What a run writes about itself: what it was made from, what was measured, how it ended."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ..errors import RunInterruptedError
from ..extensions.plugin import Plugin
from ..storage.contents import METRICS, SUMMARY
from ..storage.directory import RunDirectory
from .assembly import Parts
from .attachment import Attachments
from .compatibility import check_data, check_versions
from .final_model import write_final_model, write_unfinished_model
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

    Attributes:
        directory: where they are, or will be.
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
        self._is_begun = False
        config = parts.config
        self.directory = (
            saved.directory
            if saved is not None
            else RunDirectory.plan(config.out, parts.data.name, force=config.force)
        )

    def begin(self) -> None:
        """Make the directory, or take that of the saved run, and describe the run in it.

        Raises:
            DirectoryError: it is in use, or cannot be written.
            CheckpointError: the data is not what it was.
        """
        if self._saved is None:
            self.directory.make()
        else:
            check_data(self._saved, self._parts.data)
            check_versions(self._saved)
        plugins: Mapping[str, Plugin] = self._attachments.plugins
        self._manifest = build_manifest(self._parts, plugins, self._sources, self._changes)
        if self._saved is None:
            self._write_what_is_known()
        logger.info("files go to %s", self.directory.path)

    def take_over(self, saved: SavedRun) -> None:
        """Write what a saved run has come to, once it is restored."""
        saved.remove_damaged()
        # It told how the run ended before, which is no longer so.
        self.directory.remove(SUMMARY)
        self._write_what_is_known()

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
        try:
            if not self._is_begun:
                return {}
            if error is None:
                write_final_model(self.directory, self._parts)
            else:
                write_unfinished_model(self.directory, self._parts)
            return self._summarize(error, seconds)
        finally:
            self.release()

    def keep(self) -> dict[str, Any]:
        """Leave everything as it is, where the saved run was completed; give its summary."""
        summary = dict(self.directory.read_summary())
        logger.info(
            "%s had completed its %d epochs, so nothing is trained; more by --epochs",
            self.directory.path,
            summary["epochs"],
        )
        self.release()
        return summary

    def release(self) -> None:
        """Give the directory free."""
        self.directory.release()

    def _write_what_is_known(self) -> None:
        """Write the manifest and what is recorded, and from now on what will be."""
        directory = self.directory
        directory.write_manifest(self._manifest)
        history = self._parts.history
        directory.rewrite_lines(METRICS, history.lines())
        history.write_to(partial(directory.append_line, METRICS))
        self._is_begun = True

    def _summarize(self, error: BaseException | None, seconds: float) -> dict[str, Any]:
        directory = self.directory
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
