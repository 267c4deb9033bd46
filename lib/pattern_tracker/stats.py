"""Where everything stands, as one JSON-ready value.

Made from files alone: the ledger, the spool folder and the daemon's record.  It
needs no lock, no network and no daemon.  Schema 1; keys are only ever added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pattern_tracker.clock import utc_text
from pattern_tracker.daemon_record import running_daemon
from pattern_tracker.events import CaptureState, Cause, EventState
from pattern_tracker.ledger.schema import turned_away_since
from pattern_tracker.ledger.summary import LedgerSummary, read_summary
from pattern_tracker.resilience.configured import gate_policy
from pattern_tracker.resilience.gate_state import Gate, decode_gate, settle, status
from pattern_tracker.spool import SpoolUsage, usage_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pattern_tracker.settings import Settings
    from pattern_tracker.state_dir import StateDir

SCHEMA: Final = 1


def collect_stats(settings: Settings, state_dir: StateDir, *, now: float) -> dict[str, Any]:
    """Everything that `pattern-tracker stats` shows; `now` in epoch seconds.

    Times are UTC as `2026-01-31T12:00:00Z` or null, sizes bytes, durations as the
    key says.  Each book's `total` is the sum of its states.

    Raises:
        LedgerError: the ledger is damaged, out of reach, or from a newer program.
    """
    usage = usage_of(state_dir.spool)
    summary = read_summary(state_dir.ledger)
    destination = settings.destination
    gate = decode_gate(summary.gates.get(destination) or b"{}")
    return {
        "schema": SCHEMA,
        "captures": _captures(summary, usage, state_dir),
        "events": _book(EventState, summary.tally.get("events", {})),
        "oldest_waiting_seconds": _oldest_waiting(summary, usage, now),
        "destination": destination,
        "waiting_elsewhere": {
            url: count for url, count in summary.waiting.items() if url != destination
        },
        **_gate_shown(gate, settings, now),
        "daemon": _daemon_shown(state_dir),
        "disk": {
            "spool_bytes": usage.allocated_bytes,
            "ledger_bytes": sum(
                _size_of(state_dir.ledger.with_name(state_dir.ledger.name + suffix))
                for suffix in ("", "-wal")
            ),
        },
    }


def _captures(summary: LedgerSummary, usage: SpoolUsage, state_dir: StateDir) -> dict[str, Any]:
    by_state = {state: dict(causes) for state, causes in summary.tally.get("captures", {}).items()}
    by_state[CaptureState.SPOOLED] = {"": usage.count}
    uncounted = turned_away_since(summary.turned_away_seen, state_dir.turned_away_count())
    if uncounted:
        dropped = by_state.setdefault(CaptureState.DROPPED, {})
        dropped[Cause.TURNED_AWAY] = dropped.get(Cause.TURNED_AWAY, 0) + uncounted
    return _book(CaptureState, by_state)


def _book(states: Iterable[str], tally: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    counts = {str(state): sum(tally.get(state, {}).values()) for state in states}
    causes = {
        str(state): {cause: n for cause, n in sorted(tally[state].items()) if cause and n}
        for state in states
        if state in tally
    }
    return {
        "total": sum(counts.values()),
        **counts,
        "causes": {state: named for state, named in causes.items() if named},
    }


def _oldest_waiting(summary: LedgerSummary, usage: SpoolUsage, now: float) -> float | None:
    """Age of the oldest thing not yet delivered, whether it is in the spool or in the ledger."""
    times = []
    if summary.oldest_waiting_at is not None:
        times.append(summary.oldest_waiting_at / 1e3)
    if usage.oldest_mtime_ns is not None:
        times.append(usage.oldest_mtime_ns / 1e9)
    return round(max(0.0, now - min(times)), 3) if times else None


def _gate_shown(gate: Gate, settings: Settings, now: float) -> dict[str, Any]:
    policy = gate_policy(settings)
    shown = status(gate, policy, now)
    gate = settle(gate, policy, now)
    return {
        "gate": {
            "state": str(shown.state),
            "reason": shown.reason,
            "since": _utc(shown.since),
            "retry_at": _utc(shown.retry_at),
            "remedy": shown.remedy,
        },
        "breaker": {
            "state": str(gate.breaker.mode),
            "failures": gate.breaker.consecutive_failures,
            "opened_at": _utc(gate.breaker.opened_at),
            "retry_at": _utc(gate.breaker.retry_at),
        },
        "health": {
            "healthy": gate.health.healthy,
            "checked_at": _utc(gate.health.checked_at),
            "latency_ms": gate.health.latency_ms and round(gate.health.latency_ms, 1),
            "reason": gate.health.reason,
        },
    }


def _daemon_shown(state_dir: StateDir) -> dict[str, Any]:
    running, record = running_daemon(state_dir)
    return {
        "running": running,
        "pid": record.process.pid if record else None,
        "version": record.version if record else None,
        "since": _utc(record.since) if record else None,
    }


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _utc(seconds: float | None) -> str | None:
    return None if seconds is None else utc_text(seconds)
