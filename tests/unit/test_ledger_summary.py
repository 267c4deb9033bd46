from __future__ import annotations

import pytest

from pattern_tracker.events import Cause
from pattern_tracker.ledger import Ledger
from pattern_tracker.ledger.summary import (
    LedgerSummary,
    events_of_capture,
    read_events,
    read_summary,
)
from tests.core import make_state_dir
from tests.ledger_rows import NOW_MS, URL, capture_row, enter, new_event


@pytest.fixture
def state_dir(tmp_path):
    return make_state_dir(tmp_path / "state")


def test_summary_of_no_ledger_is_all_zeros_and_creates_none(state_dir):
    assert read_summary(state_dir.ledger) == LedgerSummary()
    assert list(read_events(state_dir.ledger)) == []
    assert events_of_capture(state_dir.ledger, capture_row("x").key) is None
    assert not state_dir.ledger.exists()


def test_summary_tells_sums_debts_and_gates(state_dir):
    with Ledger(state_dir.ledger) as ledger:
        a, b, _ = enter(ledger, *map(new_event, "abc"))
        enter(ledger, new_event("d"), url="https://other.example", now=NOW_MS - 7)
        ledger.count_turned_away(2)
        with ledger.transaction():
            ledger.events.delivered([a], now=NOW_MS)
            ledger.events.quarantined(b, cause=Cause.REJECTED, answer="no", now=NOW_MS)
            ledger.save_gate(1, b"{}")
    summary = read_summary(state_dir.ledger)
    assert summary.tally == {
        "captures": {"ingested": {"": 4}, "dropped": {"turned-away": 2}},
        "events": {"delivered": {"": 1}, "quarantined": {"rejected": 1}, "waiting": {"": 2}},
    }
    assert summary.waiting == {URL: 1, "https://other.example": 1}
    assert summary.gates == {URL: b"{}", "https://other.example": None}
    assert summary.oldest_waiting_at == NOW_MS - 7
    assert summary.turned_away_seen == 2


def test_events_are_listed_newest_first_by_state_and_up_to_a_limit(state_dir):
    with Ledger(state_dir.ledger) as ledger:
        enter(ledger, *map(new_event, "abc"))
        with ledger.transaction():
            ledger.events.delivered([2], now=NOW_MS)

    def listed(**options):
        return [line.pattern_id for line in read_events(state_dir.ledger, **options)]

    assert listed() == ["c", "b", "a"]
    assert listed(limit=1) == ["c"]
    assert listed(state="waiting") == ["c", "a"]
    assert listed(state="expired") == []


def test_events_of_a_capture_are_told_by_its_key(state_dir):
    event = new_event("a")
    with Ledger(state_dir.ledger) as ledger:
        enter(ledger, event)
    key = capture_row(str(event.event_id)).key
    assert events_of_capture(state_dir.ledger, key) == {str(event.event_id): "waiting"}
