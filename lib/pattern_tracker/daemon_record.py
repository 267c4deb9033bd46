"""The part of `daemon.json` that others than the daemon's own commands show.

The daemon writes the record (`pattern_daemon.record` has all of it); anyone may read it.  It is
believed only while the daemon's lock is held, because it may be left over from a
crash, another boot or another machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pattern_tracker.file_lock import is_held

if TYPE_CHECKING:
    from pattern_tracker.state_dir import StateDir


class DaemonProcess(msgspec.Struct, frozen=True, kw_only=True):
    """Which process it is; a pid means something only on its own host and boot."""

    pid: int


class DaemonSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Who runs, since when (epoch seconds)."""

    process: DaemonProcess
    version: str
    since: float


def running_daemon(state_dir: StateDir) -> tuple[bool, DaemonSummary | None]:
    """Whether a daemon runs, and what it says of itself if it has said so yet."""
    if not is_held(state_dir.daemon_lock):
        return False, None
    try:
        record = msgspec.json.decode(state_dir.daemon_record.read_bytes(), type=DaemonSummary)
    except (FileNotFoundError, msgspec.DecodeError):
        return True, None
    return True, record
