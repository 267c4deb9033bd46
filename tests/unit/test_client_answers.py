"""What answers mean, without a network."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_tracker.client.answers import (
    DETAIL_CHARACTERS,
    NOT_NAMED,
    AnswerKind,
    SentEvent,
    Verdict,
    classify_batch,
    classify_single,
)
from pattern_tracker.client.health import classify_health
from pattern_tracker.client.http_headers import MAX_RETRY_AFTER_SECONDS, retry_after_seconds

NOW = 1_750_000_000.0
SENT = [SentEvent("e0", "p0"), SentEvent("e1", "p1")]
HTML = b"<html>log in</html>"


def batch(status: int, document: Any, headers: dict[str, str] | None = None):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return classify_batch(status, headers or {}, body, SENT, now=NOW)


def single(status: int, document: Any, headers: dict[str, str] | None = None):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return classify_single(status, headers or {}, body, SENT[0], now=NOW)


def stored(index: int, pattern_id: str) -> dict[str, Any]:
    return {"event_index": index, "pattern_id": pattern_id, "data": {"event_id": "theirs"}}


def failed(index: int, error_type: str, text: str = "no") -> dict[str, Any]:
    metadata = {"error_type": error_type}
    return {"event_index": index, "pattern_id": "p", "error": text, "metadata": metadata}


def results(successes: list[Any], failures: list[Any] | None = None) -> dict[str, Any]:
    return {
        "success": not failures,
        "successful_results": successes,
        "failed_results": failures,
    }


def tracker_failure(error_type: str, text: str = "no") -> dict[str, Any]:
    return {"success": False, "error": text, "metadata": {"error_type": error_type}}


REQUEST_LEVEL = [
    (300, AnswerKind.FAILURE),
    (302, AnswerKind.FAILURE),
    (400, AnswerKind.REJECTED),
    (401, AnswerKind.DENIED),
    (402, AnswerKind.DENIED),
    (403, AnswerKind.DENIED),
    (404, AnswerKind.NO_ENDPOINT),
    (405, AnswerKind.NO_ENDPOINT),
    (407, AnswerKind.FAILURE),
    (408, AnswerKind.FAILURE),
    (409, AnswerKind.FAILURE),
    (413, AnswerKind.REJECTED),
    (418, AnswerKind.FAILURE),
    (422, AnswerKind.REJECTED),
    (429, AnswerKind.HOLD),
    (500, AnswerKind.FAILURE),
    (502, AnswerKind.FAILURE),
    (503, AnswerKind.FAILURE),
    (504, AnswerKind.FAILURE),
    (599, AnswerKind.FAILURE),
]


@pytest.mark.parametrize("body", [{"detail": "Not Found"}, HTML, b""])
@pytest.mark.parametrize(("status", "kind"), REQUEST_LEVEL)
@pytest.mark.parametrize("classify", [batch, single])
def test_status_of_the_whole_request(classify: Any, status: int, kind: AnswerKind, body: Any):
    answer = classify(status, body)
    assert (answer.kind, answer.status, answer.events) == (kind, status, ())
    assert f"HTTP {status}" in answer.reason


@pytest.mark.parametrize(
    "body",
    [
        HTML,
        b"",
        b"\xff\xfe",
        b'{"success": true, "successful_results": [{"event_ind',
        b"[" * 100_000,
        b"[]",
        b"null",
        b'"success"',
        b'{"success": false}',
        b'{"success": "true", "data": {"pattern_id": "p0"}}',
        b'{"success": 1, "successful_results": {"0": 1}}',
        b'{"successful_results": [], "failed_results": "none"}',
    ],
)
@pytest.mark.parametrize("classify", [batch, single])
def test_success_status_with_anything_else_in_it_is_a_failure(classify: Any, body: bytes):
    answer = classify(200, body)
    assert answer.kind is AnswerKind.FAILURE
    assert "not an answer of the intelligence API" in answer.reason


def verdicts(answer: Any) -> list[Verdict]:
    return [event.verdict for event in answer.events]


def test_batch_in_which_everything_is_named_is_stored():
    answer = batch(200, results([stored(1, "p1"), stored(0, "p0")]))
    assert answer.kind is AnswerKind.ANSWERED
    assert verdicts(answer) == [Verdict.STORED, Verdict.STORED]


@pytest.mark.parametrize(
    "other",
    [
        [],
        [stored(1, "p0")],
        [stored(2, "p1")],
        [stored(-1, "p1")],
        [{"event_index": True, "pattern_id": "p1"}],
        [{"event_index": "1", "pattern_id": "p1"}],
        [{"event_index": 1}],
        [stored(1, "p1"), stored(1, "p1")],
        [{**stored(1, "p1"), "data": {"pattern_id": "p0"}}],
        [None, 3, "x"],
    ],
)
def test_event_that_the_answer_does_not_name_is_not_stored(other: list[Any]):
    answer = batch(200, results([stored(0, "p0"), *other]))
    assert answer.kind is AnswerKind.ANSWERED
    assert verdicts(answer) == [Verdict.STORED, Verdict.OUTAGE]
    assert answer.events[1].detail == NOT_NAMED


def test_event_named_as_stored_and_as_failed_is_not_stored():
    answer = batch(200, results([stored(0, "p0"), stored(1, "p1")], [failed(1, "IndexError")]))
    assert verdicts(answer) == [Verdict.STORED, Verdict.OUTAGE]


@pytest.mark.parametrize(
    ("error_type", "text", "verdict"),
    [
        ("ConnectionRefusedError", "[Errno 111]", Verdict.OUTAGE),
        ("UndefinedTableError", "relation does not exist", Verdict.OUTAGE),
        ("TimeoutError", "", Verdict.OUTAGE),
        ("TooManyConnectionsError", "", Verdict.OUTAGE),
        ("foreign_key_violation", "", Verdict.CONFLICT),
        ("validation_error", "Validation error: Parent pattern not found: x", "missing-parent"),
        ("validation_error", "Parent pattern not found: x", Verdict.MISSING_PARENT),
        ("validation_error", "Pattern not found: x", Verdict.MISSING_PARENT),
        ("validation_error", "pattern_name: 'Pattern not found: x' is bad", Verdict.REJECTED),
        ("StringDataRightTruncationError", "too long", Verdict.REJECTED),
        ("UntranslatableCharacterError", "", Verdict.REJECTED),
        ("InvalidTextRepresentationError", "", Verdict.REJECTED),
        ("CheckViolationError", "no_self_loops", Verdict.REJECTED),
        ("IndexError", "list index out of range", Verdict.REJECTED),
        ("NobodyKnowsError", "?", Verdict.UNKNOWN),
        ("", "", Verdict.UNKNOWN),
    ],
)
def test_error_type_decides_the_verdict_in_batch_and_single(
    error_type: str, text: str, verdict: Verdict
):
    answer = batch(200, results([stored(0, "p0")], [failed(1, error_type, text)]))
    assert verdicts(answer) == [Verdict.STORED, verdict]
    alone = single(400, tracker_failure(error_type, text))
    assert verdicts(alone) == [verdict]
    outage = verdict is Verdict.OUTAGE
    assert alone.kind is (AnswerKind.FAILURE if outage else AnswerKind.ANSWERED)


def test_batch_whose_every_event_met_an_outage_is_a_failure_that_says_why():
    refused = [failed(i, "ConnectionRefusedError", "[Errno 111]") for i in (0, 1)]
    answer = batch(200, results([], refused))
    assert answer.kind is AnswerKind.FAILURE
    assert answer.reason == "ConnectionRefusedError: [Errno 111]"
    assert verdicts(answer) == [Verdict.OUTAGE, Verdict.OUTAGE]


def test_batch_rejected_for_an_outage_is_a_failure_not_a_rejection():
    answer = batch(400, tracker_failure("ConnectionRefusedError"))
    assert (answer.kind, answer.status) == (AnswerKind.FAILURE, 400)


def test_single_creation_is_stored_when_its_data_names_the_pattern():
    answer = single(200, {"success": True, "data": {"event_id": "theirs", "pattern_id": "p0"}})
    assert (answer.kind, verdicts(answer)) == (AnswerKind.ANSWERED, [Verdict.STORED])


def test_single_repeat_is_stored_though_only_its_metadata_names_the_pattern():
    document = {
        "success": True,
        "data": {"event_id": "theirs", "status": "already_exists"},
        "metadata": {"pattern_id": "p0"},
    }
    assert verdicts(single(200, document)) == [Verdict.STORED]


@pytest.mark.parametrize("data", [{"pattern_id": "p1"}, {}, None, {"pattern_id": None}])
def test_single_success_about_another_pattern_is_a_failure(data: Any):
    answer = single(200, {"success": True, "data": data})
    assert (answer.kind, answer.reason) == (AnswerKind.FAILURE, NOT_NAMED)


@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_missing_parent_is_told_whatever_the_status(status: int):
    """A parent whose id contains "database" flips the public service's 400 to 500."""
    text = "Validation error: Parent pattern not found: my-database-x"
    answer = single(status, tracker_failure("validation_error", text))
    assert (answer.kind, verdicts(answer)) == (AnswerKind.ANSWERED, [Verdict.MISSING_PARENT])


