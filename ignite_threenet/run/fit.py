"""The loader of a run that goes on."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from ..errors import CheckpointError
from ..training.randomness import set_random_state
from .saved_run import SavedRun


class ResumedLoader:
    """A loader whose first pass begins where a saved run stopped in mid-epoch.

    The batches before are fetched and dropped, from the random state that the epoch began with,
    so that any loader which repeats itself goes on with the very batch that was next.
    """

    def __init__(self, loader: Iterable[Any], saved: SavedRun) -> None:
        self._loader = loader
        self._saved: SavedRun | None = saved

    def __iter__(self) -> Iterator[Any]:
        if self._saved is None:
            return iter(self._loader)
        saved, self._saved = self._saved, None
        return self._resume(saved)

    def _resume(self, saved: SavedRun) -> Iterator[Any]:
        set_random_state(saved.content["epoch_random"], self._loader)
        batches = iter(self._loader)
        done = saved.iterations_in_epoch
        found = sum(1 for _ in islice(batches, done))
        if found < done:
            raise CheckpointError(
                saved.path, f"the epoch had {done} iterations, and the loader gives {found}"
            )
        set_random_state(saved.content["random"], self._loader)
        yield from batches
