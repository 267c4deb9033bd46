"""The user's settings as the parts need them: policies of the gate, and flags for the hooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pattern_tracker.resilience.breaker_state import BreakerPolicy
from pattern_tracker.resilience.gate_state import GatePolicy
from pattern_tracker.resilience.health import HealthPolicy
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


def gate_policy(settings: Settings) -> GatePolicy:
    """The gate's numbers as the user configured them."""
    return GatePolicy(
        breaker=BreakerPolicy(
            failure_threshold=settings.breaker_failure_threshold,
            timeout_seconds=settings.breaker_timeout_seconds,
        ),
        health=HealthPolicy(
            interval_seconds=settings.health_interval_seconds,
            timeout_seconds=min(settings.health_timeout_seconds, settings.health_interval_seconds),
        ),
    )


@dataclass(frozen=True, slots=True)
class HookFlags:
    """Tells the hooks, which read no configuration, what the user wants of them."""

    settings: Settings
    state_dir: StateDir

    def apply(self, *, held_bytes: int) -> None:
        """Bring the flags up to date; `held_bytes` are in spool and undelivered bodies.

        Over the cap the hooks only count (deliberate loss, cause `turned-away`);
        what is there already is kept.
        """
        cap = self.settings.max_size_mb * _BYTES_PER_MB
        _write_if_changed(self.state_dir.cap_file, f"{int(cap / _BYTES_PER_KIB)}\n")
        if held_bytes > cap:
            self.state_dir.full_flag.touch(mode=FILE_MODE)
        elif held_bytes <= cap * ROOM_SHARE:
            self.state_dir.full_flag.unlink(missing_ok=True)
        self._apply_tracking_enabled()

    def _apply_tracking_enabled(self) -> None:
        flag = self.state_dir.disabled_flag
        if not self.settings.tracking_enabled:
            if not flag.exists():
                _write_if_changed(flag, SET_BY_CONFIGURATION)
        elif flag.exists() and flag.read_text(errors="replace") == SET_BY_CONFIGURATION:
            # One that a person made stays until that person removes it.
            flag.unlink(missing_ok=True)


def _write_if_changed(file: Path, text: str) -> None:
    if not file.exists() or file.read_text(errors="replace") != text:
        file.touch(mode=FILE_MODE)
        file.write_text(text)
