"""What the circuit breaker remembers, and the numbers that it goes by.

`BreakerState` is JSON in the ledger.  Every field has a default and unknown ones
are ignored, so that an older and a newer program can read each other's state.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from pattern_tracker.resilience.policy import (
    PolicyError,
    check_count,
    check_seconds,
    check_share,
)


class Mode(StrEnum):
    """Modes of the breaker; the last three are set by a person and left by `reset`."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    FORCED_OPEN = "forced-open"
    FORCED_CLOSED = "forced-closed"
    DISABLED = "disabled"


class Trial(StrEnum):
    """What made the breaker half-open."""

    DUE = "due"
    HINT = "hint"
    PERSON = "person"


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakerPolicy:
    """When to trip, how long to stay open, and what it takes to close.

    Raises:
        PolicyError: a value cannot be used; names it.
    """

    failure_threshold: int = 3
    failure_rate: float = 0.5
    window_size: int = 20
    window_minimum: int = 10
    timeout_seconds: float = 60.0
    timeout_cap_seconds: float = 900.0
    half_open_max_calls: int = 1
    half_open_total_calls: int = 10
    success_threshold: int = 1
    stable_successes: int = 5
    # Longer than any request may take: a slot past it belongs to a dead process.
    probe_timeout_seconds: float = 120.0

    def __post_init__(self) -> None:
        for count in (
            "failure_threshold",
            "window_size",
            "window_minimum",
            "half_open_max_calls",
            "half_open_total_calls",
            "success_threshold",
            "stable_successes",
        ):
            check_count(count, getattr(self, count))
        for seconds in ("timeout_seconds", "timeout_cap_seconds", "probe_timeout_seconds"):
            check_seconds(seconds, getattr(self, seconds))
        check_share("failure_rate", self.failure_rate)
        self._check_reachable("window_minimum", self.window_minimum, "window_size")
        self._check_reachable("success_threshold", self.success_threshold, "half_open_total_calls")

    def _check_reachable(self, field: str, value: int, limit: str) -> None:
        most = getattr(self, limit)
        if value > most:
            raise PolicyError(field=field, value=value, problem=f"use at most {limit} ({most})")

    @property
    def longest_open_seconds(self) -> float:
        """The cap of the open time; a timeout above the cap is its own cap."""
        return max(self.timeout_seconds, self.timeout_cap_seconds)


class Permit(msgspec.Struct, frozen=True, kw_only=True):
    """Leave to make one request; its outcome is to be reported once.

    `serial` is 0 unless the request is a probe.
    """

    era: int
    serial: int = 0


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """No request now.  `retry_at` is None where only a person can change that."""

    reason: str
    retry_at: float | None


class ProbeSlot(msgspec.Struct, frozen=True, kw_only=True):
    """A probe in flight; past `deadline` the process that made it counts as dead."""

    serial: int
    deadline: float


class BreakerState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the breaker knows about one destination.

    An *era* is an unbroken stay in one mode: `era` counts them, `since` is the
    start of the present one, and `successes` are those in a row within it.
    `opened_at` is the first trip of the present outage, `trips` the exponent of
    the open time, `outcomes` the window for the failure rate (True = success).
    """

    mode: Mode = Mode.CLOSED
    era: int = 0
    since: float | None = None
    opened_at: float | None = None
    retry_at: float | None = None
    open_seconds: float = 0.0
    trips: int = 0
    consecutive_failures: int = 0
    successes: int = 0
    outcomes: tuple[bool, ...] = ()
    trial: Trial = Trial.DUE
    probes: tuple[ProbeSlot, ...] = ()
    probes_admitted: int = 0
    last_serial: int = 0
    hint_misled: bool = False

    def __repr__(self) -> str:
        retry = "" if self.retry_at is None else f", retry at {self.retry_at:.0f}"
        return (
            f"<breaker {self.mode}: {self.consecutive_failures} failures in a row,"
            f" {self.trips} trips, {len(self.probes)} probes in flight{retry}, era {self.era}>"
        )
