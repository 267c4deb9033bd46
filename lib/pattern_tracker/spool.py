"""The spool: one file per payload, written by hooks, taken away by a pass.

A file is created exclusively and filled by one `cat`, and never renamed.  No
proper prefix of a JSON object is a JSON object, so a file is whole if and only
if it parses.  One that does not parse may still be being written: it counts as
torn only after it has stayed unchanged for `TORN_AFTER_SECONDS` of the
drainer's own monotonic clock (a hook's clock, or a file's time, may be wrong).

Refuses to follow symbolic links, to read anything but regular `*.json` files,
and to read a file over `MAX_FILE_BYTES` at all.
"""

from __future__ import annotations

import errno
import heapq
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from pattern_tracker.errors import StateDirError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pattern_tracker.clock import Clock

TORN_AFTER_SECONDS: Final = 60.0

# A tool call on a 3 MB file carries it twice (before, after) and escaped.
MAX_FILE_BYTES: Final = 8 * 1024 * 1024

# How many files one scan remembers, so that a million of them cost no memory.
SCAN_LIMIT: Final = 20_000

# The unit of st_blocks, whatever the file system's block size (POSIX leaves it
# open; Linux and macOS both use 512).
BLOCK_BYTES: Final = 512

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class SpoolFile(NamedTuple):
    """A file as the scan saw it; sorts in the order in which files are taken."""

    mtime_ns: int
    name: str
    size: int

    @property
    def label(self) -> str:
        """The name as text that can be written down: a name may be any bytes."""
        return os.fsencode(self.name).decode(errors="backslashreplace")


@dataclass(slots=True)
class SpoolUsage:
    """What the whole spool holds."""

    count: int = 0
    allocated_bytes: int = 0
    oldest_mtime_ns: int | None = None


class TornFileWatch:
    """Remembers since when an unparsable file has not changed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Files that did not parse: (name, mtime, size) -> monotonic time of the first look.
        self._since: dict[SpoolFile, float] = {}

    def is_pending(self, file: SpoolFile) -> bool:
        """Whether it was looked at in this very shape and is not due for another look."""
        since = self._since.get(file)
        return since is not None and self._clock.monotonic() - since < TORN_AFTER_SECONDS

    def gives_up(self, file: SpoolFile) -> bool:
        """Note that it does not parse; True once it has not changed for long enough."""
        since = self._since.setdefault(file, self._clock.monotonic())
        return self._clock.monotonic() - since >= TORN_AFTER_SECONDS

    def keep_only(self, files: set[SpoolFile]) -> None:
        """Forget the files that are gone or have changed."""
        self._since = {file: since for file, since in self._since.items() if file in files}


class Spool:
    """The spool folder, opened once; use as a context manager."""

    def __init__(self, path: Path) -> None:
        """Open the folder.

        Raises:
            StateDirError: it is missing or out of reach.
        """
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StateDirError(
                path,
                f"the spool cannot be opened ({error.strerror})",
                "Run `pattern-daemon start`, which creates it, or check its owner.",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def scan(self, *, limit: int = SCAN_LIMIT) -> list[SpoolFile]:
        """The `limit` oldest files, in the order in which they are to be taken."""
        files = (
            SpoolFile(found.st_mtime_ns, name, found.st_size)
            for name, found in self._regular_files()
        )
        return heapq.nsmallest(limit, files)

    def usage(self) -> SpoolUsage:
        """Count, disk use and greatest age of everything in the spool."""
        usage = SpoolUsage()
        for _, found in self._regular_files():
            usage.count += 1
            usage.allocated_bytes += found.st_blocks * BLOCK_BYTES
            if usage.oldest_mtime_ns is None or found.st_mtime_ns < usage.oldest_mtime_ns:
                usage.oldest_mtime_ns = found.st_mtime_ns
        return usage

    def read(self, file: SpoolFile) -> bytes | None:
        """The file's content; None if it is gone or is no regular file.

        Raises:
            OSError: it is there and cannot be read.
        """
        try:
            fd = os.open(file.name, _READ_FLAGS, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:  # swapped for a symbolic link since the scan
                return None
            raise
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):  # likewise, for a pipe or a directory
                return None
            content = os.read(fd, file.size + 1)
            if len(content) == file.size:
                return content
            # It grew since the scan, or the read was cut short: take what there is.
            parts = [content]
            while parts[-1] and sum(map(len, parts)) <= MAX_FILE_BYTES:
                parts.append(os.read(fd, 1024 * 1024))
            return b"".join(parts)
        finally:
            os.close(fd)

    def remove(self, file: SpoolFile) -> None:
        """Take the file away; to be called only after the commit that holds it."""
        with suppress(FileNotFoundError):
            os.unlink(file.name, dir_fd=self._fd)

    def move_to(self, quarantine: Path, file: SpoolFile, new_name: str) -> None:
        """Move the file, unread, into the quarantine folder under `new_name`."""
        with suppress(FileNotFoundError):
            os.rename(file.name, quarantine / new_name, src_dir_fd=self._fd)

    def _regular_files(self) -> Iterator[tuple[str, os.stat_result]]:
        with os.scandir(self._fd) as entries:
            for entry in entries:
                if not entry.name.endswith(".json"):
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(found.st_mode):
                    yield entry.name, found


def usage_of(path: Path) -> SpoolUsage:
    """What the spool at `path` holds; nothing where there is none yet.

    Raises:
        StateDirError: it is out of reach.
    """
    if not path.exists():
        return SpoolUsage()
    with Spool(path) as spool:
        return spool.usage()
