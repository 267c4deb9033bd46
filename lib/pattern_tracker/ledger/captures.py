"""The book of captures: what came in, one row per payload, each key once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pattern_tracker.events import CaptureSource, CaptureState, Cause

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from uuid import UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptureRow:
    """One payload as the ledger keeps it; times are epoch milliseconds."""

    key: UUID
    state: CaptureState
    cause: str = Cause.NONE
    via: CaptureSource = CaptureSource.HOOK
    session_id: str | None = None
    hook_event: str = ""
    tool: str = ""
    captured_at: int
    entered_at: int
    file: str | None = None


class Captures:
    """Writes captures; the caller opens and commits transactions."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # Session ids seen by this connection: text -> row id.
        self._sessions: dict[str, int] = {}

    def enter(self, row: CaptureRow) -> int | None:
        """Add a capture; returns its id, or None where its key is known already."""
        cursor = self._connection.execute(
            "INSERT INTO captures (key, state, cause, via, session, hook_event, tool,"
            " captured_at, entered_at, file) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (key) DO NOTHING",
            (
                row.key.bytes,
                row.state,
                row.cause,
                row.via,
                self._session(row.session_id),
                row.hook_event,
                row.tool,
                row.captured_at,
                row.entered_at,
                row.file,
            ),
        )
        return cursor.lastrowid if cursor.rowcount else None

    def quarantined_files(self, *, entered_before: int) -> list[tuple[int, str]]:
        """(id, file name) of the captures that came in before then and still have a file."""
        return self._connection.execute(
            "SELECT id, file FROM captures WHERE file IS NOT NULL AND entered_at < ?",
            (entered_before,),
        ).fetchall()

    def file_is_gone(self, captures: Iterable[int]) -> None:
        """Their raw files have been deleted."""
        self._connection.executemany(
            "UPDATE captures SET file = NULL WHERE id = ?", [(capture,) for capture in captures]
        )

    def _session(self, session_id: str | None) -> int | None:
        if session_id is None:
            return None
        known = self._sessions.get(session_id)
        if known is None:
            self._connection.execute(
                "INSERT INTO sessions (session_id) VALUES (?) ON CONFLICT DO NOTHING",
                (session_id,),
            )
            (known,) = self._connection.execute(
                "SELECT id FROM sessions WHERE session_id = ?", (session_id,)
            ).fetchone()
            assert isinstance(known, int)
            self._sessions[session_id] = known
        return known

    def forget_uncommitted(self) -> None:
        """After a rollback: the row ids remembered from it may not exist."""
        self._sessions.clear()
