"""When to ask a destination how it is, and what is known of the answer.

An answer is cached for `interval_seconds`; while the breaker is open the pauses
double with every check up to `interval_cap_seconds`, so that a dead host is not
asked all day.  The jitter of a pause is drawn once, when it begins: drawn anew
at every look, the shortest of many draws would win.

What it refuses to do: decide whether events are sent.  A service may well report
that all is fine while its database is down; the gate takes a good answer as a
reason to probe early and a bad one as a reason to go slowly, no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from pattern_tracker.resilience.backoff import believable, exponential
from pattern_tracker.resilience.policy import PolicyError, check_seconds

if TYPE_CHECKING:
    import random

# A pause is the interval ± this share of it.
JITTER_SHARE = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthPolicy:
    """How often to check, and how long one check may take.

    Raises:
        PolicyError: a value cannot be used; names it.
    """

    interval_seconds: float = 30.0
    interval_cap_seconds: float = 300.0
    timeout_seconds: float = 1.0

    def __post_init__(self) -> None:
        for field in ("interval_seconds", "interval_cap_seconds", "timeout_seconds"):
            check_seconds(field, getattr(self, field))
        if self.timeout_seconds > self.interval_seconds:
            problem = f"use at most interval_seconds ({self.interval_seconds:g})"
            raise PolicyError(field="timeout_seconds", value=self.timeout_seconds, problem=problem)

    @property
    def longest_pause_seconds(self) -> float:
        """No two checks are further apart; an interval above the cap is its own cap."""
        return max(self.interval_seconds, self.interval_cap_seconds) * (1 + JITTER_SHARE)


class HealthState(msgspec.Struct, frozen=True, kw_only=True):
    """The last answer.  `healthy` is None before the first one, or if it told nothing.

    `checks_while_open` counts those since the breaker opened; `jitter` in [0, 1)
    belongs to the pause that began at `checked_at`.
    """

    healthy: bool | None = None
    checked_at: float | None = None
    latency_ms: float | None = None
    reason: str = ""
    consecutive_successes: int = 0
    consecutive_failures: int = 0
    checks_while_open: int = 0
    jitter: float = 0.5

    def __repr__(self) -> str:
        known = {None: "unknown", True: "well", False: "unwell"}[self.healthy]
        return (
            f"<health {known}: {self.consecutive_successes} good and"
            f" {self.consecutive_failures} bad answers in a row, {self.reason or 'no remark'}>"
        )


def due_at(state: HealthState, policy: HealthPolicy, now: float, *, breaker_open: bool) -> float:
    """When the next check is due; `now` if there was none, or the clock went back since."""
    if state.checked_at is None or state.checked_at > now:
        return now
    doublings = state.checks_while_open if breaker_open else 0
    longest = policy.longest_pause_seconds
    pause = exponential(
        1 + doublings,
        base_seconds=policy.interval_seconds,
        cap_seconds=longest / (1 + JITTER_SHARE),
    )
    pause *= 1 + JITTER_SHARE * (2 * state.jitter - 1)
    return believable(state.checked_at + pause, now, longest_seconds=longest)


def due(state: HealthState, policy: HealthPolicy, now: float, *, breaker_open: bool) -> bool:
    """Whether the cached answer is too old."""
    return now >= due_at(state, policy, now, breaker_open=breaker_open)


def after_check(
    state: HealthState,
    now: float,
    rng: random.Random,
    *,
    healthy: bool | None,
    breaker_open: bool,
    latency_ms: float | None = None,
    reason: str = "",
) -> HealthState:
    """Take in an answer.

    `healthy` is None if it told nothing about the service, as when there is no
    such endpoint: that must not slow anything down.
    """
    return HealthState(
        healthy=healthy,
        checked_at=now,
        latency_ms=latency_ms,
        reason=reason,
        consecutive_successes=state.consecutive_successes + 1 if healthy else 0,
        consecutive_failures=state.consecutive_failures + 1 if healthy is False else 0,
        checks_while_open=state.checks_while_open + 1 if breaker_open else 0,
        jitter=rng.random(),
    )


def contradicted(state: HealthState) -> HealthState:
    """The service took events after a bad answer: then the answer said nothing of use.

    The next check comes when it would have come anyway.
    """
    if state.healthy is not False:
        return state
    reason = f"takes events, though its health check said: {state.reason or 'unwell'}"
    return replace(state, healthy=None, reason=reason)


def known_bad(state: HealthState, policy: HealthPolicy, now: float) -> bool:
    """Whether the last answer was bad and is recent enough to mean something.

    Without a checker (a single `sync`) an old bad answer must not count for ever.
    """
    if state.healthy is not False or state.checked_at is None:
        return False
    return abs(now - state.checked_at) <= 2 * policy.longest_pause_seconds
