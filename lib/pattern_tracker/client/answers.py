"""What an answer of the intelligence API means, as values.

    status and headers ─▶ the request as a whole: FAILURE, HOLD, DENIED, NO_ENDPOINT, REJECTED
    body ───────────────▶ ANSWERED, with a verdict for each event that was sent

The status alone decides little: the public service answers 400 while its database is
down, 200 to a batch of which nothing was stored, and 404 both to an unknown pattern
and to an unknown address.  A captive portal answers 200 to anything.  So an event
counts as stored only by a body that names it, by its place in the batch and its
pattern id.  The `event_id` of an answer proves nothing: the public service puts an id
of its own there.

What this module refuses to do: I/O, raise for anything a server sends, or decide that
an event is poison (that takes the answers to other events).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pattern_tracker.client.error_types import Verdict, verdict_of
from pattern_tracker.client.event_answers import (
    DETAIL_CHARACTERS,
    NOT_NAMED,
    EventAnswer,
    batch_events,
    error_of,
    one_line,
    single_event,
)
from pattern_tracker.client.http_headers import redirect_target, retry_after_seconds
from pattern_tracker.client.wire import SentEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "DETAIL_CHARACTERS",
    "NOT_NAMED",
    "Answer",
    "AnswerKind",
    "EventAnswer",
    "SentEvent",
    "Verdict",
    "classify_batch",
    "classify_single",
    "failure",
    "one_line",
]

_DECODER: Final = msgspec.json.Decoder()


class AnswerKind(StrEnum):
    """What an answer says about the request as a whole."""

    ANSWERED = "answered"  # each event has a verdict of its own
    FAILURE = "failure"  # outage-like: the breaker counts it
    HOLD = "hold"  # 429, or any Retry-After
    DENIED = "denied"  # 401, 402, 403: for the user to repair
    NO_ENDPOINT = "no-endpoint"  # 404, 405 on the endpoint itself
    REJECTED = "rejected"  # 400, 413, 422 for the whole request: bisect


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The meaning of one answer.

    `events` has one entry for each event sent, in that order, if the body was about
    events: always with ANSWERED, and with a FAILURE that each event failed of.
    `status` is None if no HTTP answer came.  `retry_after` (seconds) may come with
    ANSWERED too; a HOLD without it leaves the time to the caller.
    """

    kind: AnswerKind
    reason: str = ""
    status: int | None = None
    retry_after: float | None = None
    events: tuple[EventAnswer, ...] = ()


def failure(reason: str, status: int | None = None) -> Answer:
    """The answer that counts against the destination, not against an event."""
    return Answer(kind=AnswerKind.FAILURE, reason=reason, status=status)


def classify_batch(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    sent: Sequence[SentEvent],
    *,
    now: float | None = None,
) -> Answer:
    """The meaning of an answer to a batch.  `now`: epoch seconds, for a dated Retry-After."""
    document = _decode(body)
    retry_after = retry_after_seconds(headers, now)
    if 200 <= status < 300:
        events = batch_events(document, sent)
        if events is not None:
            return _answered(status, retry_after, events)
    elif status == 400 and _is_outage(document):
        return _without_events(503, headers, document, retry_after, seen=status)
    return _without_events(status, headers, document, retry_after, seen=status)


def classify_single(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    sent: SentEvent,
    *,
    now: float | None = None,
) -> Answer:
    """The meaning of an answer to one event.  `now`: epoch seconds, for a dated Retry-After."""
    document = _decode(body)
    retry_after = retry_after_seconds(headers, now)
    event = single_event(status, document, sent)
    # What a server says with Retry-After, other than "stored", it may say differently later.
    if event is not None and (event.verdict is Verdict.STORED or retry_after is None):
        return _answered(status, retry_after, (event,))
    return _without_events(status, headers, document, retry_after, seen=status)


def _answered(status: int, retry_after: float | None, events: tuple[EventAnswer, ...]) -> Answer:
    outage = all(event.verdict is Verdict.OUTAGE for event in events)
    if outage and retry_after is not None:
        kind = AnswerKind.HOLD
    else:
        kind = AnswerKind.FAILURE if outage else AnswerKind.ANSWERED
    return Answer(
        kind=kind,
        reason=events[0].detail if outage and events else "",
        status=status,
        retry_after=retry_after,
        events=events,
    )


def _without_events(
    status: int,
    headers: Mapping[str, str],
    document: Any,
    retry_after: float | None,
    *,
    seen: int,
) -> Answer:
    """An answer to the request as a whole.  `seen` is the status that came, `status` its sense."""
    kind = _kind_of(status) if retry_after is None else AnswerKind.HOLD
    words = _words(document)
    return Answer(
        kind=kind,
        reason=one_line(_explain(seen, headers) + (f": {words}" if words else "")),
        status=seen,
        retry_after=retry_after,
    )


def _kind_of(status: int) -> AnswerKind:
    match status:
        case 429:
            return AnswerKind.HOLD
        case 401 | 402 | 403:
            return AnswerKind.DENIED
        case 404 | 405:
            return AnswerKind.NO_ENDPOINT
        case 400 | 413 | 422:
            return AnswerKind.REJECTED
        case _:
            return AnswerKind.FAILURE


_EXPLANATIONS: Final = {
    400: "the request was refused",
    401: "the token is missing or not accepted",
    402: "payment required",
    403: "access denied",
    404: "no such endpoint at this address",
    405: "no such endpoint at this address",
    407: "the proxy asks for a user and password",
    408: "the server gave up waiting for the request",
    413: "the request is too large for the server",
    422: "the request was refused",
    429: "too many requests",
    502: "a gateway could not reach the API",
    503: "the API is not available",
    504: "the API took too long",
}


def _explain(status: int, headers: Mapping[str, str]) -> str:
    if 200 <= status < 300:
        # A login page of a network, or another program at that address.
        text = "not an answer of the intelligence API"
    elif 300 <= status < 400:
        target = redirect_target(headers)
        text = f"redirected{' to ' + target if target else ''}; name the final address instead"
    else:
        text = _EXPLANATIONS.get(status, "server error" if status >= 500 else "unexpected answer")
    return f"{text} (HTTP {status})"


def _is_outage(document: Any) -> bool:
    if not isinstance(document, dict) or document.get("success") is not False:
        return False
    return verdict_of(*error_of(document)) is Verdict.OUTAGE


def _words(document: Any) -> str:
    """What the server says in a body that is about the request as a whole."""
    if not isinstance(document, dict):
        return ""
    said = document.get("detail") or document.get("error")
    if isinstance(said, str):
        return one_line(said)
    # FastAPI's list of schema errors quotes the input: only place and message are taken.
    if isinstance(said, list) and said and isinstance(said[0], dict):
        return one_line(f"{said[0].get('loc', '')} {said[0].get('msg', '')}")
    return ""


def _decode(body: bytes) -> Any:
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
