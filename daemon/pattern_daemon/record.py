"""`daemon.json`: what the living daemon says of itself, for `status`, `stop` and `stats`.

It says nothing about whether a daemon lives: that is the lock's business.  A record
that is read while the lock is free is left over and means nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from pattern_daemon.identity import ProcessIdentity  # noqa: TC001 - read at run time by msgspec
from pattern_tracker.state_dir import FILE_MODE

if TYPE_CHECKING:
    from pathlib import Path

# Each record is padded to this, so that a full disk lets it be overwritten in place.
PADDED_BYTES: Final = 4096

# A reason is a line, not a story; with it the record stays within its padding.
REASON_LIMIT: Final = 400


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why the daemon does not do all that it should; `since` in epoch seconds."""

    kind: str
    reason: str
    since: float


class ApiState(msgspec.Struct, frozen=True, kw_only=True):
    """The embedded API as a child process; `pid` is None while it is down."""

    pid: int | None = None
    restarts: int = 0
    reason: str = ""


class DaemonRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `daemon.json`; times in epoch seconds.

    Attributes:
        process: Who wrote it.
        version: Of the program.
        since: When it took the lock.
        ready: Whether it has come so far that payloads are delivered.
        problem: Why passes fail; None while they do not.
        api: None where a service is configured.
        last_pass_at: Of the last pass that ended well, some seconds late at most.
        damaged_ledger: Where a damaged ledger was put during this run.
    """

    process: ProcessIdentity
    version: str
    since: float
    ready: bool = False
    problem: Problem | None = None
    api: ApiState | None = None
    last_pass_at: float | None = None
    damaged_ledger: str | None = None
    schema: int = 1

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        return self.process.pid


def shortened(reason: str) -> str:
    """`reason` as one line of bounded length."""
    line = " ".join(reason.split())
    return line if len(line) <= REASON_LIMIT else f"{line[:REASON_LIMIT]}…"


def write_record(path: Path, record: DaemonRecord) -> None:
    """Replace the record in one step.

    Raises:
        OSError: neither that nor overwriting the old one was possible.
    """
    content = msgspec.json.encode(record).ljust(PADDED_BYTES, b"\n")
    temporary = path.with_name(f"{path.name}.new")
    try:
        _write(temporary, content, os.O_CREAT | os.O_TRUNC)
        temporary.replace(path)
    except OSError:
        # A full disk is what must be told of now; the old block can hold the new content.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        _write(path, content, 0)


def read_record(path: Path) -> DaemonRecord | None:
    """The record; None if there is none, or none that this version can read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=DaemonRecord)
    except (OSError, msgspec.DecodeError):
        return None


def remove_record(path: Path) -> None:
    """Take the record away, at the end."""
    with suppress(OSError):  # what is left over means nothing
        path.unlink(missing_ok=True)


def _write(path: Path, content: bytes, flags: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | flags, FILE_MODE)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