def test_bad_data_behind_a_500_is_still_bad_data():
    document = tracker_failure("StringDataRightTruncationError", "database: value too long")
    assert verdicts(single(500, document)) == [Verdict.REJECTED]


@pytest.mark.parametrize(
    ("status", "kind"), [(500, AnswerKind.FAILURE), (404, AnswerKind.NO_ENDPOINT)]
)
def test_unknown_error_elsewhere_than_400_is_taken_by_its_status(status: int, kind: AnswerKind):
    assert single(status, tracker_failure("NobodyKnowsError")).kind is kind


@pytest.mark.parametrize("status", [302, 400, 401, 404, 413, 429, 500, 503])
@pytest.mark.parametrize("classify", [batch, single])
def test_retry_after_holds_whatever_the_status(classify: Any, status: int):
    answer = classify(status, {"detail": "wait"}, {"Retry-After": "12"})
    assert (answer.kind, answer.retry_after) == (AnswerKind.HOLD, 12.0)


def test_retry_after_beside_stored_events_does_not_unstore_them():
    answer = batch(200, results([stored(0, "p0"), stored(1, "p1")]), {"retry-after": "3"})
    assert (answer.kind, answer.retry_after) == (AnswerKind.ANSWERED, 3.0)


def test_too_many_requests_without_retry_after_leaves_the_time_to_the_caller():
    answer = batch(429, {"detail": "Rate limit exceeded"})
    assert (answer.kind, answer.retry_after) == (AnswerKind.HOLD, None)


