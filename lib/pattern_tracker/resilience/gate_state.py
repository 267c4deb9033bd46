"""What the gate of one destination remembers, and how it shows itself to the user.

`Gate` is one JSON value in the ledger, per destination.  "Open" would be
ambiguous for a gate that holds a breaker, so its states have other names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from pattern_tracker.resilience import breaker
from pattern_tracker.resilience.breaker_state import BreakerPolicy, BreakerState, Mode, Permit
from pattern_tracker.resilience.health import HealthPolicy, HealthState
from pattern_tracker.resilience.hold import (
    Hold,
    HoldPolicy,
    Pause,
    settle_hold,
    settle_pause,
)
from pattern_tracker.resilience.policy import check_count


class GateState(StrEnum):
    """What the user is told: all is well, or what is being waited for."""

    SENDING = "sending"
    PROBING = "probing"
    WAITING = "waiting"
    HELD = "held"
    PAUSED = "paused"
    FORCED_OPEN = "forced-open"
    FORCED_CLOSED = "forced-closed"
    DISABLED = "disabled"


STATE_OF_MODE = {
    Mode.CLOSED: GateState.SENDING,
    Mode.HALF_OPEN: GateState.PROBING,
    Mode.OPEN: GateState.WAITING,
    Mode.FORCED_OPEN: GateState.FORCED_OPEN,
    Mode.FORCED_CLOSED: GateState.FORCED_CLOSED,
    Mode.DISABLED: GateState.DISABLED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class GatePolicy:
    """The numbers of the gate and of its parts.

    Raises:
        PolicyError: a value cannot be used; names it.
    """

    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    health: HealthPolicy = field(default_factory=HealthPolicy)
    hold: HoldPolicy = field(default_factory=HoldPolicy)
    batch_max_events: int = 100

    def __post_init__(self) -> None:
        check_count("batch_max_events", self.batch_max_events)

    @property
    def longest_wait_seconds(self) -> float:
        """After this long without an outcome, every gate but a forced-open one sends."""
        return max(
            self.breaker.longest_open_seconds + self.breaker.probe_timeout_seconds,
            self.hold.longest_hold_seconds,
            self.hold.pause_interval_seconds,
        )


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """Make one request with up to `max_events` events, and report what came of it."""

    permit: Permit
    max_events: int


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Make no request before `until` (None: not before a person acts)."""

    state: GateState
    reason: str
    until: float | None


Decision: TypeAlias = Send | Wait


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The gate as `stats` shows it; times in epoch seconds, None where there is none.

    `remedy` is the command that ends a pause, else empty.
    """

    state: GateState
    reason: str
    since: float | None
    retry_at: float | None
    remedy: str = ""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about sending to one destination.

    `ramp_events` is how many events the next request may carry, None for a full
    batch.  `holds_in_a_row` counts the holds of our own guessing since the last
    success.  `failure_reason` is why the last request failed; "" since one did not.
    """

    breaker: BreakerState = BreakerState()
    health: HealthState = HealthState()
    hold: Hold | None = None
    pause: Pause | None = None
    ramp_events: int | None = None
    holds_in_a_row: int = 0
    failure_reason: str = ""

    def __repr__(self) -> str:
        shown = outline(self)
        reason = f" ({shown.reason})" if shown.reason else ""
        retry = "" if shown.retry_at is None else f", retry at {shown.retry_at:.0f}"
        ramp = "full batches" if self.ramp_events is None else f"{self.ramp_events} events"
        return (
            f"<gate {shown.state}{reason}: {self.breaker.consecutive_failures} failures and"
            f" {self.holds_in_a_row} holds in a row, next {ramp}{retry}>"
        )


def outline(gate: Gate) -> Status:
    """What `gate` says of itself, by the times that are stored in it.

    The first of forced-open, paused, held and the breaker's mode names the
    state; `retry_at` is when the last of them lets a request through.
    """
    times = [
        gate.hold.until if gate.hold else None,
        gate.pause.next_try_at if gate.pause else None,
        gate.breaker.retry_at if gate.breaker.mode is Mode.OPEN else None,
    ]
    retry_at = max((time for time in times if time is not None), default=None)
    mode = gate.breaker.mode
    if mode is not Mode.FORCED_OPEN and gate.pause:
        pause = gate.pause
        return Status(
            state=GateState.PAUSED,
            reason=pause.reason,
            since=pause.since,
            retry_at=retry_at,
            remedy=pause.remedy,
        )
    if mode is not Mode.FORCED_OPEN and gate.hold:
        hold = gate.hold
        return Status(state=GateState.HELD, reason=hold.reason, since=hold.since, retry_at=retry_at)
    return Status(
        state=STATE_OF_MODE[mode],
        reason=mode_reason(gate),
        since=gate.breaker.opened_at or gate.breaker.since,
        retry_at=None if mode is Mode.FORCED_OPEN else retry_at,
    )


def settle(gate: Gate, policy: GatePolicy, now: float) -> Gate:
    """Bring all stored times in line with a clock that may have been set since."""
    return replace(
        gate,
        breaker=breaker.settle(gate.breaker, policy.breaker, now),
        hold=settle_hold(gate.hold, policy.hold, now),
        pause=settle_pause(gate.pause, policy.hold, now),
    )


def status(gate: Gate, policy: GatePolicy, now: float) -> Status:
    """What to show the user, by the present clock."""
    return outline(settle(gate, policy, now))


def mode_reason(gate: Gate) -> str:
    """Why the breaker is in its mode, in a few words; "" while all is well."""
    match gate.breaker.mode:
        case Mode.OPEN | Mode.HALF_OPEN:
            return gate.failure_reason or "too many requests failed"
        case Mode.FORCED_OPEN | Mode.FORCED_CLOSED | Mode.DISABLED:
            return "set by hand"
        case Mode.CLOSED:
            return gate.failure_reason


def decode_gate(stored: bytes | str) -> Gate:
    """The gate that was stored with `msgspec.json.encode`; missing fields take their defaults.

    Deliberate loss: what cannot be read (damaged, or a mode that only a newer
    version knows) becomes a fresh gate.  That costs one failed round of requests
    and a mode set by hand; an error here would stop delivery for good.
    """
    try:
        return msgspec.json.decode(stored, type=Gate)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Gate(ramp_events=1)
