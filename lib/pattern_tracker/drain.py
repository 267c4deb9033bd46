"""Passes: everything that moves an event happens in one, one process at a time.

A pass takes the drain lock, reads settings and gate afresh, takes in what the
spool holds, delivers what the gate lets through, applies the limits of age and
size, and gives the lock back.  The daemon runs passes as they are needed,
`pattern-tracker sync` runs them until nothing moves, and neither needs the other.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from pattern_tracker.client.transport import IntelligenceClient
from pattern_tracker.delivery import Delivery, DeliveryReport, config_fingerprint
from pattern_tracker.exchange import Exchange
from pattern_tracker.file_lock import FileLock
from pattern_tracker.hook_flags import set_hook_flags
from pattern_tracker.ingest import Ingest, IngestReport
from pattern_tracker.ledger import Ledger
from pattern_tracker.ledger.schema import is_corrupt, set_aside
from pattern_tracker.redact import default_redactor
from pattern_tracker.resilience.configured import gate_policy
from pattern_tracker.retention import apply_age_limit
from pattern_tracker.spool import SCAN_LIMIT, Spool, TornFileWatch
from pattern_tracker.state_dir import StateDir

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from pattern_tracker.clock import Clock
    from pattern_tracker.settings import Settings
    from pattern_tracker.spool import SpoolFile

# A pass gives the lock back after about this long, so that others get their turn.
PASS_SECONDS: Final = 2.0

LOCK_WAIT_SECONDS: Final = 30.0

# Enough for a request to be handed to the kernel.
REQUEST_LEAVES_SECONDS: Final = 0.001

# Age is a matter of days; looking once a minute is enough.
EXPIRY_INTERVAL_SECONDS: Final = 60.0


@dataclass(slots=True)
class PassReport:
    """What one pass did, and whether the next one would find work."""

    ingest: IngestReport = field(default_factory=IngestReport)
    delivery: DeliveryReport = field(default_factory=DeliveryReport)
    expired: int = 0
    # Files left in the spool: still being written, or beyond this pass's time.
    spooled: int = 0
    more: bool = False
    # The damaged ledger that was set aside, if one was.
    damaged: Path | None = None

    @property
    def moved(self) -> int:
        """How many captures and events went on their way; what only got lost is not among them."""
        return self.ingest.captures + self.delivery.delivered + self.delivery.quarantined


@dataclass(frozen=True, kw_only=True, slots=True)
class _Connection:
    """A client and what it was made from."""

    settings: Settings
    client: IntelligenceClient
    exchange: Exchange


class Drain:
    """Runs passes over one state directory; use as an async context manager."""

    def __init__(
        self,
        *,
        load_settings: Callable[[], Settings],
        clock: Clock,
        rng: random.Random | None = None,
    ) -> None:
        """`load_settings` is called anew for every pass."""
        self._load_settings = load_settings
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._torn = TornFileWatch(clock)
        # The connection of the last pass, kept for the next one.
        self._connection: _Connection | None = None
        self._next_expiry = clock.monotonic()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._disconnect()

    async def run_pass(
        self,
        *,
        forced: bool = False,
        budget_seconds: float = PASS_SECONDS,
        lock_wait_seconds: float = LOCK_WAIT_SECONDS,
        progress: Callable[[PassReport], None] = lambda _: None,
    ) -> PassReport:
        """Take in and deliver what there is, for about `budget_seconds`.

        Args:
            forced: A person asked for it: probe even while the breaker is open.
            budget_seconds: After this the pass ends, with `more` set if work is left.
            lock_wait_seconds: How long to wait for another process's pass to end.
            progress: Called after every step.

        Raises:
            LockBusyError: another process kept the lock.
            SettingsError, StateDirError, LedgerTooNewError: nothing was done.
            sqlite3.Error, OSError: what was committed so far stays.
        """
        state_dir = StateDir(root=self._load_settings().state_dir)
        state_dir.prepare()
        lock = FileLock(state_dir.drain_lock)
        with await lock.acquire(
            clock=self._clock, wait_seconds=lock_wait_seconds, doing="draining the spool"
        ):
            # The user may have changed them while another pass went on.
            settings = replace(self._load_settings(), state_dir=state_dir.root)
            report = PassReport()
            deadline = self._clock.monotonic() + budget_seconds
            try:
                await self._run(settings, report, deadline, progress, forced=forced)
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if not is_corrupt(error):
                    raise
                stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock.now()))
                report.damaged = set_aside(state_dir.ledger, stamp=stamp)
                report.more = True
        return report

    async def _run(
        self,
        settings: Settings,
        report: PassReport,
        deadline: float,
        progress: Callable[[PassReport], None],
        *,
        forced: bool,
    ) -> None:
        state_dir = StateDir(root=settings.state_dir)
        connection = await self._connect(settings, state_dir)
        with Ledger(state_dir.ledger) as ledger, Spool(state_dir.spool) as spool:
            destination = ledger.destination(settings.destination)
            ingest = Ingest(
                state_dir=state_dir,
                spool=spool,
                ledger=ledger,
                destination=destination,
                redactor=default_redactor(),
                torn=self._torn,
                clock=self._clock,
            )
            delivery = self._delivery(connection, ledger, destination)
            report.ingest, report.delivery = ingest.report, delivery.report
            ingest.count_turned_away()
            report.expired = self._expire(ledger, settings)
            await self._move(
                spool=spool,
                ingest=ingest,
                delivery=delivery,
                report=report,
                deadline=deadline,
                progress=progress,
                forced=forced,
            )
            usage = spool.usage()
            report.spooled = usage.count
            set_hook_flags(
                settings, state_dir, held_bytes=usage.allocated_bytes + ledger.undelivered_bytes()
            )

    def _delivery(self, connection: _Connection, ledger: Ledger, destination: int) -> Delivery:
        return Delivery(
            ledger=ledger,
            destination=destination,
            client=connection.client,
            exchange=connection.exchange,
            policy=gate_policy(connection.settings),
            fingerprint=config_fingerprint(connection.settings),
            clock=self._clock,
            rng=self._rng,
        )

    async def _move(
        self,
        *,
        spool: Spool,
        ingest: Ingest,
        delivery: Delivery,
        report: PassReport,
        deadline: float,
        progress: Callable[[PassReport], None],
        forced: bool,
    ) -> None:
        """Take in and deliver until there is nothing left or the time is up."""
        files = spool.scan()
        self._torn.keep_only(set(files))
        chunks = ingest.chunks(files)
        await delivery.check_health()
        moving = True
        while moving:
            chunk = next(chunks, None)
            batch = delivery.deliver_batch(forced=forced and not delivery.report.requests)
            sent = await (self._take_in_meanwhile(batch, ingest, chunk) if chunk else batch)
            progress(report)
            moving = sent or chunk is not None
            if moving and self._clock.monotonic() >= deadline:
                report.more = True
                return
        # A scan that was full may have left files out.
        report.more = len(files) == SCAN_LIMIT and report.moved > 0

    async def _take_in_meanwhile(
        self, batch: Coroutine[Any, Any, bool], ingest: Ingest, chunk: list[SpoolFile]
    ) -> bool:
        """Let the server work on a batch while the next files are taken in.

        Whatever touches the ledger runs to its end without giving way, so the two
        cannot come between each other's statements.
        """
        sending = asyncio.create_task(batch)
        try:
            await self._clock.sleep(REQUEST_LEAVES_SECONDS)
            ingest.take(chunk)
        except BaseException:
            sending.cancel()
            # Its own trouble, if any, is not the one to report.
            await asyncio.gather(sending, return_exceptions=True)
            raise
        return await sending

    def _expire(self, ledger: Ledger, settings: Settings) -> int:
        if self._clock.monotonic() < self._next_expiry:
            return 0
        self._next_expiry = self._clock.monotonic() + EXPIRY_INTERVAL_SECONDS
        state_dir = StateDir(root=settings.state_dir)
        return apply_age_limit(ledger, state_dir, settings, now=int(self._clock.now() * 1000))

    async def _connect(self, settings: Settings, state_dir: StateDir) -> _Connection:
        if self._connection is None or self._connection.settings != settings:
            await self._disconnect()
            client = IntelligenceClient(
                base_url=settings.service_url,
                socket_path=None if settings.service_url else state_dir.intelligence_socket,
                token=settings.api_token,
                ca_file=settings.ca_file,
                timeout_seconds=settings.request_timeout_seconds,
                health_timeout_seconds=settings.health_timeout_seconds,
                token_over_plain_http=settings.token_over_plain_http,
                proxy_url=settings.proxy_url,
                clock=self._clock,
            )
            self._connection = _Connection(
                settings=settings, client=client, exchange=Exchange(client)
            )
            await client.__aenter__()
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.client.__aexit__(None, None, None)
            self._connection = None
