from __future__ import annotations

import sqlite3
from contextlib import suppress

import pytest

from pattern_tracker.errors import LedgerError, LedgerTooNewError
from pattern_tracker.events import CaptureState, Cause, EventState, EventType
from pattern_tracker.ledger import Ledger
from pattern_tracker.ledger.schema import (
    SCHEMA_VERSION,
    is_corrupt,
    open_for_reading,
    reading,
    set_aside,
)
from pattern_tracker.ledger.summary import read_summary
from tests.core import make_state_dir, tally
from tests.ledger_rows import NOW_MS, URL, capture_row, enter, new_event, state_of


@pytest.fixture
def state_dir(tmp_path):
    return make_state_dir(tmp_path / "state")


@pytest.fixture
def ledger(state_dir):
    with Ledger(state_dir.ledger) as opened:
        yield opened


def batch(ledger, *, now=NOW_MS, max_events=100, max_bytes=1_000_000):
    events = ledger.events.next_batch(
        destination=ledger.destination(URL), now=now, max_events=max_events, max_bytes=max_bytes
    )
    return [event.pattern_id for event in events]


def test_ledger_is_private_and_durable(state_dir, ledger):
    assert state_dir.ledger.stat().st_mode & 0o777 == 0o600
    assert ledger.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ledger.connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_ledger_opened_again_keeps_its_rows(state_dir):
    with Ledger(state_dir.ledger) as ledger:
        enter(ledger, new_event("a"))
    with Ledger(state_dir.ledger) as ledger:
        assert batch(ledger) == ["a"]


def test_capture_with_known_key_is_a_no_op(state_dir, ledger):
    with ledger.transaction():
        assert ledger.captures.enter(capture_row("one")) is not None
    with ledger.transaction():
        again = capture_row("one", state=CaptureState.DROPPED, cause="other")
        assert ledger.captures.enter(again) is None
    assert tally(state_dir) == {("captures", "ingested"): 1}


def test_capture_is_found_by_its_key(ledger):
    row = capture_row("one", state=CaptureState.QUARANTINED, cause=Cause.TORN, file="x.json")
    with ledger.transaction():
        ledger.captures.enter(row)
    (found,) = ledger.connection.execute("SELECT key, state, cause, file FROM captures").fetchall()
    assert found == (row.key.bytes, CaptureState.QUARANTINED, Cause.TORN, "x.json")


def test_event_with_known_id_is_a_no_op(state_dir, ledger):
    enter(ledger, new_event("a"))
    assert enter(ledger, new_event("b", name="a")) == [None]
    assert ledger.events.version_of("b", destination=1) is None
    assert tally(state_dir)["events", "waiting"] == 1


def test_rollback_undoes_rows_sums_and_remembered_sessions(state_dir, ledger):
    with suppress(RuntimeError), ledger.transaction():
        ledger.captures.enter(capture_row("one", session_id="s"))
        raise RuntimeError
    assert tally(state_dir) == {}
    with ledger.transaction():
        ledger.captures.enter(capture_row("two", session_id="other"))
        ledger.captures.enter(capture_row("three", session_id="s"))
    sessions = "SELECT session_id FROM captures JOIN sessions s ON s.id = session ORDER BY 1"
    assert ledger.connection.execute(sessions).fetchall() == [("other",), ("s",)]


def test_newer_ledger_is_refused_and_left_untouched(state_dir):
    with Ledger(state_dir.ledger) as ledger:
        ledger.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = state_dir.ledger.read_bytes()
    for opening in (Ledger, open_for_reading, read_summary):
        with pytest.raises(LedgerTooNewError, match="nothing was changed"):
            opening(state_dir.ledger)
    assert state_dir.ledger.read_bytes() == before


def test_corrupt_ledger_is_recognised_and_left_untouched(state_dir):
    state_dir.ledger.write_bytes(b"this is no database" * 100)
    with pytest.raises(sqlite3.DatabaseError) as raised:
        Ledger(state_dir.ledger)
    assert is_corrupt(raised.value)
    with pytest.raises(LedgerError, match="pattern-tracker sync"):
        read_summary(state_dir.ledger)
    assert state_dir.ledger.read_bytes().startswith(b"this is no database")


def test_busy_ledger_is_not_taken_for_a_corrupt_one(state_dir, ledger):
    other = sqlite3.connect(state_dir.ledger, isolation_level=None, timeout=0)
    ledger.connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as raised:
        other.execute("BEGIN IMMEDIATE")
    other.close()
    ledger.connection.execute("ROLLBACK")
    assert not is_corrupt(raised.value)


