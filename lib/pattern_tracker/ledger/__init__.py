"""The ledger: the one place of truth about what came in and what is owed.

A SQLite file with two books and, per destination, a gate.  It is written by
one process at a time (whoever holds the drain lock) and read by anyone.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from pattern_tracker.events import Cause
from pattern_tracker.ledger.captures import Captures
from pattern_tracker.ledger.events import Events
from pattern_tracker.ledger.schema import (
    TURNED_AWAY_SEEN,
    TURNED_AWAY_TOTAL,
    open_for_writing,
    turned_away_since,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

__all__ = ["Ledger"]


class Ledger:
    """A ledger opened for writing; use as a context manager, inside the drain lock."""

    def __init__(self, path: Path) -> None:
        """Open `path`, creating or upgrading it.

        Raises:
            LedgerTooNewError: a newer program wrote it.
            sqlite3.DatabaseError: damaged or out of reach.
        """
        self.connection: sqlite3.Connection = open_for_writing(path)
        self.captures = Captures(self.connection)
        self.events = Events(self.connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; what is committed here survives power loss."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            # A failed COMMIT (full disk) leaves the transaction open; a statement
            # that hit a damaged page may have ended it already.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            self.captures.forget_uncommitted()
            raise

    def destination(self, url: str) -> int:
        """The row id of a destination, made on first sight."""
        row = self.connection.execute(
            "SELECT id FROM destinations WHERE url = ?", (url,)
        ).fetchone()
        if row is None:
            self.connection.execute("INSERT INTO destinations (url) VALUES (?)", (url,))
            return self.destination(url)
        found: int = row[0]
        return found

    def load_gate(self, destination: int) -> bytes | None:
        """The destination's gate as it was stored; None before its first use."""
        (gate,) = self.connection.execute(
            "SELECT gate FROM destinations WHERE id = ?", (destination,)
        ).fetchone()
        return gate.encode() if gate else None

    def save_gate(self, destination: int, gate: bytes) -> None:
        """Keep the destination's gate."""
        self.connection.execute(
            "UPDATE destinations SET gate = ? WHERE id = ?", (gate.decode(), destination)
        )

    def next_turn(self, destination: int, *, accepted: bool) -> int:
        """Number this exchange with the destination, of which it took an event or none."""
        self.connection.execute(
            "UPDATE destinations SET turn = turn + 1,"
            " accepted_at = CASE WHEN ? THEN turn + 1 ELSE accepted_at END WHERE id = ?",
            (accepted, destination),
        )
        (turn,) = self.connection.execute(
            "SELECT turn FROM destinations WHERE id = ?", (destination,)
        ).fetchone()
        assert isinstance(turn, int)
        return turn

    def accepted_at(self, destination: int) -> int:
        """The turn in which the destination last took an event; 0 if it never did."""
        (turn,) = self.connection.execute(
            "SELECT accepted_at FROM destinations WHERE id = ?", (destination,)
        ).fetchone()
        assert isinstance(turn, int)
        return turn

    def count_turned_away(self, count: int) -> int:
        """Enter what the hooks could only count; returns how many are new.

        `count` is all that the hooks have counted so far.

        Deliberate loss: these payloads left nothing behind but their number.
        """
        seen = self._counter(TURNED_AWAY_SEEN)
        new = turned_away_since(seen, count)
        if count != seen:
            with self.transaction():
                self.connection.execute(
                    "INSERT INTO tally VALUES ('captures', 'dropped', ?, ?, 0)"
                    " ON CONFLICT DO UPDATE SET n = n + excluded.n",
                    (Cause.TURNED_AWAY, new),
                )
                self._set_counter(TURNED_AWAY_TOTAL, self._counter(TURNED_AWAY_TOTAL) + new)
                self._set_counter(TURNED_AWAY_SEEN, count)
        return new

    def undelivered_bytes(self) -> int:
        """The size of the bodies that wait; what is quarantined must not shut the hooks out."""
        (size,) = self.connection.execute(
            "SELECT coalesce(sum(bytes), 0) FROM tally WHERE book = 'events' AND state = 'waiting'"
        ).fetchone()
        assert isinstance(size, int)
        return size

    def _counter(self, name: str) -> int:
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def _set_counter(self, name: str, value: int) -> None:
        self.connection.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            (name, str(value)),
        )
