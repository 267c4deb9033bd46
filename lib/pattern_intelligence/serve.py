"""The process: take the address, open the store, answer until told to stop, tidy up.

Told to stop means SIGTERM, SIGINT, or, where asked for, the end of stdin: the kernel
closes that pipe when a supervisor dies, however it dies, so nobody is left an orphan.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import uuid
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import web

from pattern_intelligence.address import (
    TcpAddress,
    UnixAddress,
    beside,
    exclusive,
    listening_socket,
)
from pattern_intelligence.errors import AddressTakenError
from pattern_intelligence.handlers import Handlers, build_application
from pattern_intelligence.in_hand import RequestsInHand
from pattern_intelligence.middleware import (
    limit_rate,
    refuse_large_bodies,
    require_token,
    word_refusals,
)
from pattern_intelligence.rate_limit import RateLimiter
from pattern_intelligence.retention import keep_forgetting
from pattern_intelligence.sqlite_store import SqliteStore

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from aiohttp.typedefs import Middleware

    from pattern_intelligence.store import Store
    from pattern_tracker.clock import Clock

# For requests in hand; a client that stopped sending in mid-body must not keep us alive.
_PATIENCE_SECONDS: Final = 5.0
# For answers that are being written when no request is in hand any more.
_CLEANUP_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeConfig:
    """What `serve` needs to know; `token` is required for TCP and unused on a socket.

    `retention_days` 0 keeps everything; `requests_per_minute` 0 sets no limit.
    """

    address: UnixAddress | TcpAddress
    database: Path
    token: str | None = field(repr=False)
    retention_days: int
    requests_per_minute: int
    until_stdin_closes: bool

    def __post_init__(self) -> None:
        if isinstance(self.address, TcpAddress) and not self.token:
            raise ValueError("token: required for a TCP address")


async def serve(config: ServeConfig, *, clock: Clock, announce: Callable[[str], None]) -> None:
    """Serve until told to stop; `announce` gets one line when requests are accepted.

    Raises:
        AddressTakenError: another process listens there or has the database open.
        AddressUnusableError, StoreUnusableError: as their messages say.
    """
    stop = asyncio.Event()
    _stop_on_signals(stop)
    async with AsyncExitStack() as stack:
        bound = await stack.enter_async_context(listening_socket(config.address, clock=clock))
        await stack.enter_async_context(_only_writer(config.database, clock=clock))
        store = SqliteStore(config.database, clock=clock, new_id=new_id)
        stack.push_async_callback(store.close)
        in_hand = RequestsInHand()
        application = _application(config, store, clock=clock, in_hand=in_hand)
        await _listen(application, bound, stack, in_hand=in_hand)
        if config.retention_days:
            forgetting = keep_forgetting(store, clock=clock, days=config.retention_days)
            stack.push_async_callback(_cancel, asyncio.create_task(forgetting))
        announce(f"listening on {_actual(config.address, bound)}")
        if config.until_stdin_closes:
            _stop_at_end_of_stdin(stop)
        await stop.wait()


def new_id() -> str:
    """A random identifier."""
    return str(uuid.uuid4())


def _only_writer(database: Path, *, clock: Clock) -> AbstractAsyncContextManager[None]:
    taken = AddressTakenError(str(database), setting="--database")
    return exclusive(beside(database, ".lock"), clock=clock, taken=taken)


def _application(
    config: ServeConfig, store: Store, *, clock: Clock, in_hand: RequestsInHand
) -> web.Application:
    limiter = (
        RateLimiter(per_minute=config.requests_per_minute) if config.requests_per_minute else None
    )
    middlewares: list[Middleware] = [in_hand.watch, word_refusals]
    if isinstance(config.address, TcpAddress):
        assert config.token
        middlewares.append(require_token(config.token))
    if limiter:
        middlewares.append(limit_rate(limiter, clock=clock))
    middlewares.append(refuse_large_bodies)
    handlers = Handlers(store=store, clock=clock, new_id=new_id, limiter=limiter)
    return build_application(handlers, middlewares=middlewares)


async def _listen(
    application: web.Application,
    bound: socket.socket,
    stack: AsyncExitStack,
    *,
    in_hand: RequestsInHand,
) -> None:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_CLEANUP_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.SockSite(runner, bound)
    await site.start()
    stack.push_async_callback(in_hand.finish, timeout_seconds=_PATIENCE_SECONDS)
    stack.push_async_callback(site.stop)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _actual(address: UnixAddress | TcpAddress, bound: socket.socket) -> UnixAddress | TcpAddress:
    if isinstance(address, TcpAddress):
        return TcpAddress(host=address.host, port=bound.getsockname()[1])
    return address


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _stop_at_end_of_stdin(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def wait_for_the_end() -> None:
        # A stdin that cannot be read has ended as well.
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        with suppress(RuntimeError):  # the loop is closed: we have stopped already
            loop.call_soon_threadsafe(stop.set)

    if sys.stdin is None:  # closed before we were started; descriptor 0 is something else now
        stop.set()
        return
    # A thread, because stdin may be a file or a terminal, which no event loop can watch.
    threading.Thread(target=wait_for_the_end, name="stdin", daemon=True).start()