@pytest.mark.parametrize("value", ["0", "-5", "soon", "", "1e9", "nan", "inf", "٣", "1,2"])
def test_senseless_retry_after_is_none_and_does_not_excuse_a_failure(value: str):
    assert retry_after_seconds({"Retry-After": value}, NOW) is None
    assert batch(503, HTML, {"Retry-After": value}).kind is AnswerKind.FAILURE


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("1000000000", MAX_RETRY_AFTER_SECONDS),
        ("9" * 300, MAX_RETRY_AFTER_SECONDS),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_SECONDS),
        ("Fri, 99 Xyz 99999 99:99:99 GMT", None),
    ],
)
def test_retry_after_in_seconds_and_as_a_date(value: str, seconds: float | None):
    assert retry_after_seconds({"retry-after": value}, NOW) == seconds


def test_retry_after_date_is_held_against_the_servers_own_clock():
    theirs = NOW + 86_400
    headers = {
        "Retry-After": formatdate(theirs + 30, usegmt=True),
        "Date": formatdate(theirs, usegmt=True),
    }
    assert retry_after_seconds(headers, NOW) == 30.0


def test_retry_after_date_without_any_clock_is_none():
    assert retry_after_seconds({"Retry-After": formatdate(NOW, usegmt=True)}, None) is None


