"""The lock of a run's directory, which one process at a time may use."""

import os
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import DirectoryError
from .files import is_regular, write_atomically

_OWNER_ATTEMPTS, _OWNER_PAUSE_S = 20, 0.05


class DirectoryLock:
    """Keeps other processes out of a directory, and tells them who is in there.

    Args:
        file: the file that is locked.
        owner: the file beside it in which the process signs. Not the lock's own file: others may
            truncate it, and Windows lets nobody write there.
        directory: what messages call the directory.
    """

    def __init__(self, file: Path, owner: Path, directory: Path) -> None:
        self._directory, self._file, self._owner = directory, file, owner
        # Held by the process, so that a dead one leaves no lock behind.
        self._lock = FileLock(file, timeout=0, thread_local=False)

    def acquire(self) -> None:
        """Take the directory, and sign.

        Raises:
            DirectoryError: another process is using it, or what stands in the lock's place is no
                file.
            OSError: it cannot be written.
        """
        if os.path.lexists(self._file) and not is_regular(self._file):
            raise DirectoryError(self._directory, f"its {self._file.name} is no file")
        try:
            self._lock.acquire()
        except Timeout as error:
            raise DirectoryError(self._directory, f"is in use by {self._name_owner()}") from error
        write_atomically(self._owner, f"{os.getpid()}\n".encode())

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
                if is_regular(self._owner):
                    return f"process {int(self._owner.read_text(encoding='utf-8'))}"
            time.sleep(_OWNER_PAUSE_S)
        return "another process"
