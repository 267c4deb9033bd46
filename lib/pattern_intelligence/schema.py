"""The SQLite schema, and opening a database with it.

    bodies   code, once per SHA-256 of its UTF-8, compressed; expires when unused
    nodes    one per (pattern_id, pattern_version); kept for good
    edges    parent node -> child node; kept for good
    events   one per event id, with everything that is not code; expires

Nodes and edges outlive the events that drew them: they are small, and a parent must
not become unknown because it is old.  An event id is remembered for as long as its
event, so a client may repeat an event for the length of the retention.

WAL with `synchronous=FULL`: what was committed survives a kill and a power failure.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Final

from pattern_intelligence.errors import StoreTooNewError, StoreUnusableError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION: Final = 1
# Fits the hot upper pages of the indexes of a few hundred thousand events.
_PAGE_CACHE_KIB: Final = 8 * 1024
# Longer than the default 1000 pages: index pages are hit again and again, and each
# checkpoint writes and syncs them once.
_CHECKPOINT_PAGES: Final = 4000
_WAL_KEPT_BYTES: Final = 16 * 1024 * 1024
_BUSY_TIMEOUT_SECONDS: Final = 1.0

# No index on a pattern's id alone: the one on (id, version) finds its few versions as well,
# and each index of random keys costs a page of log per event.
_VERSION_1: Final = """
CREATE TABLE bodies (
    id INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,
    last_used_day INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    deflated BLOB NOT NULL
);
CREATE INDEX bodies_by_last_use ON bodies (last_used_day);
CREATE TABLE nodes (
    id INTEGER PRIMARY KEY,
    pattern_id TEXT NOT NULL,
    pattern_version TEXT NOT NULL,
    pattern_name TEXT NOT NULL,
    pattern_type TEXT NOT NULL,
    language TEXT,
    file_path TEXT,
    lineage_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    body_id INTEGER,
    created_at REAL NOT NULL,
    UNIQUE (pattern_id, pattern_version)
);
CREATE TABLE edges (
    source INTEGER NOT NULL,
    target INTEGER NOT NULL,
    edge_type TEXT NOT NULL,
    transformation_type TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (source, target, edge_type)
) WITHOUT ROWID;
CREATE INDEX edges_by_target ON edges (target);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    event_type TEXT NOT NULL,
    node_id INTEGER NOT NULL,
    body_id INTEGER,
    session_id TEXT,
    occurred_at REAL,
    received_at REAL NOT NULL,
    tool_name TEXT,
    file_path TEXT,
    triggered_by TEXT NOT NULL,
    reason TEXT,
    parent_pattern_ids TEXT,
    metadata TEXT,
    pattern_data TEXT
);
CREATE INDEX events_by_age ON events (received_at);
CREATE TABLE write_probe (id INTEGER PRIMARY KEY CHECK (id = 1), checked_at REAL NOT NULL);
INSERT INTO write_probe VALUES (1, 0);
"""


def open_database(path: Path) -> sqlite3.Connection:
    """Open `path`, creating it (mode 0600) or refusing it.

    Raises:
        StoreTooNewError: a newer program wrote it.
        StoreUnusableError: it cannot be opened or is not our database.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_TIMEOUT_SECONDS)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from error
    try:
        _migrate(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise _unusable(path, error) from error
    except StoreUnusableError:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    # Read before anything is written: a newer database must not even change its journal mode.
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > SCHEMA_VERSION:
        raise StoreTooNewError(path, found=found, supported=SCHEMA_VERSION)
    if found == 0 and connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        raise StoreUnusableError(
            path,
            "is a database of something else",
            "Name another file with --database; nothing was changed.",
        )
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"cache_size=-{_PAGE_CACHE_KIB}",
        f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
        f"journal_size_limit={_WAL_KEPT_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    if found == 0:
        connection.executescript(
            f"BEGIN IMMEDIATE;{_VERSION_1}PRAGMA user_version={SCHEMA_VERSION};COMMIT;"
        )


def _unusable(path: Path, error: Exception) -> StoreUnusableError:
    return StoreUnusableError(
        path,
        f"cannot be used as the database ({error})",
        "Move it away or name another file with --database; nothing was changed.",
    )
