"""The ledger's tables, and how a file becomes a ledger.

Two books (`captures`, `events`) whose sums are kept by triggers, in the same
transaction as the row that changes: no code path can forget to count.  Keys
and ids are 16-byte blobs, because they are the bulk of what is kept for good.

Refuses a ledger written by a newer version.  A file that SQLite calls corrupt
is set aside under another name, never overwritten, and only by a writer.
"""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from pattern_tracker.errors import LedgerError, LedgerTooNewError
from pattern_tracker.events import CaptureState, Cause
from pattern_tracker.state_dir import FILE_MODE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA_VERSION: Final = 1

# How long a statement waits for a reader's or checkpointer's short lock.
BUSY_TIMEOUT_MS: Final = 5_000

# In `meta`: how far into the hooks' count of turned-away payloads the ledger has come, and
# how many there have been in all (the hooks' file may be made anew).
TURNED_AWAY_SEEN: Final = "turned-away-seen"
TURNED_AWAY_TOTAL: Final = "turned-away-total"


def turned_away_since(seen: int, count: int) -> int:
    """How many of the `count` payloads that the hooks have counted are new since `seen`.

    A count below what was seen means that the hooks' file was made anew.
    """
    return count - seen if count >= seen else count


_TABLES = """
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE destinations (
    id          INTEGER PRIMARY KEY,
    url         TEXT NOT NULL UNIQUE,
    gate        TEXT,                       -- JSON; NULL until first used
    turn        INTEGER NOT NULL DEFAULT 0, -- exchanges so far: a clock that cannot go back
    accepted_at INTEGER NOT NULL DEFAULT 0  -- turn of the last one that took an event
);

CREATE TABLE sessions (
    id         INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE
);

CREATE TABLE captures (
    id          INTEGER PRIMARY KEY,
    key         BLOB NOT NULL UNIQUE,
    state       TEXT NOT NULL CHECK (state IN ('ingested', 'filtered', 'quarantined', 'dropped')),
    cause       TEXT NOT NULL DEFAULT '',
    via         TEXT NOT NULL,
    session     INTEGER REFERENCES sessions (id),
    hook_event  TEXT NOT NULL DEFAULT '',
    tool        TEXT NOT NULL DEFAULT '',
    captured_at INTEGER NOT NULL,           -- epoch ms: when the hook wrote it
    entered_at  INTEGER NOT NULL,           -- epoch ms: when it came into the ledger
    file        TEXT                        -- name in the quarantine folder
);

CREATE INDEX captures_with_file ON captures (entered_at) WHERE file IS NOT NULL;

CREATE TABLE events (
    seq         INTEGER PRIMARY KEY,
    event_id    BLOB NOT NULL UNIQUE,
    capture     INTEGER NOT NULL REFERENCES captures (id),
    destination INTEGER NOT NULL REFERENCES destinations (id),
    state       TEXT NOT NULL
                CHECK (state IN ('waiting', 'delivered', 'quarantined', 'expired', 'dropped')),
    cause       TEXT NOT NULL DEFAULT '',
    event_type  TEXT NOT NULL,
    pattern_id  TEXT NOT NULL,
    parents     TEXT NOT NULL DEFAULT '',   -- pattern ids, space-separated
    entered_at  INTEGER NOT NULL,           -- epoch ms
    settled_at  INTEGER,                    -- epoch ms: when it left `waiting`
    attempts    INTEGER NOT NULL DEFAULT 0, -- answers that were about this event and not good
    not_before  INTEGER NOT NULL DEFAULT 0, -- epoch ms
    suspect_at  INTEGER,                    -- turn of the last exchange that did not take it
    answer      TEXT,                       -- the server's last words about it
    body        BLOB                        -- the JSON that is sent; NULL once it is not needed
);

CREATE INDEX events_of_capture ON events (capture);

-- Fewest attempts first: a bad event never stands before a good one.
CREATE INDEX events_waiting ON events (destination, attempts, seq) WHERE state = 'waiting';

-- To find out whether a missing parent is on its way.
CREATE INDEX events_waiting_pattern ON events (destination, pattern_id) WHERE state = 'waiting';

CREATE INDEX events_quarantined ON events (entered_at)
WHERE state = 'quarantined' AND body IS NOT NULL;

-- What the destination knows, or will know once what waits is delivered.
CREATE TABLE patterns (
    destination INTEGER NOT NULL REFERENCES destinations (id),
    pattern_id  TEXT NOT NULL,
    version     TEXT NOT NULL,
    PRIMARY KEY (destination, pattern_id)
) WITHOUT ROWID;

CREATE TABLE tally (
    book  TEXT NOT NULL,
    state TEXT NOT NULL,
    cause TEXT NOT NULL,
    n     INTEGER NOT NULL,
    bytes INTEGER NOT NULL DEFAULT 0,       -- of the bodies that these rows still have
    PRIMARY KEY (book, state, cause)
) WITHOUT ROWID;
"""


