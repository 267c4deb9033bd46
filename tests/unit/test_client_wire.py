"""Bodies of events: whatever goes in, what comes out is acceptable to the public service."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_tracker.client.wire import (
    MAX_BODY_BYTES,
    InvalidEventError,
    as_orphan,
    batch_body,
    encode_event,
)
from tests.intelligence_contract import EVENT_TYPES, LIMITS, problem_of

MINIMAL: dict[str, Any] = {
    "event_id": "e1",
    "session_id": "s1",
    "occurred_at": "2026-01-31T12:00:00.000Z",
    "event_type": "pattern_created",
    "pattern_id": "a" * 16,
}


def encoded(**fields: Any) -> dict[str, Any]:
    return json.loads(encode_event(**{**MINIMAL, **fields}))


def test_fields_the_server_drops_also_go_into_pattern_data():
    kept = {"agent_id": "a1", "agent_type": "Explore"}
    event = encoded(**kept)
    for name, value in {**kept, "event_id": "e1", "session_id": "s1"}.items():
        assert event[name] == event["pattern_data"][name] == value
    assert event["pattern_data"]["occurred_at"] == MINIMAL["occurred_at"]


def test_parents_of_a_creation_survive_in_pattern_data():
    assert encoded(parent_pattern_ids=["b"])["pattern_data"]["parent_pattern_ids"] == ["b"]


def test_unknown_language_is_sent_as_null_so_that_it_is_not_taken_for_python():
    assert encoded(language=None)["language"] is None


def test_fingerprint_only_withholds_the_code():
    data = encoded(code="secret", sha256="f" * 64, size_bytes=6, fingerprint_only=True)
    assert "code" not in data["pattern_data"]
    assert data["pattern_data"]["fingerprint_only"] is True
    assert data["pattern_data"]["sha256"] == "f" * 64


@pytest.mark.parametrize(
    ("event_type", "edge"),
    [("pattern_modified", "modified_from"), ("pattern_merged", "merged_from")],
)
def test_lineage_events_name_their_edge_and_leave_the_transformation_to_the_server(
    event_type: str, edge: str
):
    event = encoded(event_type=event_type, parent_pattern_ids=["b", "c"])
    assert event["edge_type"] == edge
    assert "transformation_type" not in event


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"event_type": "boom"}, "event_type"),
        ({"pattern_id": ""}, "pattern_id"),
        ({"event_id": ""}, "event_id"),
        ({"event_type": "pattern_modified"}, "parent_pattern_ids"),
        ({"event_type": "pattern_modified", "parent_pattern_ids": [""]}, "parent_pattern_ids"),
        ({"event_type": "pattern_forked"}, "parent_pattern_ids"),
        ({"event_type": "pattern_merged", "parent_pattern_ids": ["b"]}, "parent_pattern_ids"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"occurred_at": "2026-01-31T12:00:00.000+02:00"}, "occurred_at"),
    ],
)
def test_what_would_sink_a_batch_is_refused_and_named(fields: dict[str, Any], named: str):
    with pytest.raises(InvalidEventError) as caught:
        encode_event(**{**MINIMAL, **fields})
    assert caught.value.field == named


def test_nul_and_lone_surrogates_become_replacement_characters():
    event = encoded(code="a\0b\ud800c", file_path="/x\udcff")
    assert event["pattern_data"]["code"] == "a\ufffdb\ufffdc"
    assert event["file_path"] == "/x\ufffd"


def test_infinity_and_nan_never_leave():
    body = encode_event(
        **{**MINIMAL, "size_bytes": float("nan"), "redactions": {"x": float("inf")}}
    )
    assert problem_of(body) is None
    assert b"NaN" not in body
    assert b"Infinity" not in body


@pytest.mark.parametrize("name", sorted(LIMITS.keys() - {"pattern_type", "triggered_by"}))
def test_texts_are_cut_to_the_limits_of_the_database(name: str):
    assert len(encoded(**{name: "é" * 1000})[name]) == LIMITS[name]


@pytest.mark.parametrize("code", ["x" * (MAX_BODY_BYTES + 1), "\x01" * (MAX_BODY_BYTES // 5)])
def test_code_that_does_not_fit_goes_and_its_fingerprint_stays(code: str):
    body = encode_event(**{**MINIMAL, "code": code, "sha256": "f" * 64, "size_bytes": len(code)})
    data = json.loads(body)["pattern_data"]
    assert len(body) <= MAX_BODY_BYTES
    assert "code" not in data
    assert data["fingerprint_only"] is True
    assert data["code_omitted"] == "too-large"
    assert (data["sha256"], data["size_bytes"]) == ("f" * 64, len(code))


def test_code_that_just_fits_is_kept():
    overhead = len(encode_event(**{**MINIMAL, "code": ""}))
    body = encode_event(**{**MINIMAL, "code": "x" * (MAX_BODY_BYTES - overhead)})
    assert len(body) == MAX_BODY_BYTES
    assert "code" in json.loads(body)["pattern_data"]


def test_worst_case_of_every_field_still_fits_the_bound():
    worst = "\x01" * 300_000
    texts = (
        "event_id session_id pattern_id pattern_name pattern_version tool_name"
        " file_path language code sha256 agent_id agent_type"
    )
    fields = {**MINIMAL, **dict.fromkeys(texts.split(), worst)}
    fields["event_type"] = "pattern_merged"
    fields["parent_pattern_ids"] = [worst] * 1000
    fields["redactions"] = {f"{i}{worst}": i for i in range(1000)}
    body = encode_event(**fields)
    assert len(body) <= MAX_BODY_BYTES
    assert len(as_orphan(body, [worst] * 1000)) <= MAX_BODY_BYTES


def test_orphan_keeps_its_id_and_says_what_it_lost():
    body = encode_event(
        **{**MINIMAL, "event_type": "pattern_modified", "parent_pattern_ids": ["b" * 16]}
    )
    orphan = json.loads(as_orphan(body, ["b" * 16]))
    assert orphan["event_type"] == "pattern_created"
    assert orphan["event_id"] == orphan["pattern_data"]["event_id"] == "e1"
    assert orphan["pattern_data"]["orphan_of"] == ["b" * 16]
    assert orphan["pattern_data"]["original_event_type"] == "pattern_modified"
    assert orphan.keys().isdisjoint({"parent_pattern_ids", "edge_type"})
    assert problem_of(as_orphan(body, ["b" * 16])) is None


def test_orphan_of_a_full_body_gives_up_the_code_rather_than_the_bound():
    fields = {**MINIMAL, "event_type": "pattern_applied", "code": ""}
    overhead = len(encode_event(**fields))
    body = encode_event(**{**fields, "code": "x" * (MAX_BODY_BYTES - overhead)})
    orphan = as_orphan(body, ["b"])
    assert len(orphan) <= MAX_BODY_BYTES
    assert json.loads(orphan)["pattern_data"]["code_omitted"] == "too-large"


def test_batch_is_its_bodies_in_order_and_sequential():
    bodies = [encode_event(**{**MINIMAL, "event_id": f"e{i}"}) for i in range(3)]
    batch = json.loads(batch_body(bodies))
    assert batch["events"] == [json.loads(body) for body in bodies]
    assert batch["processing_mode"] == "sequential"


def test_empty_batch_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        batch_body([])


any_text = st.text(alphabet=st.characters(), max_size=300)  # surrogates and NUL included
some_text = st.none() | any_text


@given(
    event_type=st.sampled_from(sorted(EVENT_TYPES)),
    ids=st.tuples(any_text.filter(bool), any_text.filter(bool)),
    parents=st.lists(any_text.filter(bool), min_size=2, max_size=40),
    texts=st.fixed_dictionaries(
        dict.fromkeys(
            [
                "session_id",
                "tool_name",
                "file_path",
                "language",
                "code",
                "sha256",
                "agent_id",
                "agent_type",
            ],
            some_text,
        )
    ),
    names=st.fixed_dictionaries(dict.fromkeys(["pattern_name", "pattern_version"], any_text)),
    redactions=st.dictionaries(any_text, st.integers(0, 2**31), max_size=3),
    fingerprint_only=st.booleans(),
)
def test_any_text_becomes_a_body_that_the_public_service_accepts(
    *,
    event_type: str,
    ids: tuple[str, str],
    parents: list[str],
    texts: dict[str, Any],
    names: dict[str, Any],
    redactions: dict[str, int],
    fingerprint_only: bool,
):
    body = encode_event(
        event_id=ids[0],
        occurred_at="2026-01-31T12:00:00.000Z",
        event_type=event_type,
        pattern_id=ids[1],
        parent_pattern_ids=parents,
        redactions=redactions,
        fingerprint_only=fingerprint_only,
        **texts,
        **names,
    )
    assert len(body) <= MAX_BODY_BYTES
    assert problem_of(body) is None
    assert problem_of(as_orphan(body, parents)) is None
    assert json.loads(batch_body([body]))["events"] == [json.loads(body)]


def test_reading_answers_and_building_bodies_imports_no_http_library():
    program = (
        "import sys, pattern_tracker.client.answers, pattern_tracker.client.wire,"
        " pattern_tracker.client.health, pattern_tracker.client.transport;"
        "sys.exit('aiohttp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
