"""The only module that reads a clock.

Everything else is handed a `Clock`, so that tests decide what time it is and
never wait for it to pass.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the rest of the code may know about time."""

    def now(self) -> float:
        """Wall-clock time, in seconds since the Unix epoch; it may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Suspend the calling task for `seconds`."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        import asyncio  # noqa: PLC0415 - a third of the start-up of commands that never sleep

        await asyncio.sleep(seconds)


def utc_text(epoch_seconds: float) -> str:
    """A time as 2026-01-31T12:00:00Z, without its fraction."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch_seconds))
