"""What the ledger says of itself, for readers: two sums, the gates, the oldest debt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from pattern_tracker.ledger.schema import TURNED_AWAY_SEEN, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerSummary:
    """A consistent reading (one snapshot) of the whole ledger."""

    # book -> state -> cause -> how many
    tally: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    # destination's address -> its gate as stored
    gates: Mapping[str, bytes | None] = field(default_factory=dict)
    # destination's address -> how many events wait for it
    waiting: Mapping[str, int] = field(default_factory=dict)
    oldest_waiting_at: int | None = None  # epoch ms
    # How far into the hooks' count of turned-away payloads the tally has come.
    turned_away_seen: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class EventLine:
    """One event for a list; times are epoch milliseconds."""

    seq: int
    event_id: str
    state: str
    cause: str
    event_type: str
    pattern_id: str
    session_id: str | None
    tool: str
    destination: str
    entered_at: int
    settled_at: int | None
    attempts: int
    answer: str | None


def read_summary(path: Path) -> LedgerSummary:
    """Read the ledger at `path`; all zeros where there is none yet.

    Raises:
        LedgerError: damaged, out of reach, or from a newer program.
    """
    with reading(path) as connection:
        if connection is None:
            return LedgerSummary()
        connection.execute("BEGIN")  # one snapshot for all that follows
        tally: dict[str, dict[str, dict[str, int]]] = {}
        for book, state, cause, n in connection.execute(
            "SELECT book, state, cause, n FROM tally WHERE n"
        ):
            tally.setdefault(book, {}).setdefault(state, {})[cause] = n
        waiting = connection.execute(
            "SELECT d.url, count(*), min(e.entered_at) FROM events e"
            " JOIN destinations d ON d.id = e.destination WHERE e.state = 'waiting' GROUP BY d.id"
        ).fetchall()
        turned_away = connection.execute(
            "SELECT value FROM meta WHERE key = ?", (TURNED_AWAY_SEEN,)
        ).fetchone()
        gates = dict(connection.execute("SELECT url, gate FROM destinations").fetchall())
    return LedgerSummary(
        tally=tally,
        gates={url: gate.encode() if gate else None for url, gate in gates.items()},
        waiting={url: n for url, n, _ in waiting},
        oldest_waiting_at=min((oldest for _, _, oldest in waiting), default=None),
        turned_away_seen=int(turned_away[0]) if turned_away else 0,
    )


def read_events(path: Path, *, state: str | None = None, limit: int = 20) -> Iterator[EventLine]:
    """The newest events first, at most `limit`, only those in `state` if one is given.

    Raises:
        LedgerError: damaged, out of reach, or from a newer program.
    """
    with reading(path) as connection:
        if connection is None:
            return
        yield from (
            EventLine(
                seq=row[0],
                event_id=str(UUID(bytes=row[1])),
                state=row[2],
                cause=row[3],
                event_type=row[4],
                pattern_id=row[5],
                session_id=row[6],
                tool=row[7],
                destination=row[8],
                entered_at=row[9],
                settled_at=row[10],
                attempts=row[11],
                answer=row[12],
            )
            for row in connection.execute(
                "SELECT e.seq, e.event_id, e.state, e.cause, e.event_type, e.pattern_id,"
                " s.session_id, c.tool, d.url, e.entered_at, e.settled_at, e.attempts, e.answer"
                " FROM events e JOIN captures c ON c.id = e.capture"
                " JOIN destinations d ON d.id = e.destination"
                " LEFT JOIN sessions s ON s.id = c.session"
                " WHERE ?1 IS NULL OR e.state = ?1 ORDER BY e.seq DESC LIMIT ?2",
                (state, limit),
            )
        )


def events_of_capture(path: Path, key: UUID) -> dict[str, str] | None:
    """The state of each event of a capture, by event id; None while the capture is unknown.

    Raises:
        LedgerError: damaged, out of reach, or from a newer program.
    """
    with reading(path) as connection:
        if connection is None:
            return None
        row = connection.execute("SELECT id FROM captures WHERE key = ?", (key.bytes,)).fetchone()
        if row is None:
            return None
        found = connection.execute("SELECT event_id, state FROM events WHERE capture = ?", row)
        return {str(UUID(bytes=event_id)): state for event_id, state in found}
