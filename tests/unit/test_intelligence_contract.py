"""What the service accepts and refuses before any store is asked."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_intelligence.contract import (
    MAX_BATCH_EVENTS,
    SCHEMA_ERROR,
    VALIDATION_ERROR,
    parse_batch,
    parse_event,
    seconds_since_epoch,
)
from pattern_intelligence.errors import EventRefusedError, RequestRefusedError


def created(**fields: object) -> bytes:
    event = {"event_type": "pattern_created", "pattern_id": "p1", "pattern_data": {"code": "x"}}
    return json.dumps(event | fields).encode()


@pytest.mark.parametrize(
    ("raw", "error_type", "names"),
    [
        (b"{}", SCHEMA_ERROR, "event_type"),
        (b"[]", SCHEMA_ERROR, "object"),
        (created(pattern_id=7), SCHEMA_ERROR, "pattern_id"),
        (created(pattern_id="x" * 256), SCHEMA_ERROR, "pattern_id"),
        (created(pattern_data=[]), SCHEMA_ERROR, "pattern_data"),
        (created(event_id="e" * 256), SCHEMA_ERROR, "event_id"),
        (created(reason="\ud800 alone"), SCHEMA_ERROR, "surrogate"),
        (created(pattern_data={"n": float("nan")}), SCHEMA_ERROR, "JSON"),
        (b"[" * 100_000, SCHEMA_ERROR, ""),
        (created(event_type="boom"), VALIDATION_ERROR, "boom"),
        (created(edge_type="created_from"), VALIDATION_ERROR, "created_from"),
        (created(transformation_type="modification"), VALIDATION_ERROR, "modification"),
        (created(pattern_id=""), VALIDATION_ERROR, "pattern_id"),
        (created(pattern_data={}), VALIDATION_ERROR, "pattern_data"),
        (created(event_type="pattern_modified"), VALIDATION_ERROR, "parent_pattern_ids"),
        (created(event_type="pattern_forked"), VALIDATION_ERROR, "parent_pattern_ids"),
        (
            created(event_type="pattern_merged", parent_pattern_ids=["a"]),
            VALIDATION_ERROR,
            "at least 2",
        ),
        (created(occurred_at="yesterday"), VALIDATION_ERROR, "occurred_at"),
        (created(pattern_data={"code": "a\0b"}), VALIDATION_ERROR, "NUL"),
        (created(pattern_data={"deep": [{"k\0": 1}]}), VALIDATION_ERROR, "NUL"),
        (created(parent_pattern_ids=["\0"]), VALIDATION_ERROR, "NUL"),
    ],
)
def test_bad_event_is_refused_and_its_fault_named(raw: bytes, error_type: str, names: str) -> None:
    with pytest.raises(EventRefusedError) as refused:
        parse_event(raw)
    assert refused.value.error_type == error_type
    assert names in refused.value.error


def test_code_that_spells_a_nul_escape_is_accepted() -> None:
    event = parse_event(created(pattern_data={"code": r'NUL = "\u0000"'}))
    assert event.pattern_data["code"] == r'NUL = "\u0000"'


def test_identity_and_time_are_found_in_pattern_data() -> None:
    data = {"event_id": "e1", "session_id": "s1", "occurred_at": "1970-01-01T00:00:10Z"}
    event = parse_event(created(pattern_data=data))
    assert (event.event_id, event.session_id, event.occurred_at) == ("e1", "s1", 10.0)


def test_identity_on_top_wins_over_pattern_data() -> None:
    event = parse_event(created(event_id="top", pattern_data={"event_id": "inside"}))
    assert event.event_id == "top"


def test_nonsense_under_the_same_names_in_pattern_data_is_just_data() -> None:
    event = parse_event(created(pattern_data={"event_id": 7, "occurred_at": "soon", "x": 1}))
    assert event.event_id is None
    assert event.occurred_at is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-01T00:00:01", 1.0),
        (5, 5.0),
        (True, None),
        (None, None),
        ("", None),
    ],
)
def test_times_are_read_as_iso_or_seconds(value: object, seconds: float | None) -> None:
    assert seconds_since_epoch(value) == seconds


def test_batch_with_one_unreadable_event_still_splits() -> None:
    body = b'{"events": [%b, {"a": "\\ud800"}, %b]}' % (created(), created(pattern_id="p2"))
    events, _ = parse_batch(body)
    assert parse_event(events[2]).pattern_id == "p2"
    with pytest.raises(EventRefusedError):
        parse_event(events[1])


@pytest.mark.parametrize(
    "body", [b"", b"null", b"{}", b'{"events": 1}', b'{"events": [', b"\xff", b"[" * 100_000]
)
def test_what_is_no_batch_is_refused_whole(body: bytes) -> None:
    with pytest.raises(RequestRefusedError) as refused:
        parse_batch(body)
    assert refused.value.status == 422


def test_batch_over_the_limit_is_refused_with_the_limit() -> None:
    body = json.dumps({"events": [{}] * (MAX_BATCH_EVENTS + 1)}).encode()
    with pytest.raises(RequestRefusedError, match="at most 1000") as refused:
        parse_batch(body)
    assert refused.value.status == 413


# Few characters, all of them troublesome: NUL, quotes, escapes, half a pair.
TEXT = st.text(alphabet='a\0"\\\ud800\u00e9', max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["event_type", "pattern_id", "pattern_data", "occurred_at", "x"])


@given(st.dictionaries(FIELDS, JSON))
def test_any_json_object_is_accepted_or_refused_never_more(event: dict[str, object]) -> None:
    whole = json.loads(created()) | event
    with suppress(EventRefusedError):
        parse_event(json.dumps(whole).encode())


@given(st.binary(max_size=50))
def test_any_bytes_are_a_batch_or_refused(body: bytes) -> None:
    with suppress(RequestRefusedError):
        parse_batch(body)
