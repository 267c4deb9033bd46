"""Rows for a ledger, without the payloads that they would come from."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from pattern_tracker.client.wire import encode_event
from pattern_tracker.events import CaptureState, EventType
from pattern_tracker.ledger.captures import CaptureRow
from pattern_tracker.ledger.events import NewEvent

if TYPE_CHECKING:
    from typing import Any

    from pattern_tracker.ledger import Ledger

NOW_MS = 1_750_000_000_000
URL = "https://api.example"


def capture_row(name: str, **values: Any) -> CaptureRow:
    defaults: dict[str, Any] = {
        "state": CaptureState.INGESTED,
        "captured_at": NOW_MS,
        "entered_at": NOW_MS,
    }
    return CaptureRow(key=uuid.uuid5(uuid.NAMESPACE_OID, name), **(defaults | values))


def new_event(
    pattern_id: str,
    *,
    event_type: EventType = EventType.CREATED,
    parents: tuple[str, ...] = (),
    version: str = "1.0.0",
    name: str | None = None,
    code: str = "x = 1",
) -> NewEvent:
    identity = uuid.uuid5(uuid.NAMESPACE_OID, f"event {name or pattern_id}")
    body = encode_event(
        event_id=str(identity),
        session_id="s",
        occurred_at="2026-01-31T12:00:00.000Z",
        event_type=event_type,
        pattern_id=pattern_id,
        parent_pattern_ids=parents,
        code=code,
    )
    return NewEvent(
        event_id=identity,
        event_type=event_type,
        pattern_id=pattern_id,
        version=version,
        parents=parents,
        body=body,
    )


def enter(ledger: Ledger, *events: NewEvent, url: str = URL, now: int = NOW_MS) -> list[int | None]:
    """Enter `events` as one capture each; returns their numbers."""
    with ledger.transaction():
        destination = ledger.destination(url)
        seqs = []
        for event in events:
            capture = ledger.captures.enter(capture_row(str(event.event_id)))
            if capture is None:
                capture = 1
            seqs.append(
                ledger.events.enter(event, capture=capture, destination=destination, now=now)
            )
    return seqs


def state_of(ledger: Ledger, seq: int | None) -> tuple[str, str]:
    """(state, cause) of an event."""
    row: tuple[str, str] = ledger.connection.execute(
        "SELECT state, cause FROM events WHERE seq = ?", (seq,)
    ).fetchone()
    return row
