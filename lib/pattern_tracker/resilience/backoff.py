"""How long to wait before trying again, and when a stored deadline is believable.

Delays grow by doubling up to a cap and are jittered, so that many clients that
lost the same server do not come back in the same second.  *Equal* jitter keeps
half of the delay and draws the other half (a term of the AWS Architecture Blog,
"Exponential Backoff And Jitter"); with *full* jitter a delay may be next to nothing.

It refuses to decide whether to retry at all: that depends on what went wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pattern_tracker.resilience.policy import PolicyError, check_count, check_seconds

if TYPE_CHECKING:
    import random

# Beyond 2**62 every cap has been reached, and 2**1024 would overflow a float.
MAX_DOUBLINGS = 62


def exponential(attempt: int, *, base_seconds: float, cap_seconds: float) -> float:
    """`base_seconds` doubled once per attempt after the first, never above the cap."""
    doublings = min(max(attempt - 1, 0), MAX_DOUBLINGS)
    return min(cap_seconds, math.ldexp(base_seconds, doublings))


def equal_jitter(ceiling: float, rng: random.Random) -> float:
    """A number in [ceiling / 2, ceiling]."""
    return ceiling / 2 + rng.random() * ceiling / 2


def retry_delay(
    attempt: int, rng: random.Random, *, base_seconds: float = 5.0, cap_seconds: float = 900.0
) -> float:
    """Seconds to wait after the `attempt`-th try (counted from 1) has failed."""
    return equal_jitter(
        exponential(attempt, base_seconds=base_seconds, cap_seconds=cap_seconds), rng
    )


def believable(deadline: float, now: float, *, longest_seconds: float) -> float:
    """`deadline`, but never further away than it could have been when it was set.

    A deadline beyond that was stored before the clock went back.  The caller
    must store the result: a deadline that is only clamped while it is read moves
    along with the clock and never comes.
    """
    return min(deadline, now + longest_seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrySchedule:
    """A limited number of tries for one event, with growing pauses between them.

    Raises:
        PolicyError: a value cannot be used.
    """

    tries: int
    base_seconds: float
    cap_seconds: float

    def __post_init__(self) -> None:
        check_count("tries", self.tries)
        check_seconds("base_seconds", self.base_seconds)
        check_seconds("cap_seconds", self.cap_seconds)
        if self.cap_seconds < self.base_seconds:
            problem = f"use at least base_seconds ({self.base_seconds:g})"
            raise PolicyError(field="cap_seconds", value=self.cap_seconds, problem=problem)

    def delay_after(self, attempt: int, rng: random.Random) -> float | None:
        """Seconds until the next try, or None when `attempt` was the last one."""
        if attempt >= self.tries:
            return None
        return retry_delay(
            attempt, rng, base_seconds=self.base_seconds, cap_seconds=self.cap_seconds
        )

    @property
    def shortest_span_seconds(self) -> float:
        """Time from the first to the last try if every jitter falls short."""
        waits = range(1, self.tries)
        return sum(
            exponential(n, base_seconds=self.base_seconds, cap_seconds=self.cap_seconds) / 2
            for n in waits
        )


# An error that nobody has seen yet may still be the outage of something behind
# the server, so the event is given up only after it had an hour to pass:
# the four waits are at least 240 + 480 + 960 + 1920 = 3600 s.
UNKNOWN_ERROR = RetrySchedule(tries=5, base_seconds=480.0, cap_seconds=3840.0)
