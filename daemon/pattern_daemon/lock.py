"""The daemon's lock: held for as long as the daemon lives, whatever its file says."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, Self

from pattern_tracker.errors import PatternTrackerError
from pattern_tracker.file_lock import try_flock
from pattern_tracker.state_dir import FILE_MODE

if TYPE_CHECKING:
    from pathlib import Path

# `status` holds the lock for some microseconds to see whether it is free.
_PATIENCE_TRIES: Final = 5
_PATIENCE_SECONDS: Final = 0.02


class LockLostError(PatternTrackerError):
    """The lock file was deleted or replaced, most likely with the state directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is not the file that this daemon locked: the state directory was removed"
            " or replaced. Start a new daemon with `pattern-daemon start`."
        )


class DaemonLock:
    """An flock on `daemon.lock`, taken or inherited; held until `release` or the end."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        # The open file that carries the lock.
        self.descriptor = descriptor
        found = os.fstat(descriptor)
        self._identity = (found.st_dev, found.st_ino)

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """The lock at `path`; None if another process holds it.

        Raises:
            OSError: the file cannot be opened.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        for _ in range(_PATIENCE_TRIES):
            if try_flock(descriptor):
                return cls(path, descriptor)
            time.sleep(_PATIENCE_SECONDS)
        os.close(descriptor)
        return None

    @classmethod
    def adopt(cls, path: Path, descriptor: int) -> Self | None:
        """The lock that came with an inherited descriptor; None if another process holds it.

        Raises:
            OSError, LockLostError: the descriptor is not one of the file at `path`.
        """
        lock = cls(path, descriptor)
        lock.check()
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - positional only
        return lock if try_flock(descriptor) else None

    def check(self) -> None:
        """Make sure that others who open the lock file find this lock.

        Raises:
            LockLostError: they find another file, or none.
        """
        try:
            found = self._path.stat()
        except OSError as error:
            raise LockLostError(self._path) from error
        if (found.st_dev, found.st_ino) != self._identity:
            raise LockLostError(self._path)

    def release(self) -> None:
        """Give the lock back."""
        os.close(self.descriptor)
