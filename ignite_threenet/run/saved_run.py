"""A run that can go on."""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import CheckpointError
from ..storage import checkpoint_file as checkpoint
from ..storage.directory import RunDirectory
from .saved_structure import MisfitError, check_structure

logger = logging.getLogger("ignite_threenet")
SOURCE_KEYS = ("kind", "distribution", "sha256")


class SavedRun(NamedTuple):
    """A run that can go on.

    Attributes:
        directory: its directory, locked by this process.
        path: the checkpoint.
        content: what the checkpoint holds.
        allow_changes: whether it may go on with another source than it was made with.
        without: plugins that it goes on without.
    """

    directory: RunDirectory
    path: Path
    content: Mapping[str, Any]
    allow_changes: bool = False
    without: Collection[str] = ()

    def forget(self, plugin: str) -> "SavedRun":
        """Take a plugin for one that the run never had."""
        kept = [each for each in self.plugins if each["name"] != plugin]
        return self._replace(content={**self.content, "plugins": kept})

    @property
    def config(self) -> Mapping[str, Any]:
        """The run's options, as plain values."""
        config: Mapping[str, Any] = self.content["config"]
        return config

    @property
    def components(self) -> Mapping[str, Mapping[str, Any]]:
        """Where the model and the dataset came from, and their options, by kind."""
        components: Mapping[str, Mapping[str, Any]] = self.content["components"]
        return components

    @property
    def plugins(self) -> Sequence[Mapping[str, Any]]:
        """The plugins' names, sources, options and states, in their order."""
        plugins: Sequence[Mapping[str, Any]] = self.content["plugins"]
        return plugins

    @property
    def is_in_mid_epoch(self) -> bool:
        """Whether an epoch has begun and not ended."""
        ended = self.content["history"]["epochs"]
        last = ended[-1]["epoch"] if ended else 0
        return bool(self.content["epoch"] > max(last, self.content["left_epoch"]))

    @property
    def iterations_in_epoch(self) -> int:
        """Iterations done of the epoch in hand; none if it has ended."""
        return int(self.content["steps"]) if self.is_in_mid_epoch else 0

    @property
    def is_at_epoch_end(self) -> bool:
        """Whether the epoch in hand has had all its iterations, and nobody has heard of its end."""
        return self.is_in_mid_epoch and self.content["steps"] == self.content["epoch_length"]

    def has_ended(self, epochs: int) -> bool:
        """Tell whether the training had ended, where no more than some epochs are wanted."""
        was_terminated = bool(self.content["ended"]) and epochs <= self.config["epochs"]
        is_done = not self.is_in_mid_epoch and self.content["epoch"] >= epochs
        return was_terminated or is_done

    def is_completed(self, epochs: int) -> bool:
        """Tell whether it was summed up, and no more epochs are wanted than it was asked for."""
        summary = self.directory.read_summary()
        return summary.get("status") == "completed" and epochs <= self.config["epochs"]

    def remove_damaged(self) -> None:
        """Remove the newer checkpoints, none of which could be read.

        Else they would count as the newest, and push out those that are written from now on.
        """
        for path in self.directory.checkpoints():
            if path == self.path:
                return
            self.directory.pass_over(path)


def open_saved_run(path: Path) -> SavedRun:
    """Take a run's directory, and read its newest checkpoint that can be read.

    Raises:
        DirectoryError: there is no run, or another process is using it.
        CheckpointError: no checkpoint can be read, or the newest one that can is of another
            version.
    """
    directory = RunDirectory.open(path)
    try:
        return _read_newest(directory)
    except BaseException:
        directory.release()
        raise


def _read_newest(directory: RunDirectory) -> SavedRun:
    problems: list[CheckpointError] = []
    for path in directory.checkpoints():
        try:
            content = checkpoint.read(path)
        except CheckpointError as error:
            problems.append(error)
            continue
        _check_content(path, content)
        for problem in problems:
            logger.warning("%s; taking %s instead", problem, path.name)
        return SavedRun(directory, path, content)
    if not problems:
        raise CheckpointError(
            directory.path,
            "holds no checkpoint to go on from; the plugin 'checkpoint' writes them",
        )
    if len(problems) == 1:
        raise problems[0]
    raise CheckpointError(
        directory.path, f"none of its {len(problems)} checkpoints can be read; {problems[0]}"
    ) from problems[0]


def _check_content(path: Path, content: Mapping[str, Any]) -> None:
    try:
        check_structure(content)
    except MisfitError as error:
        raise CheckpointError(path, str(error)) from None
