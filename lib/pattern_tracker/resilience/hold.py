"""Waiting because the server asked for it, and waiting for the user.

A *hold* follows 429 or any Retry-After.  It is not a failure: the server is alive
and says when.  A *pause* follows an answer that repeats until somebody changes
something (a rejected token, a wrong address); one event is tried now and then,
and at once when the configuration has changed.

What it refuses to do: shorten what a server asked for (beyond a cap on absurd
values, as a date in the next century), or let any number of 429s in one moment
count as more than one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from pattern_tracker.resilience.backoff import believable, equal_jitter, exponential
from pattern_tracker.resilience.policy import check_seconds

if TYPE_CHECKING:
    import random

# Clients that were told the same second come back spread over this share of it.
RETRY_AFTER_SPREAD = 0.1
RETRY_AFTER_SPREAD_CAP_SECONDS = 5.0
# Below it a server that answers "Retry-After: 0.001" for ever would be a busy loop.
RETRY_AFTER_FLOOR_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldPolicy:
    """How long to wait where the server does not say, and how far to believe it.

    The cap of the default is the window of the rate limit that the public
    service was seen to have: 60 s, and no Retry-After.

    Raises:
        PolicyError: a value cannot be used; names it.
    """

    default_seconds: float = 5.0
    default_cap_seconds: float = 60.0
    retry_after_cap_seconds: float = 3600.0
    pause_interval_seconds: float = 600.0

    def __post_init__(self) -> None:
        for field in (
            "default_seconds",
            "default_cap_seconds",
            "retry_after_cap_seconds",
            "pause_interval_seconds",
        ):
            check_seconds(field, getattr(self, field))

    @property
    def longest_hold_seconds(self) -> float:
        """The longest that one hold can last."""
        stated = max(RETRY_AFTER_FLOOR_SECONDS, self.retry_after_cap_seconds)
        return max(stated + RETRY_AFTER_SPREAD_CAP_SECONDS, self.default_cap_seconds)


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is sent before `until`.  `stated`: the server named the time, we did not guess."""

    since: float
    until: float
    seconds: float
    stated: bool = False
    reason: str = ""


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Waiting for the user; `remedy` is the one command that repairs it."""

    since: float
    next_try_at: float
    reason: str = ""
    remedy: str = ""
    config_fingerprint: str = ""


def hold_after(
    held: Hold | None,
    policy: HoldPolicy,
    now: float,
    rng: random.Random,
    *,
    retry_after: float | None,
    in_a_row: int,
    reason: str,
) -> Hold:
    """The hold after one more request to wait.

    `in_a_row` counts the guessed holds since the last success, this one included.
    Of two holds that overlap, what a server stated goes before a guess, and then
    the later end.
    """
    stated = _seconds_stated(retry_after, policy, rng)
    seconds = _seconds_guessed(in_a_row, policy, rng) if stated is None else stated
    new = Hold(
        since=now, until=now + seconds, seconds=seconds, stated=stated is not None, reason=reason
    )
    if held is None or now >= held.until:
        return new
    return max(new, held, key=lambda hold: (hold.stated, hold.until))


def settle_hold(hold: Hold | None, policy: HoldPolicy, now: float) -> Hold | None:
    """`hold` by the present clock; None once it is over."""
    if hold is None or now >= hold.until:
        return None
    longest = min(hold.seconds, policy.longest_hold_seconds)
    until = believable(hold.until, now, longest_seconds=longest)
    return replace(hold, since=min(hold.since, now), until=until) if until > now else None


def settle_pause(pause: Pause | None, policy: HoldPolicy, now: float) -> Pause | None:
    """`pause` by the present clock; it ends only with a success."""
    if pause is None:
        return None
    next_try_at = believable(pause.next_try_at, now, longest_seconds=policy.pause_interval_seconds)
    return replace(pause, since=min(pause.since, now), next_try_at=next_try_at)


def _seconds_stated(
    retry_after: float | None, policy: HoldPolicy, rng: random.Random
) -> float | None:
    """Seconds to hold for a Retry-After; None for one that names no time to come."""
    if retry_after is None or math.isnan(retry_after) or retry_after <= 0:
        return None
    seconds = min(max(retry_after, RETRY_AFTER_FLOOR_SECONDS), policy.retry_after_cap_seconds)
    spread = min(seconds * RETRY_AFTER_SPREAD, RETRY_AFTER_SPREAD_CAP_SECONDS)
    return seconds + rng.random() * spread


def _seconds_guessed(in_a_row: int, policy: HoldPolicy, rng: random.Random) -> float:
    ceiling = exponential(
        in_a_row, base_seconds=policy.default_seconds, cap_seconds=policy.default_cap_seconds
    )
    return equal_jitter(ceiling, rng)
