"""What the daemon tells of itself: in the log once for each change, in `daemon.json` always.

A problem that stays is one line in the log when it comes and one when it goes.  The
record is written when something in it changes, never by the clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from pattern_daemon.log import describe, trace
from pattern_daemon.record import ApiState, DaemonRecord, Problem, shortened, write_record
from pattern_tracker.errors import PatternTrackerError

if TYPE_CHECKING:
    from pathlib import Path

    from pattern_daemon.log import Log
    from pattern_tracker.clock import Clock
    from pattern_tracker.drain import PassReport

# A record whose only news is the time of the last pass is written this often at most.
LAST_PASS_LAG_SECONDS: Final = 10.0

# Problems of single files in one pass that are worth a line each.
PROBLEMS_LOGGED: Final = 20


class SelfReport:
    """Keeps the record and the log in step with what the daemon goes through."""

    def __init__(self, *, record: DaemonRecord, path: Path, log: Log, clock: Clock) -> None:
        """Write the first record.

        Raises:
            OSError: it cannot be written.
        """
        self._path = path
        self._log = log
        self._clock = clock
        self.record = record
        # What is on disk; None if the last attempt to write it failed.
        self._written: DaemonRecord | None = record
        # Why nothing is sent while events wait; "" while all is well.
        self._holdup = ""
        write_record(path, record)

    def ready(self) -> None:
        """Payloads are being delivered from now on."""
        if not self.record.ready:
            self._log.info("ready")
            self._publish(replace(self.record, ready=True))

    def api_changed(self, state: ApiState | None) -> None:
        """The embedded API came up, went down, or is not wanted any more."""
        before = self.record.api
        if state and state.pid:
            self._log.info("the embedded API serves", api_pid=state.pid, restarts=state.restarts)
        elif state and (before is None or before.reason != state.reason):
            self._log.error("the embedded API is down", reason=state.reason)
        self._publish(replace(self.record, api=state))

    def api_said(self, line: str) -> None:
        """The embedded API printed something."""
        self._log.warning("the embedded API said", line=line)

    def pass_failed(self, error: Exception) -> None:
        """A pass ended early; nothing that it had not committed is lost."""
        now = self._clock.now()
        reason = shortened(describe(error))
        before = self.record.problem
        kind = type(error).__name__
        if before is None or (before.kind, before.reason) != (kind, reason):
            known = isinstance(error, (PatternTrackerError, OSError))
            where = {} if known else {"trace": trace(error)}
            self._log.error("pass failed", kind=kind, reason=reason, **where)
            since = before.since if before and before.kind == kind else now
            problem = Problem(kind=kind, reason=reason, since=since)
            self._publish(replace(self.record, problem=problem))

    def pass_ended(self, report: PassReport) -> None:
        """A pass ended well."""
        if self.record.problem:
            self._log.info("passes work again", kind=self.record.problem.kind)
        self._log_moves(report)
        self._log_holdup(report)
        record = replace(self.record, problem=None, last_pass_at=self._clock.now())
        if report.damaged:
            self._log.error("the ledger was damaged", set_aside_as=str(report.damaged))
            record = replace(record, damaged_ledger=str(report.damaged))
        self._publish(record)

    def _log_moves(self, report: PassReport) -> None:
        problems = report.ingest.problems
        for problem in problems[:PROBLEMS_LOGGED]:
            self._log.error("payload quarantined", problem=problem)
        if len(problems) > PROBLEMS_LOGGED:
            self._log.error("more payloads quarantined", count=len(problems) - PROBLEMS_LOGGED)
        counts = {
            "captures": report.ingest.captures,
            "events": report.ingest.events,
            "delivered": report.delivery.delivered,
            "quarantined": report.ingest.quarantined + report.delivery.quarantined,
            "turned_away": report.ingest.turned_away,
            "expired": report.expired,
        }
        if report.moved:
            self._log.info("pass", **{name: count for name, count in counts.items() if count})

    def _log_holdup(self, report: PassReport) -> None:
        holdup = report.delivery.reason
        if holdup and holdup != self._holdup:
            self._log.warning("not sending", reason=holdup)
        elif self._holdup and not holdup:
            self._log.info("sending again")
        self._holdup = holdup

    def _publish(self, record: DaemonRecord) -> None:
        self.record = record
        if self._written is not None and not self._is_news(self._written, record):
            return
        failed_before = self._written is None
        try:
            write_record(self._path, record)
        except OSError as error:
            self._written = None
            if not failed_before:
                self._log.error("daemon.json cannot be written", reason=describe(error))
        else:
            self._written = record

    def _is_news(self, written: DaemonRecord, record: DaemonRecord) -> bool:
        if replace(written, last_pass_at=None) != replace(record, last_pass_at=None):
            return True
        last = written.last_pass_at or 0.0
        # abs: the clock may have been set back.
        return abs((record.last_pass_at or 0.0) - last) >= LAST_PASS_LAG_SECONDS
