"""Notices new payloads and a changed configuration at the cost of a `stat` each.

A folder's time is as coarse as its file system makes it (4 ms to 2 s): a payload can
arrive after a look and leave the time as that look saw it.  For a while after every
change the folder itself is therefore counted.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from pattern_tracker.clock import Clock

# The coarsest time that a file system in use keeps is FAT's, 2 s.
COARSEST_TIME_SECONDS: Final = 2.0


class SpoolWatch:
    """Tells when the spool holds other files than a pass left in it."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        # Not a Path: this is looked at five times a second for as long as the daemon lives.
        self._path = os.fspath(path)
        self._clock = clock
        # The folder's time at the last look, and until when that may hide a change.
        self._seen_ns = -1
        self._unsettled_until = clock.monotonic()
        # How many payloads the last pass left there.
        self._left = 0

    def expect(self, left: int) -> None:
        """A pass ended and left so many payloads."""
        self._left = left

    def has_news(self) -> bool:
        """Whether there is something for a pass; also if the folder is out of reach."""
        try:
            changed_ns = os.stat(self._path).st_mtime_ns  # noqa: PTH116 - half the cost
            if changed_ns != self._seen_ns:
                self._seen_ns = changed_ns
                self._unsettled_until = self._clock.monotonic() + COARSEST_TIME_SECONDS
            elif self._clock.monotonic() >= self._unsettled_until:
                return False
            return self._count() != self._left
        except OSError:
            return True

    def _count(self) -> int:
        return sum(name.endswith(".json") for name in os.listdir(self._path))  # noqa: PTH208 - an object for each of a million names is not needed


class FileWatch:
    """Tells once for each time that a file was changed, created or removed."""

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._seen = self._look()

    def has_news(self) -> bool:
        """Whether it changed since the last time that this was asked."""
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> tuple[int, int, int] | None:
        with suppress(OSError):
            found = os.stat(self._path)  # noqa: PTH116 - as above
            return found.st_mtime_ns, found.st_size, found.st_ino
        return None
