"""The store in one SQLite file, written by one process.

SQLite is called straight on the event loop: a batch of 100 events takes a few
milliseconds, less than handing it to a thread and back would cost in a process that
has one writer anyway.  So nothing here ever awaits, and no two transactions meet.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from pattern_intelligence.errors import EventRefusedError, StoreUnavailableError
from pattern_intelligence.event_writer import SECONDS_PER_DAY, EventWriter
from pattern_intelligence.lineage_queries import LineageQueries
from pattern_intelligence.schema import open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pattern_intelligence.answers import Ancestry, Descendants, Evolution, Tracked
    from pattern_intelligence.contract import TrackRequest
    from pattern_tracker.clock import Clock

# An answer of this many nodes is 2 MB of JSON and holds others up for a quarter of a second.
MAX_LINEAGE_NODES: Final = 10_000

_ERROR_TYPES: Final = {
    sqlite3.SQLITE_FULL: "store_full",
    sqlite3.SQLITE_CORRUPT: "store_corrupt",
    sqlite3.SQLITE_NOTADB: "store_corrupt",
}


class SqliteStore:
    """Implements `pattern_intelligence.store.Store`."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        max_lineage_nodes: int = MAX_LINEAGE_NODES,
    ) -> None:
        """Open or create the database at `path`.

        Raises:
            StoreUnusableError: it cannot be opened, or is not ours, or is too new.
        """
        self._path = path
        self._clock = clock
        self._new_id = new_id
        self._connection = open_database(path)
        self._queries = LineageQueries(self._connection, limit=max_lineage_nodes)
        # Which file was opened.  A deleted or replaced one would take every write
        # without complaint and keep none.
        self._identity = _identity(path)

    def __repr__(self) -> str:
        return f"SqliteStore({str(self._path)!r})"

    async def track(self, events: Sequence[TrackRequest]) -> list[Tracked | EventRefusedError]:
        with self._transaction() as cursor:
            writer = EventWriter(cursor, now=self._clock.now(), new_id=self._new_id)
            return [_write(writer, event) for event in events]

    async def ancestry(self, pattern_id: str) -> Ancestry | None:
        with _mapped_errors():
            return self._queries.ancestry(pattern_id)

    async def descendants(self, pattern_id: str) -> Descendants | None:
        with _mapped_errors():
            return self._queries.descendants(pattern_id)

    async def evolution(self, pattern_id: str) -> Evolution | None:
        with _mapped_errors():
            return self._queries.evolution(pattern_id)

    async def check(self) -> None:
        with self._transaction() as cursor:
            cursor.execute("UPDATE write_probe SET checked_at = ?", (self._clock.now(),))
            cursor.execute("SELECT max(seq) FROM events").fetchone()

    async def forget_before(self, moment: float, *, limit: int) -> int:
        with self._transaction() as cursor:
            cursor.execute(
                "DELETE FROM events WHERE seq IN"
                " (SELECT seq FROM events WHERE received_at < ? LIMIT ?)",
                (moment, limit),
            )
            forgotten = cursor.rowcount
            # A body was last used no earlier than its newest event, so none that an
            # event still points at is old enough.
            cursor.execute(
                "DELETE FROM bodies WHERE id IN"
                " (SELECT id FROM bodies WHERE last_used_day < ? LIMIT ?)",
                (int(moment // SECONDS_PER_DAY), limit),
            )
            return forgotten + cursor.rowcount

    async def close(self) -> None:
        with suppress(sqlite3.Error):  # closing only tidies: what counts was committed
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with _mapped_errors():
            if _identity(self._path) != self._identity:
                raise StoreUnavailableError(
                    f"{self._path} was removed or replaced; restart this service",
                    error_type="store_missing",
                )
            cursor = self._connection.cursor()
            try:
                cursor.execute("BEGIN IMMEDIATE")
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    with suppress(sqlite3.Error):  # the first error is the one to report
                        self._connection.execute("ROLLBACK")
                raise


def _write(writer: EventWriter, event: TrackRequest) -> Tracked | EventRefusedError:
    try:
        return writer.write(event)
    except EventRefusedError as refusal:
        return refusal


@contextmanager
def _mapped_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        # The low byte of an extended code is the primary code.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        raise StoreUnavailableError(
            str(error), error_type=_ERROR_TYPES.get(code, "store_unavailable")
        ) from error


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - once per batch, and twice as fast as Path.stat
    except OSError:
        return None
    return found.st_dev, found.st_ino
