"""Flags in the state directory that tell the hooks, which read no configuration, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pattern_tracker.state_dir import FILE_MODE

if TYPE_CHECKING:
    from pathlib import Path

    from pattern_tracker.settings import Settings
    from pattern_tracker.state_dir import StateDir

# The hooks are let in again only when there is some room, not for one payload.
ROOM_SHARE: Final = 0.9

SET_BY_CONFIGURATION: Final = "tracking.enabled = false\n"

_BYTES_PER_MB: Final = 1_000_000
_BYTES_PER_KIB: Final = 1_024


def set_hook_flags(settings: Settings, state_dir: StateDir, *, held_bytes: int) -> None:
    """Bring the flags up to date; `held_bytes` are in spool and undelivered bodies.

    Over the cap the hooks only count (deliberate loss, cause `turned-away`);
    what is there already is kept.
    """
    cap_bytes = settings.max_size_mb * _BYTES_PER_MB
    _write_if_changed(state_dir.cap_file, f"{int(cap_bytes / _BYTES_PER_KIB)}\n")
    if held_bytes > cap_bytes:
        state_dir.full_flag.touch(mode=FILE_MODE)
    elif held_bytes <= cap_bytes * ROOM_SHARE:
        state_dir.full_flag.unlink(missing_ok=True)
    _set_disabled(state_dir.disabled_flag, enabled=settings.tracking_enabled)


def _set_disabled(flag: Path, *, enabled: bool) -> None:
    if not enabled:
        if not flag.exists():
            _write_if_changed(flag, SET_BY_CONFIGURATION)
    elif flag.exists() and flag.read_text(errors="replace") == SET_BY_CONFIGURATION:
        # One that a person made stays until that person removes it.
        flag.unlink(missing_ok=True)


def _write_if_changed(file: Path, text: str) -> None:
    if not file.exists() or file.read_text(errors="replace") != text:
        file.touch(mode=FILE_MODE)
        file.write_text(text)
