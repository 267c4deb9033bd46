"""What is sent: the body of one event, and batches spliced from such bodies.

A body is made once, when the event enters the ledger, and is never parsed again on
its way out.  Because the batch endpoint rejects a whole batch for one bad event
without naming it, everything that the server's schema or database would refuse is
repaired or refused here.

The public service ignores fields it does not know (event id, session, time, agent)
and parents of a created pattern, and replaces the reason of a duplicate.  So all of
them also go into `pattern_data`, which it keeps; readers recognise a repeated event
by `pattern_data.event_id`.

What this module refuses to do: redact (that is done before), or invent identities.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pattern_tracker.errors import PatternTrackerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

EVENT_TYPES: Final = frozenset(
    {
        "pattern_created",
        "pattern_modified",
        "pattern_merged",
        "pattern_applied",
        "pattern_deprecated",
        "pattern_forked",
        "pattern_validated",
    }
)
# The kind of pattern, and who reports it.
_PATTERN_TYPE: Final = "code"
_TRIGGERED_BY: Final = "claude-code-hook"

# How many parents the server demands, and the edge it would draw by itself.
_LEAST_PARENTS: Final = {"pattern_modified": 1, "pattern_forked": 1, "pattern_merged": 2}
_EDGE: Final = {
    "pattern_modified": "modified_from",
    "pattern_forked": "derived_from",
    "pattern_merged": "merged_from",
}

MAX_BODY_BYTES: Final = 256 * 1024

# Characters, as PostgreSQL counts varchar(n).
_ID_CHARACTERS: Final = 255
_VERSION_CHARACTERS: Final = 50
# Unbounded in the database; bounded here so that without its code every body fits
# MAX_BODY_BYTES, even where each character takes six bytes, twice.
_FILE_PATH_CHARACTERS: Final = 4096
_MOST_PARENTS: Final = 16
_MOST_REDACTION_RULES: Final = 64

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_UTC_WITH_MILLISECONDS: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(dict[str, Any])


class InvalidEventError(PatternTrackerError):
    """An event that the API would refuse for certain, and a batch along with it."""

    def __init__(self, *, field: str, value: object, problem: str) -> None:
        self.field = field
        self.value = value
        self.problem = problem
        super().__init__(f"event field {field} = {value!r} {problem}; nothing was queued")


class SentEvent(msgspec.Struct, frozen=True):
    """What an answer is held against: which event was sent, about which pattern."""

    event_id: str
    pattern_id: str


def encode_event(
    *,
    event_id: str,
    session_id: str | None,
    occurred_at: str,
    event_type: str,
    pattern_id: str,
    pattern_name: str = "",
    pattern_version: str = "1.0.0",
    tool_name: str | None = None,
    file_path: str | None = None,
    language: str | None = None,
    code: str | None = None,
    sha256: str | None = None,
    size_bytes: int | None = None,
    fingerprint_only: bool = False,
    parent_pattern_ids: Sequence[str] = (),
    parent_known: bool = True,
    agent_id: str | None = None,
    agent_type: str | None = None,
    redactions: Mapping[str, int] | None = None,
) -> bytes:
    """The JSON body of one track request, at most `MAX_BODY_BYTES` long.

    Over-long text is cut to what the database takes; NUL and lone surrogates become
    U+FFFD.  Where the code does not fit it is left out and the body marked
    `fingerprint_only` with `code_omitted: "too-large"`.

    `occurred_at` is UTC, as `2026-01-31T12:00:00.000Z`; `sha256` the hexadecimal digest of
    the content; `redactions` says how often each rule replaced something.  With
    `fingerprint_only`, `code` is not sent.  `parent_known` is False where something was
    there before and nobody can say what.

    Raises:
        InvalidEventError: what no repair makes acceptable: an unknown event type, a
            missing id or parent, a time in another format.
    """
    parents = _clean_ids(parent_pattern_ids)
    _refuse(
        event_type,
        event_id=event_id,
        pattern_id=pattern_id,
        occurred_at=occurred_at,
        parents=parents,
    )
    dropped_by_the_server = _without_none(
        event_id=_clean(event_id),
        session_id=_clean(session_id),
        occurred_at=occurred_at,
        agent_id=_clean(agent_id),
        agent_type=_clean(agent_type),
    )
    # Kept by the server, but lost with a duplicate, whose node is not updated.
    lost_with_a_duplicate = _without_none(
        tool_name=_clean(tool_name),
        file_path=_clean(file_path, _FILE_PATH_CHARACTERS),
        parent_pattern_ids=parents or None,
    )
    return _encode_fitting(
        {
            **dropped_by_the_server,
            **lost_with_a_duplicate,
            "event_type": str(event_type),
            "pattern_id": _clean(pattern_id),
            "pattern_name": _clean(pattern_name),
            "pattern_type": _PATTERN_TYPE,
            "pattern_version": _clean(pattern_version, _VERSION_CHARACTERS),
            # Null has to be said: left out, the server takes it for Python.
            "language": _clean(language, _VERSION_CHARACTERS),
            "triggered_by": _TRIGGERED_BY,
            **_without_none(edge_type=_EDGE.get(event_type)),
            "pattern_data": {
                **dropped_by_the_server,
                **lost_with_a_duplicate,
                **_content(code, sha256, size_bytes, fingerprint_only=fingerprint_only),
                **_without_none(
                    parent_known=None if parent_known else False,
                    redactions=_clean_counts(redactions) if redactions else None,
                ),
            },
        }
    )


def as_orphan(body: bytes, orphan_of: Iterable[str]) -> bytes:
    """The same event told as a creation, because its parents ended without being stored.

    The event id stays, so that it cannot count twice; `pattern_data` says which
    parents it had (`orphan_of`) and what it was (`original_event_type`).
    """
    event = _DECODER.decode(body)
    data = event["pattern_data"]
    data["orphan_of"] = _clean_ids(orphan_of)
    data["original_event_type"] = event["event_type"]
    event["event_type"] = "pattern_created"
    for belongs_to_a_parent in ("parent_pattern_ids", "edge_type"):
        event.pop(belongs_to_a_parent, None)
    return _encode_fitting(event)


def batch_body(bodies: Sequence[bytes]) -> bytes:
    """One batch of bodies that `encode_event` made, in their order.

    Processed in sequence by the server, so that a parent and its child may share a
    batch; in parallel mode the child would fail.

    Raises:
        ValueError: no bodies; the public service answers an empty batch with HTTP 500.
    """
    if not bodies:
        raise ValueError("a batch needs at least one event")
    return b'{"events":[' + b",".join(bodies) + b'],"processing_mode":"sequential"}'


def _encode_fitting(event: dict[str, Any]) -> bytes:
    data = event["pattern_data"]
    # A character is at least a byte, so a long code need not be encoded to know.
    if len(data.get("code", "")) <= MAX_BODY_BYTES:
        body = _ENCODER.encode(event)
        if len(body) <= MAX_BODY_BYTES:
            return body
    # Deliberate loss: the content goes, its fingerprint and everything else stay.
    data.pop("code", None)
    data["fingerprint_only"] = True
    data["code_omitted"] = "too-large"
    return _ENCODER.encode(event)


def _content(
    code: str | None, sha256: str | None, size_bytes: int | None, *, fingerprint_only: bool
) -> dict[str, Any]:
    sent = None if fingerprint_only or code is None else _clean(code, len(code))
    return {
        **_without_none(code=sent, sha256=_clean(sha256), size_bytes=size_bytes),
        "fingerprint_only": fingerprint_only,
    }


def _refuse(
    event_type: str, *, event_id: str, pattern_id: str, occurred_at: str, parents: list[str]
) -> None:
    if event_type not in EVENT_TYPES:
        problem = f"is not one of {', '.join(sorted(EVENT_TYPES))}"
        raise InvalidEventError(field="event_type", value=event_type, problem=problem)
    if not _UTC_WITH_MILLISECONDS.fullmatch(occurred_at):
        problem = "is not a time like 2026-01-31T12:00:00.000Z"
        raise InvalidEventError(field="occurred_at", value=occurred_at, problem=problem)
    for field, value in (("event_id", event_id), ("pattern_id", pattern_id)):
        if not value:
            raise InvalidEventError(field=field, value=value, problem="must not be empty")
    least = _LEAST_PARENTS.get(event_type, 0)
    if len(parents) < least:
        raise InvalidEventError(
            field="parent_pattern_ids",
            value=parents,
            problem=f"must name at least {least} for {event_type}",
        )


def _clean_ids(ids: Iterable[str]) -> list[str]:
    # Deliberate loss: parents beyond the bound; one merge has a handful.
    return [_cut(pattern_id, _ID_CHARACTERS) for pattern_id in ids if pattern_id][:_MOST_PARENTS]


def _clean_counts(counts: Mapping[str, int]) -> dict[str, int]:
    # Deliberate loss: rules beyond the bound; the counts are for display.
    first = list(counts.items())[:_MOST_REDACTION_RULES]
    return {_cut(rule, _VERSION_CHARACTERS): count for rule, count in first}


def _clean(text: str | None, characters: int = _ID_CHARACTERS) -> str | None:
    return None if text is None else _cut(text, characters)


def _cut(text: str, characters: int) -> str:
    """Without what PostgreSQL's text and jsonb refuse: NUL, lone surrogates, excess length."""
    text = text[:characters]
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    # `isascii` is a flag of the string; most text ends here.
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
