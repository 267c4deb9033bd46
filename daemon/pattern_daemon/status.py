"""What the daemon, its gate and its backlog look like right now, read from files alone.

No network and no lock: it works with the daemon dead, hung or starting, and changes
nothing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from pattern_daemon.record import ApiState, DaemonRecord, read_record
from pattern_tracker.errors import (
    LedgerError,
    PatternTrackerError,
    SettingsError,
    StateDirError,
)
from pattern_tracker.file_lock import is_held
from pattern_tracker.ledger.summary import LedgerSummary, read_summary
from pattern_tracker.resilience import gate_state as gates
from pattern_tracker.resilience.configured import gate_policy
from pattern_tracker.resilience.gate_state import GateState
from pattern_tracker.spool import SpoolUsage, usage_of
from pattern_tracker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from pattern_tracker.settings import Settings
    from pattern_tracker.state_dir import StateDir

_T = TypeVar("_T")

# A payload is read within a second; a torn one is given up after 60 s.
STALLED_SECONDS: Final = 90.0

_NOT_SENDING: Final = {
    GateState.WAITING,
    GateState.HELD,
    GateState.PAUSED,
    GateState.FORCED_OPEN,
}


class Condition(StrEnum):
    """How the daemon is; `EXIT_STATUS` has a number for each."""

    RUNNING = "running"
    STARTING = "starting"
    DEGRADED = "degraded"
    STOPPED = "not running"


EXIT_STATUS: Final = {
    Condition.RUNNING: 0,
    Condition.STARTING: 0,
    Condition.STOPPED: 3,
    Condition.DEGRADED: 4,
}


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What waits: events for the configured destination, for others, and unread payloads."""

    events: int = 0
    events_for_others: int = 0
    payloads: int = 0
    oldest_payload_seconds: float | None = None


class DaemonStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the daemon is; times in epoch seconds.

    `problems` are what makes it degraded, or what would if it ran; `notes` do not.
    """

    condition: Condition
    pid: int | None
    version: str | None
    since: float | None
    last_pass_at: float | None
    destination: str | None
    api: ApiState | None
    gate: gates.Status | None
    backlog: Backlog
    problems: list[str]
    notes: list[str]
    state_dir: str
    log: str
    schema: int = 1


def read_status(
    state_dir: StateDir, load_settings: Callable[[], Settings], *, now: float
) -> DaemonStatus:
    """Put together what the files say; nothing that is wrong with one of them raises."""
    held = is_held(state_dir.daemon_lock)
    record = read_record(state_dir.daemon_record) if held else None
    problems = _problems_of(record) if record else []
    settings = _told(load_settings, problems, SettingsError)
    summary = _told(lambda: read_summary(state_dir.ledger), problems, LedgerError)
    usage = _told(lambda: usage_of(state_dir.spool), problems, StateDirError) or SpoolUsage()
    destination = settings.destination if settings else None
    backlog = _backlog(summary or LedgerSummary(), usage, destination, now)
    gate = _gate(summary, settings, now)
    if gate and backlog.events and gate.state in _NOT_SENDING:
        reason = f": {gate.reason}" if gate.reason else ""
        remedy = f" ({gate.remedy})" if gate.remedy else ""
        problems.append(f"not sending{reason}{remedy}")
    if record and _stalled(record, backlog, now):
        problems.append("payloads wait in the spool and no pass takes them in")
    return DaemonStatus(
        condition=_condition(record, problems, held=held),
        pid=record.pid if record else None,
        version=record.version if record else None,
        since=record.since if record else None,
        last_pass_at=record.last_pass_at if record else None,
        destination=destination,
        api=record.api if record else None,
        gate=gate,
        backlog=backlog,
        problems=problems,
        notes=_notes(record, state_dir),
        state_dir=str(state_dir.root),
        log=str(state_dir.daemon_log),
    )


def _told(
    read: Callable[[], _T], problems: list[str], expected: type[PatternTrackerError]
) -> _T | None:
    """What `read` returns; None, and the problem told, if it raises what it says it may."""
    try:
        return read()
    except expected as error:
        if not any(str(error) in problem for problem in problems):  # the daemon may have met it too
            problems.append(str(error))
        return None


def _problems_of(record: DaemonRecord) -> list[str]:
    problems = []
    if record.problem:
        problems.append(f"passes fail: {record.problem.reason}")
    if record.api and record.api.pid is None:
        problems.append(f"the embedded API is down: {record.api.reason}")
    return problems


def _backlog(
    summary: LedgerSummary, usage: SpoolUsage, destination: str | None, now: float
) -> Backlog:
    total = sum(summary.waiting.values())
    events = summary.waiting.get(destination, 0) if destination else total
    oldest = usage.oldest_mtime_ns
    return Backlog(
        events=events,
        events_for_others=total - events,
        payloads=usage.count,
        oldest_payload_seconds=None if oldest is None else max(0.0, now - oldest / 1e9),
    )


def _gate(
    summary: LedgerSummary | None, settings: Settings | None, now: float
) -> gates.Status | None:
    if summary is None or settings is None:
        return None
    stored = summary.gates.get(settings.destination)
    return gates.status(gates.decode_gate(stored or b"{}"), gate_policy(settings), now)


def _stalled(record: DaemonRecord, backlog: Backlog, now: float) -> bool:
    # While a long backlog is being drained, its oldest payload is old and passes are recent.
    last_sign = max(record.since, record.last_pass_at or 0.0)
    oldest = backlog.oldest_payload_seconds or 0.0
    return oldest > STALLED_SECONDS and now - last_sign > STALLED_SECONDS


def _condition(record: DaemonRecord | None, problems: list[str], *, held: bool) -> Condition:
    if not held:
        return Condition.STOPPED
    if problems:
        return Condition.DEGRADED
    return Condition.RUNNING if record and record.ready else Condition.STARTING


def _notes(record: DaemonRecord | None, state_dir: StateDir) -> list[str]:
    notes = []
    if record and record.version != __version__:
        notes.append(
            f"the daemon is version {record.version}, this command {__version__};"
            " run `pattern-daemon restart`"
        )
    if record and record.damaged_ledger:
        notes.append(f"the ledger was damaged and is kept as {record.damaged_ledger}")
    if state_dir.disabled_flag.exists():
        notes.append(f"recording is switched off by {state_dir.disabled_flag}")
    if state_dir.full_flag.exists():
        notes.append("the cap on disk use is reached: new payloads are counted, not kept")
    return notes
