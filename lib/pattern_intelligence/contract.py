"""What a client may send: the shapes, and the rules that need no store.

The paths and fields are those of the public pattern-traceability service, plus
`event_id`, `session_id`, `occurred_at` and `metadata`, which that service drops.
A client that speaks to both puts the first three into `pattern_data` as well;
they are found in either place.

Everything here is pure.  It refuses what no store could keep faithfully: text
with NUL or half a surrogate pair, numbers that are not JSON, unknown kinds of event.
Whether a parent exists is the store's to know.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from pattern_intelligence.errors import EventRefusedError, RequestRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_ERROR: Final = "schema_error"
VALIDATION_ERROR: Final = "validation_error"

MAX_BATCH_EVENTS: Final = 1000
MAX_BODY_BYTES: Final = 8 * 1024 * 1024

OPERATIONS: Final = {
    "pattern_created": "track_creation",
    "pattern_validated": "track_creation",
    "pattern_modified": "track_modification",
    "pattern_forked": "track_modification",
    "pattern_merged": "track_merge",
    "pattern_applied": "track_application",
    "pattern_deprecated": "track_deprecation",
}
EDGE_TYPES: Final = frozenset(
    ("derived_from", "modified_from", "merged_from", "replaced_by", "inspired_by", "deprecated_by")
)
TRANSFORMATION_TYPES: Final = frozenset(
    ("refactor", "enhancement", "bugfix", "merge", "optimization", "simplification")
)

# The public service's column widths: what passes here passes there.
Text50 = Annotated[str, msgspec.Meta(max_length=50)]
Text100 = Annotated[str, msgspec.Meta(max_length=100)]
Text255 = Annotated[str, msgspec.Meta(max_length=255)]
# Each parent costs a look-up; nobody merges this many, a mistake might.
Parents = Annotated[list[Text255], msgspec.Meta(max_length=1000)]


class TrackRequest(msgspec.Struct, kw_only=True):
    """One pattern event as it arrives; unknown fields are ignored."""

    event_type: str
    pattern_id: Text255
    pattern_name: Text255 = ""
    pattern_type: Text100 = "code"
    pattern_version: Text50 = "1.0.0"
    tool_name: Text255 | None = None
    file_path: str | None = None
    language: Text50 | None = "python"
    pattern_data: dict[str, Any] = {}
    parent_pattern_ids: Parents = []
    edge_type: str | None = None
    transformation_type: str | None = None
    reason: str | None = None
    triggered_by: Text100 = "api"
    event_id: Text255 | None = None
    session_id: Text255 | None = None
    occurred_at: str | float | int | None = None
    metadata: dict[str, Any] | None = None


class TrackBatch(msgspec.Struct, kw_only=True):
    """Events are left unread here, so that each can fail on its own."""

    events: list[msgspec.Raw]
    processing_mode: str = "sequential"


_event_decoder = msgspec.json.Decoder(TrackRequest)
_batch_decoder = msgspec.json.Decoder(TrackBatch)


def parse_batch(body: bytes) -> tuple[Sequence[bytes | msgspec.Raw], str]:
    """Split a batch into its events, each still JSON; and the processing mode asked for.

    Raises:
        RequestRefusedError: not a batch (422), or more than `MAX_BATCH_EVENTS` events (413).
    """
    events: Sequence[bytes | msgspec.Raw]
    try:
        batch = _batch_decoder.decode(body)
        events, mode = batch.events, batch.processing_mode
    except msgspec.ValidationError as error:
        raise _not_a_batch(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        events, mode = _split_tolerantly(body)
    if len(events) > MAX_BATCH_EVENTS:
        raise RequestRefusedError(
            f"{len(events)} events in one batch; send at most {MAX_BATCH_EVENTS}",
            error_type="batch_too_large",
            status=413,
        )
    return events, mode


def _split_tolerantly(body: bytes) -> tuple[list[bytes], str]:
    # The fast reader rejects a whole body for one half surrogate or NaN inside one
    # event.  The standard library's reads both, so that the event can be named.
    try:
        batch = json.loads(body)
        events = batch["events"]
        if not isinstance(events, list):
            raise _not_a_batch("`events` is not an array")
        return [json.dumps(event).encode() for event in events], "sequential"
    except (ValueError, RecursionError) as error:
        raise _not_a_batch(f"the body is not JSON ({error})") from error
    except (KeyError, TypeError) as error:
        raise _not_a_batch("the body is not an object with `events`") from error


def _not_a_batch(problem: str) -> RequestRefusedError:
    return RequestRefusedError(f"Not a batch: {problem}", error_type=SCHEMA_ERROR, status=422)


def parse_event(raw: bytes | msgspec.Raw) -> TrackRequest:
    """Read and check one event; identity and time are filled in from `pattern_data`.

    After this `occurred_at` is seconds since the epoch, or None.

    Raises:
        EventRefusedError: `schema_error` (shape) or `validation_error` (meaning).
    """
    try:
        event = _event_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EventRefusedError(str(error), error_type=SCHEMA_ERROR) from error
    problem = _first_problem(event)
    if problem is None and b"\\u0000" in memoryview(raw).tobytes() and _holds_nul(event):
        problem = "text holds the character NUL (\\u0000), which cannot be stored"
    if problem is None:
        problem = _fill_in(event)
    if problem is not None:
        raise EventRefusedError(
            problem, error_type=VALIDATION_ERROR, pattern_id=event.pattern_id.replace("\0", "")
        )
    return event


def _first_problem(event: TrackRequest) -> str | None:
    operation = OPERATIONS.get(event.event_type)
    if operation is None:
        return f"{event.event_type!r} is not a valid LineageEventType"
    if event.edge_type is not None and event.edge_type not in EDGE_TYPES:
        return f"{event.edge_type!r} is not a valid EdgeType"
    transformation = event.transformation_type
    if transformation is not None and transformation not in TRANSFORMATION_TYPES:
        return f"{transformation!r} is not a valid TransformationType"
    if not event.pattern_id:
        return f"{operation} requires pattern_id"
    return _missing_for(operation, event)


def _missing_for(operation: str, event: TrackRequest) -> str | None:
    if operation == "track_creation" and not event.pattern_data:
        return "track_creation requires pattern_data"
    if operation == "track_modification" and not event.parent_pattern_ids:
        return "track_modification requires parent_pattern_ids"
    if operation == "track_merge" and len(event.parent_pattern_ids) < 2:
        return "track_merge requires at least 2 parent_pattern_ids"
    return None


def _holds_nul(event: TrackRequest) -> bool:
    # `\\u0000` in the JSON may also be source code that spells the escape: only
    # the decoded text tells.  A stack instead of recursion: the depth is the client's.
    waiting: list[Any] = list(msgspec.structs.astuple(event))
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if "\0" in value:
                return True
        elif isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return False


def _fill_in(event: TrackRequest) -> str | None:
    data = event.pattern_data
    event.event_id = event.event_id or _short_text(data.get("event_id"))
    event.session_id = event.session_id or _short_text(data.get("session_id"))
    if event.occurred_at is not None:
        event.occurred_at = seconds_since_epoch(event.occurred_at)
        return (
            None if event.occurred_at is not None else "occurred_at is neither ISO 8601 nor seconds"
        )
    # What only lies in `pattern_data` was never promised to be a time.
    event.occurred_at = seconds_since_epoch(data.get("occurred_at"))
    return None


def _short_text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= 255 else None


def seconds_since_epoch(value: object) -> float | None:
    """ISO 8601 (UTC where it names no zone) or a number of seconds; None for all else."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def iso_time(seconds: float) -> str:
    """ISO 8601 in UTC, to the microsecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
