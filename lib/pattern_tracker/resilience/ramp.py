"""How many events the next request may carry.

The size is None for a full batch, else a number that doubles with every success:
1, 2, 4, ...  It grows only as far as the events were there to be accepted: ten
requests with one event each say nothing about a request with a thousand.
"""

from __future__ import annotations


def allowed(size: int | None, batch_max_events: int) -> int:
    """The number of events that `size` stands for."""
    return batch_max_events if size is None else min(max(1, size), batch_max_events)


def grown(size: int | None, batch_max_events: int, *, accepted: int) -> int | None:
    """The size after a request of which `accepted` events were taken."""
    if size is None:
        return None
    now = allowed(size, batch_max_events)
    larger = max(now, 2 * min(now, accepted))
    return None if larger >= batch_max_events else larger


def halved(size: int | None, batch_max_events: int) -> int:
    """The size after a request that failed."""
    return max(1, allowed(size, batch_max_events) // 2)
