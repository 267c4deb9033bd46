"""What the body of an answer says about each event that was sent.

An event counts as stored only where a success names it, by its place in the batch and
its pattern id, once.  The `event_id` of an answer proves nothing: the public service
puts an id of its own there.  An event that no part of the answer names met an outage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pattern_tracker.client.error_types import Verdict, verdict_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pattern_tracker.client.wire import SentEvent

DETAIL_CHARACTERS: Final = 500

NOT_NAMED: Final = "not named in the answer"

# With these the public service and its like report on the event itself.
_TELLS_ABOUT_THE_EVENT: Final = frozenset({400, 404, 500})


@dataclass(frozen=True, slots=True)
class EventAnswer:
    """The verdict on one event; `detail` is the server's words, one line, at most 500 characters.

    The detail of an event that was stored is empty.
    """

    verdict: Verdict
    detail: str = ""


def batch_events(document: Any, sent: Sequence[SentEvent]) -> tuple[EventAnswer, ...] | None:
    """One verdict for each event sent, or None if this is no answer to a batch."""
    if not isinstance(document, dict):
        return None
    stored, failed = document.get("successful_results"), document.get("failed_results")
    if not isinstance(stored, list) or not isinstance(failed, list | None):
        return None
    named: dict[int, list[EventAnswer]] = {}
    for entry in stored:
        index = _index(entry, len(sent))
        if index is not None and _names(entry, sent[index]):
            named.setdefault(index, []).append(EventAnswer(Verdict.STORED))
    for entry in failed or ():
        index = _index(entry, len(sent))
        if index is not None:
            named.setdefault(index, []).append(_failed_event(entry))
    return tuple(_only(named.get(index, ())) for index in range(len(sent)))


def _only(answers: Sequence[EventAnswer]) -> EventAnswer:
    """The one verdict on an event; an answer that contradicts or repeats itself names nothing."""
    return answers[0] if len(answers) == 1 else EventAnswer(Verdict.OUTAGE, NOT_NAMED)


def _index(entry: Any, count: int) -> int | None:
    index = entry.get("event_index") if isinstance(entry, dict) else None
    # `type`, since True is an int as well.
    return index if type(index) is int and 0 <= index < count else None


def single_event(status: int, document: Any, sent: SentEvent) -> EventAnswer | None:
    """The verdict on the event, or None if the answer is not about it."""
    if not isinstance(document, dict):
        return None
    if 200 <= status < 300 and document.get("success") is True:
        stored = _names(document, sent)
        return EventAnswer(Verdict.STORED) if stored else EventAnswer(Verdict.OUTAGE, NOT_NAMED)
    if document.get("success") is not False:
        return None
    event = _failed_event(document)
    if status == 400:
        return event
    # Elsewhere an error nobody knows is taken by its status: a 500, a wrong address.
    known = event.verdict is not Verdict.UNKNOWN
    about_the_event = status in _TELLS_ABOUT_THE_EVENT or 200 <= status < 300
    return event if known and about_the_event else None


def _names(entry: dict[str, Any], sent: SentEvent) -> bool:
    """Whether a success is about the pattern that was sent.

    A batch names it beside the data, a single answer within, and the answer to a
    repeated creation only in its metadata.
    """
    places = (entry, entry.get("data"), entry.get("metadata"))
    found = [place.get("pattern_id") for place in places if isinstance(place, dict)]
    named = [pattern_id for pattern_id in found if pattern_id is not None]
    return bool(named) and all(pattern_id == sent.pattern_id for pattern_id in named)


def _failed_event(entry: dict[str, Any]) -> EventAnswer:
    error_type, text = error_of(entry)
    detail = ": ".join(part for part in (error_type, text) if part)
    return EventAnswer(verdict_of(error_type, text), one_line(detail) or "failed without a reason")


def error_of(entry: dict[str, Any]) -> tuple[str, str]:
    """Type and text of a failure as the tracker reports it; empty where it says nothing."""
    metadata, text = entry.get("metadata"), entry.get("error")
    error_type = metadata.get("error_type") if isinstance(metadata, dict) else None
    return (
        error_type if isinstance(error_type, str) else "",
        text if isinstance(text, str) else "",
    )


def one_line(text: str) -> str:
    """A server's words, fit for a ledger and a terminal: one line, nothing but print."""
    start = text[: 4 * DETAIL_CHARACTERS]
    shown = "".join(character if character.isprintable() else " " for character in start)
    return " ".join(shown.split())[:DETAIL_CHARACTERS]