def _counting_triggers(book: str, *, changes: str, size: str) -> str:
    """Triggers that keep `tally` equal to a count of `book` by state and cause.

    `changes` are the columns whose change can alter the count; `size` is the
    number of bytes of a row, with `{row}` for OLD or NEW.
    """
    add = (
        f"INSERT INTO tally VALUES ('{book}', NEW.state, NEW.cause, 1, {size.format(row='NEW')})"
        " ON CONFLICT DO UPDATE SET n = n + 1, bytes = bytes + excluded.bytes;"
    )
    take = (
        f"UPDATE tally SET n = n - 1, bytes = bytes - {size.format(row='OLD')}"
        f" WHERE book = '{book}' AND state = OLD.state AND cause = OLD.cause;"
    )
    return f"""
CREATE TRIGGER {book}_counted_in AFTER INSERT ON {book} BEGIN {add} END;
CREATE TRIGGER {book}_counted_out AFTER DELETE ON {book} BEGIN {take} END;
CREATE TRIGGER {book}_counted_over AFTER UPDATE OF {changes} ON {book} BEGIN {take} {add} END;
"""


_TRIGGERS = _counting_triggers("captures", changes="state, cause", size="0") + _counting_triggers(
    "events", changes="state, cause, body", size="coalesce(length({row}.body), 0)"
)


class DamagedRowError(sqlite3.DatabaseError):
    """A row that this program cannot have written; SQLite itself did not notice."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT

    def __init__(self, row: int) -> None:
        self.row = row
        super().__init__(f"row {row} of the events makes no sense")


# Our statements are fixed and the schema's version was checked: what they name is there,
# unless the text of the schema was damaged in a way that still reads as SQL.
_MISSES_PART_OF_THE_SCHEMA: Final = ("no such table", "no such column", "no such index")


def is_corrupt(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether the file itself is damaged, not merely busy or out of reach."""
    if isinstance(error, UnicodeDecodeError):
        return True  # SQLite's own message, quoting a schema that is no text any more
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Raised by Python itself.  Only valid UTF-8 was ever written.
        return "Could not decode to UTF-8" in str(error)
    if code == sqlite3.SQLITE_ERROR and str(error).startswith(_MISSES_PART_OF_THE_SCHEMA):
        return True
    # Extended codes (SQLITE_CORRUPT_INDEX, ...) carry the primary one in the low byte.
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open the ledger, creating or upgrading it.  The caller holds the drain lock.

    Raises:
        LedgerTooNewError: a newer program wrote it; it is left as it is.
        sqlite3.DatabaseError: the file is damaged (see `is_corrupt`) or out of reach.
    """
    if not path.exists():
        path.touch(mode=FILE_MODE)
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)
    try:
        _check_version(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: a spool file is unlinked on the strength of this commit.
        connection.execute("PRAGMA synchronous = FULL")
        if _version(connection) < SCHEMA_VERSION:
            _create(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection | None:
    """Open the ledger read-only; None where there is none yet.

    Raises:
        LedgerTooNewError: a newer program wrote it.
        LedgerError: it is damaged or out of reach.
    """
    if not path.exists() or path.stat().st_size == 0:
        return None
    with _explained(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            timeout=BUSY_TIMEOUT_MS / 1000,
        )
        try:
            _check_version(connection, path)
            created = _version(connection) > 0
        except BaseException:
            connection.close()
            raise
    if not created:  # its writer has not come further yet
        connection.close()
        return None
    return connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """The ledger for as long as it takes to read from it; see `open_for_reading`.

    Raises:
        LedgerTooNewError: a newer program wrote it.
        LedgerError: it is damaged or out of reach, whether that shows now or later.
    """
    connection = open_for_reading(path)
    if connection is None:
        yield None
        return
    with closing(connection), _explained(path):
        yield connection


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        remedy = (
            "The next pass sets a damaged ledger aside; run `pattern-tracker sync`."
            if is_corrupt(error)
            else "Check that it is yours, and its disk; nothing was changed."
        )
        raise LedgerError(f"{path} cannot be read ({error}). {remedy}") from error


def set_aside(path: Path, *, stamp: str) -> Path:
    """Move a damaged ledger out of the way, with what belongs to it; returns its new name."""
    target = path.with_name(f"{path.stem}.damaged-{stamp}{path.suffix}")
    copies = itertools.count(2)
    while target.exists():  # twice in a second
        target = path.with_name(f"{path.stem}.damaged-{stamp}-{next(copies)}{path.suffix}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(target.with_name(target.name + suffix))
    return target


def count_all(connection: sqlite3.Connection) -> dict[tuple[str, str, str], tuple[int, int]]:
    """The tally as it should be, counted row by row: the proof that the books add up.

    Keys are (book, state, cause), values (rows, bytes of their bodies).
    """
    counted: dict[tuple[str, str, str], tuple[int, int]] = {}
    for book, size in (("captures", "0"), ("events", "coalesce(sum(length(body)), 0)")):
        query = f"SELECT state, cause, count(*), {size} FROM {book} GROUP BY state, cause"
        with closing(connection.execute(query)) as rows:
            counted.update({(book, state, cause): (n, size) for state, cause, n, size in rows})
    # Payloads that left nothing but a byte have no row; their counter is their proof.
    (turned_away,) = connection.execute(
        "SELECT coalesce(sum(value), 0) FROM meta WHERE key = ?", (TURNED_AWAY_TOTAL,)
    ).fetchone()
    if turned_away:
        counted["captures", CaptureState.DROPPED, Cause.TURNED_AWAY] = (int(turned_away), 0)
    return counted


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    found = _version(connection)
    if found > SCHEMA_VERSION:
        raise LedgerTooNewError(path, found=found, supported=SCHEMA_VERSION)


def _create(connection: sqlite3.Connection) -> None:
    version = f"PRAGMA user_version = {SCHEMA_VERSION};"
    connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} {_TRIGGERS} {version} COMMIT;")