def test_ledger_damaged_in_the_middle_is_an_error_a_reader_can_show(state_dir):
    with Ledger(state_dir.ledger) as ledger:
        enter(ledger, *(new_event(f"p{n}", code="x" * 4000) for n in range(20)))
        ledger.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(state_dir.ledger.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    state_dir.ledger.write_bytes(content)
    with pytest.raises(LedgerError, match="cannot be read"):
        read_summary(state_dir.ledger)


def test_ledger_out_of_reach_is_an_error_a_reader_can_show(state_dir):
    state_dir.ledger.mkdir()
    with pytest.raises(LedgerError, match="cannot be read"):
        open_for_reading(state_dir.ledger)


@pytest.mark.parametrize("create", [lambda path: None, lambda path: path.touch()])
def test_ledger_not_yet_written_reads_as_none(state_dir, create):
    create(state_dir.ledger)
    assert open_for_reading(state_dir.ledger) is None
    with reading(state_dir.ledger) as connection:
        assert connection is None


def test_set_aside_keeps_every_damaged_ledger(state_dir):
    kept = []
    for content in (b"first", b"second"):
        state_dir.ledger.write_bytes(content)
        state_dir.ledger.with_name("ledger.sqlite3-wal").write_bytes(content)
        kept.append(set_aside(state_dir.ledger, stamp="20260101T000000Z"))
    assert [path.read_bytes() for path in kept] == [b"first", b"second"]
    assert kept[1].with_name(kept[1].name + "-wal").read_bytes() == b"second"
    assert not list(state_dir.root.glob("ledger.sqlite3*"))


def test_sums_follow_every_transition(state_dir, ledger):
    a, b, c, d = enter(ledger, *map(new_event, "abcd"))
    events = ledger.events
    with ledger.transaction():
        events.delivered([a], now=NOW_MS)
        events.quarantined(b, cause=Cause.REJECTED, answer="no", now=NOW_MS)
        events.refused(c, not_before=0, answer="?", turn=1)
        events.rewritten(d, event_type=EventType.CREATED, body=b"{}")
    assert tally(state_dir) == {
        ("captures", "ingested"): 4,
        ("events", "delivered"): 1,
        ("events", "quarantined"): 1,
        ("events", "waiting"): 2,
    }
    with ledger.transaction():
        events.expire(entered_before=NOW_MS + 1, now=NOW_MS)
    assert tally(state_dir)["events", "expired"] == 2
    with ledger.transaction():
        ledger.connection.execute("DELETE FROM events")
        ledger.connection.execute("DELETE FROM captures")
    assert tally(state_dir) == {}
    assert ledger.undelivered_bytes() == 0


def test_settled_event_is_never_settled_again(ledger):
    (seq,) = enter(ledger, new_event("a"))
    events = ledger.events
    with ledger.transaction():
        events.delivered([seq], now=NOW_MS)
        events.quarantined(seq, cause=Cause.REJECTED, answer="late", now=NOW_MS)
        events.refused(seq, not_before=0, answer="late", turn=1)
        events.rewritten(seq, event_type=EventType.CREATED, body=b"late")
        events.expire(entered_before=NOW_MS + 1, now=NOW_MS)
    assert state_of(ledger, seq) == (EventState.DELIVERED, "")
    assert ledger.undelivered_bytes() == 0


def test_body_goes_with_delivery_and_stays_in_quarantine(ledger):
    a, b = enter(ledger, new_event("a"), new_event("b"))
    with ledger.transaction():
        ledger.events.delivered([a], now=NOW_MS)
        ledger.events.quarantined(b, cause=Cause.REJECTED, answer="no", now=NOW_MS)
    # What is quarantined must not fill the cap and shut the hooks out for good.
    assert ledger.undelivered_bytes() == 0
    (body,) = ledger.connection.execute("SELECT body FROM events WHERE seq = ?", (b,)).fetchone()
    assert body == new_event("b").body


def test_batch_takes_fewest_attempts_first_then_oldest(ledger):
    a, *_ = enter(ledger, *map(new_event, "abc"))
    with ledger.transaction():
        ledger.events.refused(a, not_before=0, answer="?", turn=1)
    assert batch(ledger, max_events=1) == ["b"]
    enter(ledger, new_event("d"))
    assert batch(ledger) == ["b", "c", "d"]


def test_batch_never_mixes_what_failed_with_what_did_not(ledger):
    a, b = enter(ledger, *map(new_event, "ab"))
    with ledger.transaction():
        ledger.events.refused(a, not_before=0, answer="?", turn=1)
    assert batch(ledger) == ["b"]
    with ledger.transaction():
        ledger.events.delivered([b], now=NOW_MS)
    assert batch(ledger) == ["a"]


def test_batch_keeps_to_its_size_but_takes_one_at_least(ledger):
    enter(ledger, *(new_event(name, code="x" * 1000) for name in "abc"))
    size = len(new_event("a", code="x" * 1000).body)
    assert batch(ledger, max_bytes=2 * size) == ["a", "b"]
    assert batch(ledger, max_bytes=1) == ["a"]


def test_batch_leaves_out_what_is_not_due_and_what_goes_elsewhere(ledger):
    (a,) = enter(ledger, new_event("a"))
    enter(ledger, new_event("b"), url="https://other.example")
    with ledger.transaction():
        ledger.events.put_off(a, not_before=NOW_MS + 5, answer="later")
    assert batch(ledger) == []
    assert ledger.events.next_due(destination=1) == NOW_MS + 5
    assert batch(ledger, now=NOW_MS + 5) == ["a"]


def test_probe_is_made_with_what_has_not_failed_then_each_in_turn(ledger):
    a, b, _ = enter(ledger, *map(new_event, "abc"))

    def probe(accepted_at):
        (event,) = ledger.events.next_probe(destination=1, now=NOW_MS, accepted_at=accepted_at)
        return event.pattern_id

    assert probe(0) == "a"
    with ledger.transaction():
        ledger.events.suspected(a, answer="500", turn=1)
    assert probe(0) == "b"
    with ledger.transaction():
        ledger.connection.execute("UPDATE events SET suspect_at = seq + 4 WHERE seq > 1")
    assert probe(0) == "a"
    with ledger.transaction():
        ledger.events.suspected(a, answer="500", turn=9)
    assert probe(0) == "b"
    assert probe(10) == "a"
    assert ledger.events.next_probe(destination=2, now=NOW_MS, accepted_at=0) == []
    assert b


def test_turns_count_exchanges_and_remember_the_last_good_one(ledger):
    destination = ledger.destination(URL)
    turns = [ledger.next_turn(destination, accepted=accepted) for accepted in (False, True, False)]
    assert turns == [1, 2, 3]
    assert ledger.accepted_at(destination) == 2


def test_parent_is_waited_for_only_among_earlier_events(ledger):
    child, parent = enter(
        ledger, new_event("c", event_type=EventType.MODIFIED, parents=("p",)), new_event("p")
    )
    events = ledger.events
    assert events.parent_waits_until(("p",), before=child, destination=1) is None
    assert events.parent_waits_until(("p",), before=parent + 1, destination=1) == 0
    assert events.parent_waits_until(("p",), before=parent + 1, destination=2) is None
    with ledger.transaction():
        events.put_off(parent, not_before=77, answer="later")
    assert events.parent_waits_until(("x", "p"), before=parent + 1, destination=1) == 77
    with ledger.transaction():
        events.delivered([parent], now=NOW_MS)
    assert events.parent_waits_until(("p",), before=parent + 1, destination=1) is None


def test_applied_event_makes_nothing_known(ledger):
    enter(ledger, new_event("a", event_type=EventType.APPLIED))
    assert ledger.events.version_of("a", destination=1) is None
    assert ledger.events.parent_waits_until(("a",), before=99, destination=1) is None


def test_expire_takes_old_waiting_events_only(ledger):
    old, sent = enter(ledger, new_event("old"), new_event("sent"), now=NOW_MS - 10)
    (young,) = enter(ledger, new_event("young"))
    with ledger.transaction():
        ledger.events.delivered([sent], now=NOW_MS)
        assert ledger.events.expire(entered_before=NOW_MS, now=NOW_MS) == 1
    assert state_of(ledger, old) == (EventState.EXPIRED, Cause.TOO_OLD)
    assert state_of(ledger, young) == (EventState.WAITING, "")
    assert ledger.undelivered_bytes() == len(new_event("young").body)


def test_turned_away_payloads_are_counted_once(state_dir, ledger):
    assert [ledger.count_turned_away(count) for count in (3, 3, 5)] == [3, 0, 2]
    assert tally(state_dir) == {("captures", "dropped"): 5}


def test_turned_away_file_made_anew_is_counted_from_its_start(state_dir, ledger):
    assert [ledger.count_turned_away(count) for count in (5, 2, 2, 0, 1)] == [5, 2, 0, 0, 1]
    assert tally(state_dir) == {("captures", "dropped"): 8}


def test_readers_see_whole_commits_while_a_writer_is_in_the_middle_of_one(state_dir, ledger):
    enter(ledger, new_event("a"))
    with reading(state_dir.ledger) as one, reading(state_dir.ledger) as two, ledger.transaction():
        ledger.events.delivered([1], now=NOW_MS)
        for reader in (one, two):
            assert reader.execute("SELECT state FROM events").fetchone() == ("waiting",)
    assert read_summary(state_dir.ledger).tally["events"] == {"delivered": {"": 1}}


def test_gate_is_kept_per_destination(ledger):
    here, there = ledger.destination("https://a.example"), ledger.destination("https://b.example")
    ledger.save_gate(here, b'{"ramp_events":1}')
    assert ledger.load_gate(here) == b'{"ramp_events":1}'
    assert ledger.load_gate(there) is None
    assert ledger.destination("https://a.example") == here