def test_redirect_cannot_steer_a_terminal():
    answer = classify_batch(302, {"Location": "http://a\x1bc\x9b2J.example/"}, b"", SENT)
    assert answer.reason.isprintable()
    assert "example" in answer.reason


def test_redirect_names_the_host_but_not_the_query():
    answer = batch(302, b"", {"Location": "https://login.test:8443/in?token=secret"})
    assert "https://login.test:8443" in answer.reason
    assert "secret" not in answer.reason


def test_detail_is_one_printable_line_of_bounded_length():
    text = "a\x1b[31m\r\nb\u202e\x00" + "x" * 5000
    detail = single(400, tracker_failure("OddError", text)).events[0].detail
    assert len(detail) <= DETAIL_CHARACTERS
    assert detail.isprintable()


def test_schema_error_gives_place_and_message_but_not_the_input():
    wrong = {"loc": ["body", "events", 3], "msg": "Field required", "input": {"code": "secret"}}
    answer = batch(422, {"detail": [wrong]})
    assert "Field required" in answer.reason
    assert "secret" not in answer.reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "success",
                    "successful_results",
                    "failed_results",
                    "event_index",
                    "pattern_id",
                    "data",
                    "metadata",
                    "error",
                    "error_type",
                    "detail",
                    "status",
                    "components",
                    "performance",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
bodies = st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode())


@given(status=st.integers(100, 599), body=bodies, retry_after=st.none() | st.text(max_size=12))
def test_no_answer_raises_and_only_named_events_are_stored(
    status: int, body: bytes, retry_after: str | None
):
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    for answer in (
        classify_batch(status, headers, body, SENT, now=NOW),
        classify_single(status, headers, body, SENT[0], now=NOW),
    ):
        if Verdict.STORED in verdicts(answer):
            assert 200 <= status < 300
            assert b'"p0"' in body or b'"p1"' in body
        if answer.kind is AnswerKind.ANSWERED:
            assert answer.events
    classify_health(status, body, 1.0)


OPERATIONAL = {"components": {"lineage_tracker": "operational"}}


@pytest.mark.parametrize(
    ("status", "document", "healthy"),
    [
        (200, {"status": "healthy", **OPERATIONAL}, True),
        (200, {"status": "healthy"}, True),
        (200, {"status": "degraded", "memgraph_connected": False}, True),
        (200, {"status": "unhealthy", "error": "x"}, False),
        (200, {"status": "degraded", "components": {"lineage_tracker": "error: x"}}, False),
        (
            200,
            {"status": "degraded", "components": {"lineage_tracker": "database_unavailable"}},
            False,
        ),
        (
            200,
            {"status": "degraded", "components": {"lineage_tracker": "not_initialized"}},
            None,
        ),
        (
            200,
            {
                "status": "healthy",
                **OPERATIONAL,
                "performance": {"database_pool": {"pool_size": 0}},
            },
            None,
        ),
        (200, "log in", False),
        (200, {"hello": 1}, False),
        (302, {}, False),
        (401, {}, None),
        (404, {}, None),
        (429, {}, None),
        (500, {}, False),
        (503, {"status": "unhealthy"}, False),
    ],
)
def test_health_answers(status: int, document: Any, healthy: bool | None):
    answer = classify_health(status, json.dumps(document).encode(), 2.0)
    assert (answer.healthy, answer.latency_ms) == (healthy, 2.0)
    assert answer.reason or healthy
