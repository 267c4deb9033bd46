"""The periodic task that forgets."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from pattern_intelligence.errors import StoreUnavailableError
from pattern_intelligence.retention import keep_forgetting
from tests.fake_clock import FakeClock

DAY = 86_400


class FailingOnceStore:
    """Fails the first time, forgets one row the second, and has nothing left after."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._outcomes = [None, 1]
        self.asked: list[tuple[float, float]] = []
        self.asked_enough = asyncio.Event()

    async def forget_before(self, moment: float, *, limit: int) -> int:
        self.asked.append((self._clock.now(), moment))
        if len(self.asked) >= 4:
            self.asked_enough.set()
        outcome = self._outcomes.pop(0) if self._outcomes else 0
        if outcome is None:
            raise StoreUnavailableError("for the test")
        return outcome


async def test_retention_runs_at_once_and_every_hour_even_after_a_failure() -> None:
    clock = FakeClock()
    store = FailingOnceStore(clock)
    task = asyncio.create_task(keep_forgetting(store, clock=clock, days=90))
    await store.asked_enough.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    hours = [round((now - store.asked[0][0]) / 3600) for now, _ in store.asked[:4]]
    assert hours == [0, 1, 1, 2]
    assert all(abs(now - 90 * DAY - moment) < 1 for now, moment in store.asked)
