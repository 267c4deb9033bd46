from __future__ import annotations

import msgspec
import pytest

from pattern_tracker.errors import LedgerError, LedgerTooNewError
from pattern_tracker.events import CaptureState, Cause
from pattern_tracker.file_lock import FileLock
from pattern_tracker.ledger import Ledger
from pattern_tracker.resilience.gate_state import Gate
from pattern_tracker.resilience.hold import Pause
from pattern_tracker.state_dir import StateDir
from pattern_tracker.stats import collect_stats
from tests.core import make_settings, make_state_dir, put, tally
from tests.ledger_rows import NOW_MS, capture_row, enter, new_event

NOW = NOW_MS / 1000
URL = "https://api.example"


@pytest.fixture
def state_dir(tmp_path):
    return make_state_dir(tmp_path / "state")


def stats(state_dir, url=URL, now=NOW):
    return collect_stats(make_settings(state_dir, url), state_dir, now=now)


def test_stats_have_the_keys_of_schema_1(state_dir):
    shown = stats(state_dir)
    assert shown["schema"] == 1
    keys = {key: set(value) for key, value in shown.items() if isinstance(value, dict)}
    assert keys["captures"] == {
        *("total", "spooled", "ingested", "filtered", "quarantined", "dropped", "causes")
    }
    assert keys["events"] == {
        *("total", "waiting", "delivered", "quarantined", "expired", "dropped", "causes")
    }
    assert keys["gate"] >= {"state", "reason", "since", "retry_at"}
    assert keys["breaker"] == {"state", "failures", "opened_at", "retry_at"}
    assert keys["health"] == {"healthy", "checked_at", "latency_ms", "reason"}
    assert keys["daemon"] == {"running", "pid", "version", "since"}
    assert keys["disk"] == {"spool_bytes", "ledger_bytes"}
    assert {"oldest_waiting_seconds", "destination"} <= set(shown)
    msgspec.json.encode(shown)


def test_stats_of_a_fresh_machine_are_zeros_and_create_nothing(tmp_path):
    state_dir = StateDir(root=tmp_path / "none")
    shown = stats(state_dir, url=None)
    assert shown["captures"]["total"] == shown["events"]["total"] == 0
    assert shown["oldest_waiting_seconds"] is None
    assert shown["destination"] == "embedded"
    assert shown["gate"]["state"] == "sending"
    assert shown["disk"] == {"spool_bytes": 0, "ledger_bytes": 0}
    assert not state_dir.root.exists()


def test_totals_are_sums_of_states_with_their_causes(state_dir):
    with Ledger(state_dir.ledger) as ledger:
        a, b, _ = enter(ledger, *map(new_event, "abc"))
        with ledger.transaction():
            filtered = capture_row("f", state=CaptureState.FILTERED, cause="unchanged")
            ledger.captures.enter(filtered)
            ledger.events.delivered([a], now=NOW_MS)
            ledger.events.quarantined(b, cause=Cause.REJECTED, answer="no", now=NOW_MS)
    put(state_dir, b"{", mtime=NOW - 90)
    put(state_dir, b"{", mtime=NOW - 5)
    shown = stats(state_dir)
    captures, events = shown["captures"], shown["events"]
    assert captures["total"] == 6
    assert (captures["spooled"], captures["ingested"], captures["filtered"]) == (2, 3, 1)
    assert captures["causes"] == {"filtered": {"unchanged": 1}}
    assert (events["total"], events["waiting"], events["delivered"]) == (3, 1, 1)
    assert events["causes"] == {"quarantined": {"rejected": 1}}
    assert shown["oldest_waiting_seconds"] == 90.0
    assert shown["disk"]["spool_bytes"] > 0
    assert shown["disk"]["ledger_bytes"] > 0


def test_turned_away_payloads_show_before_and_after_a_pass_counts_them(state_dir):
    def count(bytes_more):
        with state_dir.turned_away.open("ab") as file:
            file.write(b"." * bytes_more)
        return stats(state_dir)["captures"]

    assert count(3)["causes"] == {"dropped": {"turned-away": 3}}
    with Ledger(state_dir.ledger) as ledger:
        ledger.count_turned_away(state_dir.turned_away_count())
    assert count(0)["dropped"] == 3
    assert count(2)["dropped"] == 5
    state_dir.turned_away.unlink()
    state_dir.prepare()
    assert count(1)["dropped"] == 4
    assert tally(state_dir) == {("captures", "dropped"): 3}


def test_oldest_waiting_is_never_negative(state_dir):
    put(state_dir, b"{", mtime=NOW + 1000)
    assert stats(state_dir)["oldest_waiting_seconds"] == 0.0


def test_events_for_another_destination_are_told_apart(state_dir):
    with Ledger(state_dir.ledger) as ledger:
        enter(ledger, new_event("a"), url="https://other.example")
        enter(ledger, new_event("b"))
    shown = stats(state_dir)
    assert shown["events"]["waiting"] == 2
    assert shown["waiting_elsewhere"] == {"https://other.example": 1}


def test_gate_is_that_of_the_present_destination(state_dir):
    pause = Pause(since=NOW - 5, next_try_at=NOW + 300, reason="401", remedy="do this")
    with Ledger(state_dir.ledger) as ledger:
        enter(ledger, new_event("a"))
        with ledger.transaction():
            ledger.save_gate(1, msgspec.json.encode(Gate(pause=pause)))
    gate = stats(state_dir)["gate"]
    assert (gate["state"], gate["reason"], gate["remedy"]) == ("paused", "401", "do this")
    assert (gate["since"], gate["retry_at"]) == ("2025-06-15T15:06:35Z", "2025-06-15T15:11:40Z")
    assert stats(state_dir, url=None)["gate"]["state"] == "sending"


def test_daemon_without_a_record_shows_as_running(state_dir):
    with FileLock(state_dir.daemon_lock) as lock:
        lock.try_acquire()
        shown = stats(state_dir)["daemon"]
    assert shown == {"running": True, "pid": None, "version": None, "since": None}


def test_unreadable_ledger_is_an_error_that_says_what_to_do(state_dir):
    state_dir.ledger.write_bytes(b"no database at all" * 300)
    with pytest.raises(LedgerError, match="pattern-tracker sync"):
        stats(state_dir)


def test_newer_ledger_is_an_error_that_says_what_to_do(state_dir):
    with Ledger(state_dir.ledger) as ledger:
        ledger.connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerTooNewError, match="Update this program"):
        stats(state_dir)
