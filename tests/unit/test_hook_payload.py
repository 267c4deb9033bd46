from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from pattern_tracker.hook_payload import (
    HookPayload,
    PayloadError,
    capture_key,
    decode,
    event_id,
)

PAYLOADS = sorted((Path(__file__).parent.parent / "payloads").glob("*.json"))


def raw(**fields: object) -> bytes:
    return json.dumps({"hook_event_name": "PostToolUse", **fields}).encode()


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_decode_reads_every_recorded_payload(path: Path) -> None:
    expected = json.loads(path.read_bytes())
    payload = decode(path.read_bytes())
    for name in HookPayload.__struct_fields__:
        assert getattr(payload, name) == expected.get(name)


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"", "not-json"),
        (b"\0\0\0", "not-json"),
        (b'{"hook_event_name": "Stop"}\0\0', "not-json"),
        (b'{"hook_event_name": "Stop"', "not-json"),
        (b"\xff\xfe{\0}\0", "not-json"),
        (b'{"hook_event_name":"x","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not-json"),
        (b"[]", "not-an-object"),
        (b'"\\ud800"', "not-an-object"),
        (b"null", "not-an-object"),
        (b"{}", "no-event-name"),
        (b'{"hook_event_name": ""}', "no-event-name"),
        (b'{"hook_event_name": null}', "no-event-name"),
        (b'{"hook_event_name": 3}', "bad-field"),
        (raw(session_id=3), "bad-field"),
        (raw(tool_input=[1]), "bad-field"),
        (raw(tool_use_id={}), "bad-field"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_decode_names_the_cause_of_what_it_cannot_use(body: bytes, cause: str) -> None:
    with pytest.raises(PayloadError) as raised:
        decode(body)
    assert raised.value.cause == cause


def test_decode_of_a_proper_prefix_is_never_a_payload() -> None:
    body = raw(session_id="s", tool_input={"content": 'a"b\\'}, duration_ms=3)
    for length in range(len(body)):
        with pytest.raises(PayloadError, match="not-json"):
            decode(body[:length])


def test_decode_replaces_lone_surrogates_and_keeps_pairs() -> None:
    payload = decode(b'{"hook_event_name":"x","tool_input":{"a":"\\ud800 \\ud83d\\ude00"}}')
    assert payload.tool_input == {"a": "\ufffd \U0001f600"}


@pytest.mark.parametrize(
    ("body", "response"),
    [
        (b"NaN", None),
        (b"-Infinity", None),
        (b"1e999", None),
        (b"9" * 5000, None),
        (b'"\xff"', "\ufffd"),
        (b'"a\nb"', "a\nb"),
        (b"[1, 2]", [1, 2]),
    ],
)
def test_decode_survives_values_that_strict_json_forbids(body: bytes, response: object) -> None:
    payload = decode(b'{"hook_event_name":"x","tool_response":' + body + b"}")
    assert payload.tool_response == response


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("agent_id", 7),
        ("agent_type", {"id": "m"}),
        ("session_id", None),
    ],
)
def test_decode_loses_only_the_optional_field_of_another_type(name: str, value: object) -> None:
    payload = decode(raw(**{"tool_name": "Write", name: value}))
    assert payload.tool_name == "Write"
    assert not getattr(payload, name)


def test_decode_skips_a_byte_order_mark_and_takes_the_last_of_duplicates() -> None:
    payload = decode(b'\xef\xbb\xbf{"hook_event_name":"x","hook_event_name":"y"}\n')
    assert payload.hook_event_name == "y"


def key(**fields: object) -> uuid.UUID:
    name, mtime_ns = str(fields.pop("name", "n")), int(str(fields.pop("mtime_ns", 1)))
    return capture_key(decode(raw(**fields)), name=name, mtime_ns=mtime_ns)


def test_capture_key_of_claudes_own_id_is_that_of_id_and_event() -> None:
    same = {"tool_use_id": "toolu_1"}
    assert key(**same, session_id="a", name="x") == key(**same, session_id="b", mtime_ns=2)
    assert key(**same) != key(**same, hook_event_name="PreToolUse")
    assert key(**same) != key(tool_use_id="toolu_2")


def test_capture_key_of_a_foreign_id_includes_the_session() -> None:
    same = {"tool_use_id": "call_1"}
    assert key(**same, session_id="a", name="x") == key(**same, session_id="a", name="y")
    assert key(**same, session_id="a") != key(**same, session_id="b")


def test_capture_key_without_tool_use_id_includes_the_spool_file() -> None:
    assert key(session_id="a") == key(session_id="a")
    assert len({key(), key(name="m"), key(mtime_ns=2), key(session_id="a")}) == 4


def test_capture_key_is_the_same_in_every_version() -> None:
    assert key(tool_use_id="toolu_1") == uuid.UUID("262c0b83-19d2-5d3a-b8ae-1e10f3c99da7")


def test_event_id_depends_on_capture_and_slot() -> None:
    first, second = uuid.UUID(int=1), uuid.UUID(int=2)
    ids = {event_id(first, "a"), event_id(first, "b"), event_id(second, "a"), event_id(first, "a")}
    assert len(ids) == 3
