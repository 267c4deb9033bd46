from __future__ import annotations

import time

from pattern_tracker.clock import SystemClock


async def test_system_clock_is_the_machines():
    clock = SystemClock()
    before, ticks = time.time(), time.monotonic()
    await clock.sleep(0)
    assert before <= clock.now() <= time.time()
    assert ticks <= clock.monotonic() <= time.monotonic()
