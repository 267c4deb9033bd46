"""When the next pass is due, from how the last one went.  Pure.

What it refuses to do: notice new payloads, or a changed configuration.  Those wake
the loop whatever is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pattern_tracker.resilience.backoff import exponential

if TYPE_CHECKING:
    from pattern_tracker.drain import PassReport

# With nothing to do: for limits of age and size, and for what hooks could only count.
IDLE_SECONDS: Final = 600.0

# While something waits: the health check is due about then, age and size are looked at.
LONGEST_WAIT_SECONDS: Final = 30.0

# A payload may still be being written; most are whole within a millisecond.
FIRST_RELOOK_SECONDS: Final = 0.05
LAST_RELOOK_SECONDS: Final = 5.0

# A time to come back that has passed already must not make a loop spin.
FIRST_FLOOR_SECONDS: Final = 0.2
LAST_FLOOR_SECONDS: Final = 5.0

FIRST_RETRY_SECONDS: Final = 1.0

FIRST_BACKOFF_SECONDS: Final = 0.2
LAST_BACKOFF_SECONDS: Final = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How the passes have been going."""

    # Passes in a row that raised, and passes in a row that moved nothing.
    failures: int = 0
    fruitless: int = 0


def after_failure(pace: Pace) -> tuple[Pace, float]:
    """The pass raised; seconds until the next one."""
    failures = pace.failures + 1
    pause = exponential(
        failures, base_seconds=FIRST_BACKOFF_SECONDS, cap_seconds=LAST_BACKOFF_SECONDS
    )
    return Pace(failures=failures), pause


def after_pass(pace: Pace, report: PassReport, now: float) -> tuple[Pace, float]:
    """The pass ended well; seconds until the next one.  `now` as in `report`: epoch seconds."""
    if report.more:
        return Pace(), 0.0
    fruitless = 0 if report.moved else pace.fruitless + 1
    pause = IDLE_SECONDS
    if report.spooled:
        pause = exponential(
            fruitless, base_seconds=FIRST_RELOOK_SECONDS, cap_seconds=LAST_RELOOK_SECONDS
        )
    return Pace(fruitless=fruitless), min(pause, _until_delivery(report, fruitless, now))


def _until_delivery(report: PassReport, fruitless: int, now: float) -> float:
    next_try_at = report.delivery.next_try_at
    if next_try_at is not None:
        floor = exponential(
            fruitless, base_seconds=FIRST_FLOOR_SECONDS, cap_seconds=LAST_FLOOR_SECONDS
        )
        return min(max(next_try_at - now, floor), LONGEST_WAIT_SECONDS)
    if report.delivery.reason:  # a request failed; the gate will say more the next time
        return exponential(
            fruitless, base_seconds=FIRST_RETRY_SECONDS, cap_seconds=LONGEST_WAIT_SECONDS
        )
    return IDLE_SECONDS
