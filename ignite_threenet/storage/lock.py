"""The lock of a run's directory, which one process at a time may use."""

import os
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import DirectoryError
from .files import remove_temporaries

_OWNER_ATTEMPTS, _OWNER_PAUSE_S = 20, 0.05


class DirectoryLock:
    """Keeps other processes out of a directory, and tells them who is in there.

    Args:
        file: the file that is locked.
        owner: the file beside it in which the process signs. Not the lock's own file: others may
            truncate it, and Windows lets nobody write there.
    """

    def __init__(self, file: Path, owner: Path) -> None:
        self._directory, self._owner = owner.parent, owner
        # Held by the process, so that a dead one leaves no lock behind.
        self._lock = FileLock(file, timeout=0, thread_local=False)

    def acquire(self) -> None:
        """Take the directory, and remove what killed processes left there.

        Raises:
            DirectoryError: another process is using it.
            OSError: it cannot be written.
        """
        try:
            self._lock.acquire()
        except Timeout as error:
            raise DirectoryError(self._directory, f"is in use by {self._name_owner()}") from error
        remove_temporaries(self._directory)
        self._owner.write_text(f"{os.getpid()}\n", encoding="utf-8")

    def release(self) -> None:
        """Let others use the directory; nothing happens where it was not taken."""
        if self._lock.is_locked:
            with suppress(OSError):
                self._owner.unlink(missing_ok=True)
        self._lock.release()

    def _name_owner(self) -> str:
        """Name the process that uses a directory; one that has just locked it signs in a moment."""
        for _ in range(_OWNER_ATTEMPTS):
            with suppress(OSError, ValueError):
                return f"process {int(self._owner.read_text(encoding='utf-8'))}"
            time.sleep(_OWNER_PAUSE_S)
        return "another process"
