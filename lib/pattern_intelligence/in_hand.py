"""Finishing the requests in hand before the process ends.

aiohttp drops what arrives on a connection from the moment its clean-up starts, so a
request whose body is still on its way would wait for its rest in vain.  This lets such
requests end first, and tells their clients to come back on another connection.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler


class RequestsInHand:
    """Counts requests between their head and their answer."""

    def __init__(self) -> None:
        self._count = 0
        # Set while the last request in hand is waited for.
        self._none_left: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"RequestsInHand(count={self._count}, finishing={self._none_left is not None})"

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The middleware that counts; outermost, so that it sees every answer."""
        self._count += 1
        try:
            answer = await handler(request)
        finally:
            self._count -= 1
            if self._none_left and not self._count:
                self._none_left.set()
        if self._none_left:
            answer.force_close()
        return answer

    async def finish(self, *, timeout_seconds: float) -> None:
        """Wait until none is left, but no longer than `timeout_seconds`."""
        self._none_left = asyncio.Event()
        if self._count:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await self._none_left.wait()
