"""Exclusive locks that the kernel gives back when their holder dies, however it dies.

A lock file is created once and never deleted: whoever deleted it could let two
processes hold "the" lock on two different files.  Its content means nothing.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Self

from pattern_tracker.errors import LockBusyError
from pattern_tracker.state_dir import FILE_MODE

if TYPE_CHECKING:
    from pathlib import Path

    from pattern_tracker.clock import Clock

POLL_SECONDS = 0.02


class FileLock:
    """One flock; held from `acquire` until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # The open file that carries the lock; None while not held.
        self._fd: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free.

        Raises:
            OSError: the file cannot be opened, or the file system knows no locks.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            taken = try_flock(fd)
        except BaseException:
            os.close(fd)
            raise
        if taken:
            self._fd = fd
        else:
            os.close(fd)
        return taken

    async def acquire(self, *, clock: Clock, wait_seconds: float, doing: str) -> Self:
        """Take the lock, waiting for whoever holds it.

        Raises:
            LockBusyError: it was not given back in time; `doing` starts the message.
        """
        started = clock.monotonic()
        while not self.try_acquire():
            waited = clock.monotonic() - started
            if waited >= wait_seconds:
                raise LockBusyError(self._path, waited_seconds=waited, doing=doing)
            await clock.sleep(POLL_SECONDS)
        return self

    def release(self) -> None:
        """Give the lock back."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def try_flock(descriptor: int) -> bool:
    """Lock an open file against every other descriptor; False if another one has it.

    Raises:
        OSError: the file system knows no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Whether some process holds the lock at `path` right now.

    Asked with a shared lock, so that those who ask at the same time do not take each
    other for the holder.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
