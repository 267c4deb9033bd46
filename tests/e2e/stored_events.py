"""What the embedded intelligence API has stored, read from its database behind its back."""

from __future__ import annotations

import json
import sqlite3
import zlib
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_EVENTS = """
SELECT e.event_id, e.event_type, n.pattern_id, n.pattern_version, n.language, e.tool_name,
    e.file_path, e.session_id, e.parent_pattern_ids, e.pattern_data, b.deflated
FROM events e JOIN nodes n ON n.id = e.node_id LEFT JOIN bodies b ON b.id = e.body_id
ORDER BY e.seq"""
_EDGES = """
SELECT source.pattern_id, target.pattern_id, edge_type FROM edges
JOIN nodes source ON source.id = source JOIN nodes target ON target.id = target"""


@dataclass(frozen=True, kw_only=True, order=True)
class StoredEvent:
    """One event with the node that it is about; "" where there is none of something."""

    path: str
    version: str
    event_type: str
    pattern_id: str
    parents: tuple[str, ...]
    language: str
    code: str
    tool: str
    session_id: str
    agent_id: str


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Everything in one database.

    `events` are sorted: in which order they came is no part of what is promised. `nodes` are
    (pattern id, version), `edges` (parent's pattern id, child's, type).
    """

    event_ids: set[str]
    events: list[StoredEvent]
    nodes: set[tuple[str, str]]
    edges: set[tuple[str, str, str]]


def read_stored(database: Path) -> Stored:
    """Read what is committed; the API may go on meanwhile."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("BEGIN")  # one snapshot
        rows = connection.execute(_EVENTS).fetchall()
        return Stored(
            event_ids={row[0] for row in rows},
            events=sorted(_event(row) for row in rows),
            nodes=set(connection.execute("SELECT pattern_id, pattern_version FROM nodes")),
            edges=set(connection.execute(_EDGES)),
        )


def _event(row: tuple[Any, ...]) -> StoredEvent:
    _, event_type, pattern_id, version, language, tool, path, session, parents, data, code = row
    return StoredEvent(
        path=path or "",
        version=version,
        event_type=event_type,
        pattern_id=pattern_id,
        parents=tuple(json.loads(parents or "[]")),
        language=language or "",
        code=zlib.decompress(code).decode() if code else "",
        tool=tool or "",
        session_id=session or "",
        agent_id=json.loads(data or "{}").get("agent_id", ""),
    )
