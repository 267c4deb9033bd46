"""The book of events: what the intelligence API is owed, each event id once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from pattern_tracker.events import Cause, EventState, EventType
from pattern_tracker.ledger.schema import DamagedRowError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

# Longer than any event is put off (64 minutes, plus a little for its parents).  What seems
# to be due later than that was put off before the clock went back, and is due now.
LONGEST_DELAY_MS: Final = 2 * 3_600_000


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvent:
    """An event about to enter the ledger; `body` is the JSON that will be sent."""

    event_id: UUID
    event_type: EventType
    pattern_id: str
    version: str
    parents: tuple[str, ...] = ()
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitingEvent:
    """An event that is owed to the API."""

    seq: int
    event_id: UUID
    event_type: EventType
    pattern_id: str
    parents: tuple[str, ...]
    attempts: int
    suspect_at: int | None
    body: bytes


# With the destination and `_not_due`; `_waiting` reads the rows.
_SELECT_DUE: Final = (
    "SELECT seq, event_id, event_type, pattern_id, parents, attempts, suspect_at, body"
    " FROM events INDEXED BY events_waiting"
    " WHERE destination = ? AND state = 'waiting' AND not_before NOT BETWEEN ? AND ?"
)


def _not_due(now: int) -> tuple[int, int]:
    return now + 1, now + LONGEST_DELAY_MS


class Events:
    """Writes and looks up events; the caller opens and commits transactions.

    All times are epoch milliseconds.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def enter(self, event: NewEvent, *, capture: int, destination: int, now: int) -> int | None:
        """Add a waiting event and what it makes known; None where its id is known already."""
        cursor = self._connection.execute(
            "INSERT INTO events (event_id, capture, destination, state, event_type, pattern_id,"
            " parents, entered_at, body) VALUES (?, ?, ?, 'waiting', ?, ?, ?, ?, ?)"
            " ON CONFLICT (event_id) DO NOTHING",
            (
                event.event_id.bytes,
                capture,
                destination,
                event.event_type,
                event.pattern_id,
                " ".join(event.parents),
                now,
                event.body,
            ),
        )
        if not cursor.rowcount:
            return None
        seq = cursor.lastrowid
        if event.event_type is not EventType.APPLIED:
            self._connection.execute(
                "INSERT INTO patterns (destination, pattern_id, version) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET version = excluded.version",
                (destination, event.pattern_id, event.version),
            )
        return seq

    def version_of(self, pattern_id: str, *, destination: int) -> str | None:
        """The newest version that the destination knows or is owed; None if it knows none."""
        row = self._connection.execute(
            "SELECT version FROM patterns WHERE destination = ? AND pattern_id = ?",
            (destination, pattern_id),
        ).fetchone()
        return str(row[0]) if row else None

    def next_batch(
        self, *, destination: int, now: int, max_events: int, max_bytes: int
    ) -> list[WaitingEvent]:
        """What to send next: fewest attempts first, then oldest; at least one if any is due.

        All of a batch have been attempted as often as its first: what failed before does
        not take down what did not.
        """
        rows = self._connection.execute(
            f"{_SELECT_DUE} ORDER BY attempts, seq LIMIT ?",
            (destination, *_not_due(now), max_events),
        )
        batch: list[WaitingEvent] = []
        size = 0
        for row in rows:
            size += len(row[7])
            event = _waiting(row)
            if batch and (size > max_bytes or event.attempts != batch[0].attempts):
                break
            batch.append(event)
        return batch

    def next_probe(self, *, destination: int, now: int, accepted_at: int) -> list[WaitingEvent]:
        """The event to probe a failing server with, if any is due.

        The first that is no suspect since the server last took one; where all are, each
        in its turn: what failed may be what breaks the server.
        """
        due = (destination, *_not_due(now))
        row = self._connection.execute(
            f"{_SELECT_DUE} AND coalesce(suspect_at, -1) < ? ORDER BY attempts, seq LIMIT 1",
            (*due, accepted_at),
        ).fetchone()
        if row is None:
            row = self._connection.execute(
                f"{_SELECT_DUE} ORDER BY suspect_at, seq LIMIT 1", due
            ).fetchone()
        return [_waiting(row)] if row else []

    def next_due(self, *, destination: int) -> int | None:
        """When the first waiting event may be sent; None if none waits."""
        (due,) = self._connection.execute(
            "SELECT min(not_before) FROM events INDEXED BY events_waiting"
            " WHERE destination = ? AND state = 'waiting'",
            (destination,),
        ).fetchone()
        assert due is None or isinstance(due, int)
        return due

    def any_waiting(self, *, destination: int) -> bool:
        """Whether anything is owed to the destination."""
        row = self._connection.execute(
            "SELECT 1 FROM events INDEXED BY events_waiting"
            " WHERE destination = ? AND state = 'waiting' LIMIT 1",
            (destination,),
        ).fetchone()
        return row is not None

    def delivered(self, seqs: Iterable[int], *, now: int) -> None:
        """An answer named them as stored: their bodies are not needed any more."""
        self._connection.executemany(
            "UPDATE events SET state = 'delivered', cause = '', body = NULL, settled_at = ?"
            " WHERE seq = ? AND state = 'waiting'",
            [(now, seq) for seq in seqs],
        )

    def quarantined(self, seq: int, *, cause: Cause, answer: str, now: int) -> None:
        """The API refuses this very event; its body stays, for the user to look at."""
        self._connection.execute(
            "UPDATE events SET state = 'quarantined', cause = ?, answer = ?, settled_at = ?"
            " WHERE seq = ? AND state = 'waiting'",
            (cause, answer, now, seq),
        )

    def put_off(self, seq: int, *, not_before: int, answer: str) -> None:
        """Wait with it, without holding anything against it."""
        self._connection.execute(
            "UPDATE events SET not_before = ?, answer = ? WHERE seq = ? AND state = 'waiting'",
            (not_before, answer, seq),
        )

    def refused(self, seq: int, *, not_before: int, answer: str, turn: int) -> None:
        """An answer was about this event and not good: one attempt is spent."""
        self._connection.execute(
            "UPDATE events SET attempts = attempts + 1, not_before = ?, answer = ?,"
            " suspect_at = ? WHERE seq = ? AND state = 'waiting'",
            (not_before, answer, turn, seq),
        )

    def suspected(self, seq: int, *, answer: str, turn: int) -> None:
        """It was not taken, perhaps through no fault of its own: no attempt is spent."""
        self._connection.execute(
            "UPDATE events SET answer = ?, suspect_at = ? WHERE seq = ? AND state = 'waiting'",
            (answer, turn, seq),
        )

    def rewritten(self, seq: int, *, event_type: EventType, body: bytes) -> None:
        """Send it as something else from now on; its id stays."""
        self._connection.execute(
            "UPDATE events SET event_type = ?, parents = '', body = ?, not_before = 0"
            " WHERE seq = ? AND state = 'waiting'",
            (event_type, body, seq),
        )

    def parent_waits_until(
        self, pattern_ids: Sequence[str], *, before: int, destination: int
    ) -> int | None:
        """If an event that makes one of these patterns known still waits: until when, at least.

        Only events entered before seq `before` count, so that no two can wait for
        each other.  None: all of them ended, or there never were any.
        """
        marks = ", ".join("?" * len(pattern_ids))
        (latest,) = self._connection.execute(
            "SELECT max(not_before) FROM events WHERE destination = ? AND state = 'waiting'"
            f" AND pattern_id IN ({marks}) AND event_type <> ? AND seq < ?",
            (destination, *pattern_ids, EventType.APPLIED, before),
        ).fetchone()
        assert latest is None or isinstance(latest, int)
        return latest

    def forget_quarantined_bodies(self, *, entered_before: int) -> None:
        """Deliberate loss: nobody looked at them for as long as the user keeps anything."""
        self._connection.execute(
            "UPDATE events SET body = NULL"
            " WHERE state = 'quarantined' AND body IS NOT NULL AND entered_at < ?",
            (entered_before,),
        )

    def expire(self, *, entered_before: int, now: int) -> int:
        """Deliberate loss: events older than the user's limit go, undelivered; returns how many."""
        cursor = self._connection.execute(
            "UPDATE events SET state = ?, cause = ?, body = NULL, settled_at = ?"
            " WHERE state = 'waiting' AND entered_at < ?",
            (EventState.EXPIRED, Cause.TOO_OLD, now, entered_before),
        )
        return cursor.rowcount


def _waiting(row: tuple[int, bytes, str, str, str, int, int | None, bytes]) -> WaitingEvent:
    seq, event_id, event_type, pattern_id, parents, attempts, suspect_at, body = row
    try:
        identity, kind = UUID(bytes=event_id), EventType(event_type)
    except (TypeError, ValueError) as error:
        raise DamagedRowError(seq) from error
    return WaitingEvent(
        seq=seq,
        event_id=identity,
        event_type=kind,
        pattern_id=pattern_id,
        parents=tuple(parents.split()),
        attempts=attempts,
        suspect_at=suspect_at,
        body=body,
    )
