"""Runs passes when there is something for them to do, until told to stop.

Nothing but a ledger from a newer program and a lock that is not ours any more ends
it from within: whatever else a pass raises is reported, and the next one comes
after a pause that grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from pattern_daemon import pacing
from pattern_daemon.lock import LockLostError
from pattern_tracker.errors import LedgerTooNewError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pattern_daemon.self_report import SelfReport
    from pattern_daemon.watch import FileWatch, SpoolWatch
    from pattern_tracker.clock import Clock
    from pattern_tracker.drain import PassReport
    from pattern_tracker.settings import Settings

# A look costs two calls of `stat`.  Five a second while somebody works, and two a
# second otherwise, keep an idle daemon far below 0.2 % of a core.
ACTIVE_POLL_SECONDS: Final = 0.2
IDLE_POLL_SECONDS: Final = 0.5
ACTIVE_FOR_SECONDS: Final = 60.0


class RunPass(Protocol):
    """`Drain.run_pass`, as far as it is needed here."""

    def __call__(self, *, forced: bool) -> Awaitable[PassReport]: ...


class Api(Protocol):
    """`ApiSupervisor`, as far as it is needed here."""

    @property
    def serves(self) -> bool: ...

    async def want(self, wanted: bool) -> None: ...  # noqa: FBT001 - see there

    async def settled(self) -> None: ...

    def came_up(self) -> bool: ...


class Loop:
    """The daemon's one task."""

    def __init__(
        self,
        *,
        run_pass: RunPass,
        load_settings: Callable[[], Settings],
        check_lock: Callable[[], None],
        api: Api,
        spool: SpoolWatch,
        config: FileWatch,
        report: SelfReport,
        sleep: Callable[[float], Awaitable[bool]],
        clock: Clock,
    ) -> None:
        """`sleep` waits so many seconds, or until somebody rings; it tells which."""
        self._run_pass = run_pass
        self._load_settings = load_settings
        self._check_lock = check_lock
        self._api = api
        self._spool = spool
        self._config = config
        self._report = report
        self._sleep = sleep
        self._clock = clock
        self._pace = pacing.Pace()
        self._stopping = False
        # When a pass moved something the last time.
        self._active_at = clock.monotonic()

    def stop(self) -> None:
        """End after the pass that is under way; the caller wakes the sleeper."""
        self._stopping = True

    async def run(self) -> None:
        """Run passes until `stop`.

        Raises:
            LedgerTooNewError: a newer program has been here; this one must not go on.
            LockLostError: this daemon is not the one that others find any more.
        """
        while not self._stopping:
            pause = await self._pass()
            if not self._stopping:
                await self._rest(pause)

    async def _pass(self) -> float:
        """One pass; returns the seconds until the next one."""
        try:
            self._check_lock()
            settings = self._load_settings()
            await self._api.want(settings.service_url is None)
            await self._api.settled()
            if settings.service_url is not None or self._api.serves:
                self._report.ready()
            # A child that has just come up is known to be there, whatever the gate learned
            # while it was not.
            report = await self._run_pass(forced=self._api.came_up())
        except (LedgerTooNewError, LockLostError):
            raise
        except Exception as error:  # noqa: BLE001 - no fault of a pass may end the daemon
            self._report.pass_failed(error)
            self._pace, pause = pacing.after_failure(self._pace)
            return pause
        self._report.pass_ended(report)
        if report.moved:
            self._active_at = self._clock.monotonic()
        self._spool.expect(report.spooled)
        self._pace, pause = pacing.after_pass(self._pace, report, self._clock.now())
        return pause

    async def _rest(self, seconds: float) -> None:
        """Sleep until the next pass is due or something new calls for one."""
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0:
            if self._config.has_news():
                return
            # After a failure new payloads are no reason to fail once more.
            if not self._pace.failures and self._spool.has_news():
                return
            if await self._sleep(min(left, self._poll_seconds())):
                return

    def _poll_seconds(self) -> float:
        active = self._clock.monotonic() - self._active_at < ACTIVE_FOR_SECONDS
        return ACTIVE_POLL_SECONDS if active else IDLE_POLL_SECONDS
