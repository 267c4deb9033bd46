"""A token bucket: steady rate, bounded burst, and an honest waiting time.

The public service counts requests in a window of 60 s and tells a refused caller
nothing; a bucket costs two numbers instead of a thousand and knows when to come back.
"""

from __future__ import annotations


class RateLimiter:
    """Admits `per_minute` requests a minute, and at most that many at once."""

    def __init__(self, *, per_minute: int) -> None:
        self.per_minute = per_minute
        self._per_second = per_minute / 60
        # Requests that may still be admitted at `_counted_at` (monotonic seconds).
        self._allowance = float(per_minute)
        self._counted_at: float | None = None

    def __repr__(self) -> str:
        return f"RateLimiter(per_minute={self.per_minute}, allowance={self._allowance:.1f})"

    def admit(self, now: float) -> float:
        """0.0 if the request is admitted, else the seconds after which one would be.

        `now` is monotonic time in seconds.
        """
        if self._counted_at is not None:
            earned = max(0.0, now - self._counted_at) * self._per_second
            self._allowance = min(float(self.per_minute), self._allowance + earned)
        self._counted_at = now
        if self._allowance >= 1:
            self._allowance -= 1
            return 0.0
        return (1 - self._allowance) / self._per_second
