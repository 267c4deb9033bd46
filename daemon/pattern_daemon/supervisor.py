"""Keeps the embedded API running for as long as it is wanted.

A child that ends is started again after a pause, which doubles from one death to the
next and is forgotten once a child has lived for a while.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from pattern_daemon.log import describe
from pattern_daemon.record import ApiState, shortened
from pattern_tracker.errors import EmbeddedApiError
from pattern_tracker.resilience.backoff import exponential

if TYPE_CHECKING:
    from collections.abc import Callable

    from pattern_tracker.clock import Clock

FIRST_PAUSE_SECONDS: Final = 1.0
LAST_PAUSE_SECONDS: Final = 60.0
STABLE_SECONDS: Final = 60.0

# How long a pass waits for a child that is on its way: its absence should not be
# counted against the gate, and what is in the spool should not wait for ever.
PATIENCE_SECONDS: Final = 5.0


class Child(Protocol):
    """One run of the embedded API."""

    @property
    def pid(self) -> int | None: ...

    async def start(self) -> object: ...

    async def wait(self) -> int: ...

    async def stop(self) -> None: ...


class ApiSupervisor:
    """Starts, watches, restarts and stops the embedded API."""

    def __init__(
        self,
        *,
        make_child: Callable[[], Child],
        clock: Clock,
        changed: Callable[[ApiState | None], None],
    ) -> None:
        """`changed` is told the state whenever it changes; None while not wanted."""
        self._make_child = make_child
        self._clock = clock
        self._changed = changed
        # Runs while the API is wanted.
        self._keeper: asyncio.Task[None] | None = None
        # While a child serves, and from then until somebody has asked for it.
        self._serving = asyncio.Event()
        self._fresh = False
        self._starts = 0

    async def want(self, wanted: bool) -> None:  # noqa: FBT001 - it is the only thing said
        """Have the API running, or not."""
        if wanted and self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        elif not wanted and self._keeper is not None:
            await self.stop()

    async def settled(self) -> None:
        """Give a wanted child that does not serve some time to."""
        if self._keeper is None or self._serving.is_set():
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._serving.wait(), PATIENCE_SECONDS)

    @property
    def serves(self) -> bool:
        """Whether a child answers requests now."""
        return self._serving.is_set()

    def came_up(self) -> bool:
        """Whether a child came up since this was asked the last time."""
        fresh, self._fresh = self._fresh, False
        return fresh

    async def stop(self) -> None:
        """End the child, if there is one."""
        if self._keeper is None:
            return
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper
        self._keeper = None
        self._starts = 0
        self._changed(None)

    async def _keep(self) -> None:
        deaths = 0
        while True:
            began = self._clock.monotonic()
            reason = await self._one_life()
            lived = self._clock.monotonic() - began
            deaths = 1 if lived >= STABLE_SECONDS else deaths + 1
            self._changed(ApiState(restarts=max(self._starts - 1, 0), reason=shortened(reason)))
            await self._clock.sleep(
                exponential(
                    deaths, base_seconds=FIRST_PAUSE_SECONDS, cap_seconds=LAST_PAUSE_SECONDS
                )
            )

    async def _one_life(self) -> str:
        """Run a child until it ends; returns why it did."""
        child = self._make_child()
        try:
            await child.start()
        except (EmbeddedApiError, OSError) as error:
            return describe(error)
        try:
            self._starts += 1
            self._fresh = True
            self._serving.set()
            self._changed(ApiState(pid=child.pid, restarts=self._starts - 1))
            status = await child.wait()
        finally:
            self._serving.clear()
            await child.stop()
        return f"the embedded API ended ({_exit_text(status)}) and is being started again"


def _exit_text(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"
