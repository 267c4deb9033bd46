"""Writing one event inside a transaction that someone else opens and commits.

Every reason to refuse an event is found before its first write.  That is why a batch
needs no savepoints: a refused event has nothing to take back.

A node is never its own parent: where the newest node of the parent is the very node
that the event names, the event is stored and no edge is drawn.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from pattern_intelligence.answers import ALREADY_EXISTS, Tracked
from pattern_intelligence.contract import OPERATIONS, VALIDATION_ERROR, iso_time
from pattern_intelligence.errors import EventRefusedError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from pattern_intelligence.contract import TrackRequest

SECONDS_PER_DAY: Final = 86_400
# Within 3 % of the size that the default level reaches on source code, in 4/5 of its time.
_DEFLATE_LEVEL: Final = 3

_KNOWN_EVENT: Final = """
SELECT n.pattern_id, n.pattern_version, n.lineage_id
FROM events e JOIN nodes n ON n.id = e.node_id WHERE e.event_id = ?"""
_NEWEST_NODE: Final = """
SELECT id, pattern_id, pattern_version, lineage_id, generation
FROM nodes WHERE pattern_id = ? ORDER BY id DESC LIMIT 1"""
_NODE: Final = """
SELECT id, pattern_id, pattern_version, lineage_id, generation
FROM nodes WHERE pattern_id = ? AND pattern_version = ?"""
_ADD_NODE: Final = """
INSERT INTO nodes (pattern_id, pattern_version, pattern_name, pattern_type, language,
    file_path, lineage_id, generation, event_type, body_id, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_ADD_EVENT: Final = """
INSERT INTO events (event_id, event_type, node_id, body_id, session_id, occurred_at,
    received_at, tool_name, file_path, triggered_by, reason, parent_pattern_ids, metadata,
    pattern_data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_encode = msgspec.json.Encoder().encode


class Node(NamedTuple):
    """A row of `nodes`, as far as lineage needs it."""

    id: int
    pattern_id: str
    pattern_version: str
    lineage_id: str
    generation: int

    @property
    def uuid(self) -> str:
        return node_uuid(self.pattern_id, self.pattern_version)


def node_uuid(pattern_id: str, pattern_version: str) -> str:
    """The node's public name: a UUID (RFC 9562, version 8) made from what identifies it."""
    digest = hashlib.sha256(f"{pattern_id}\0{pattern_version}".encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"


class EventWriter:
    """Writes the events of one transaction, all received at the same moment."""

    def __init__(self, cursor: sqlite3.Cursor, *, now: float, new_id: Callable[[], str]) -> None:
        self._cursor = cursor
        self._now = now
        self._today = int(now // SECONDS_PER_DAY)
        self._iso_now = iso_time(now)
        self._new_id = new_id

    def write(self, event: TrackRequest) -> Tracked:
        """Store the event, its node, its edges and its code; or say that it is known.

        Raises:
            EventRefusedError: a pattern that must exist does not.  Nothing was written.
        """
        if event.event_id is None:
            event.event_id = self._new_id()
        elif known := self._known(event.event_id):
            return known
        operation = OPERATIONS[event.event_type]
        if operation == "track_creation":
            return self._create(event)
        if operation == "track_modification":
            return self._derive(event, event.parent_pattern_ids[:1], "modified_from")
        if operation == "track_merge":
            event.transformation_type = "merge"
            return self._derive(event, event.parent_pattern_ids, "merged_from")
        return self._mention(event)

    def _known(self, event_id: str) -> Tracked | None:
        row = self._cursor.execute(_KNOWN_EVENT, (event_id,)).fetchone()
        if row is None:
            return None
        pattern_id, version, lineage_id = row
        return Tracked(
            event_id=event_id,
            pattern_id=pattern_id,
            pattern_node_id=node_uuid(pattern_id, version),
            lineage_id=lineage_id,
            status=ALREADY_EXISTS,
            message="This event was stored before; nothing was changed",
            known_event=True,
        )

    def _create(self, event: TrackRequest) -> Tracked:
        body = self._keep_code(event)
        uuid = node_uuid(event.pattern_id, event.pattern_version)
        node, is_new = self._node(event, body, lineage_id=uuid, generation=1)
        self._add_event(event, node.id, body)
        answer = Tracked(
            event_id=str(event.event_id),
            pattern_id=event.pattern_id,
            pattern_node_id=uuid,
            lineage_id=node.lineage_id,
        )
        if is_new:
            answer.pattern_name = event.pattern_name
            answer.created_at = self._iso_now
        else:
            answer.status = ALREADY_EXISTS
            answer.message = "This version of the pattern was known; the event is stored"
        return answer

    def _derive(self, event: TrackRequest, parent_ids: list[str], edge_type: str) -> Tracked:
        parents = [
            self._newest(parent_id, event, "Parent pattern not found") for parent_id in parent_ids
        ]
        generation = max(parent.generation for parent in parents) + 1
        body = self._keep_code(event)
        node, _ = self._node(event, body, lineage_id=parents[0].lineage_id, generation=generation)
        for parent in parents:
            if parent.id != node.id:
                self._add_edge(parent.id, node.id, event, edge_type)
        self._add_event(event, node.id, body)
        return Tracked(
            event_id=str(event.event_id),
            pattern_id=event.pattern_id,
            pattern_node_id=node.uuid,
            lineage_id=node.lineage_id,
            parent_node_ids=[parent.uuid for parent in parents],
            parent_count=len(parents) if event.event_type == "pattern_merged" else None,
            generation=node.generation,
            created_at=self._iso_now,
        )

    def _mention(self, event: TrackRequest) -> Tracked:
        node = self._newest(event.pattern_id, event, "Pattern not found")
        self._add_event(event, node.id, self._keep_code(event))
        return Tracked(
            event_id=str(event.event_id),
            pattern_id=event.pattern_id,
            pattern_node_id=node.uuid,
            timestamp=self._iso_now,
            deprecated=True if event.event_type == "pattern_deprecated" else None,
        )

    def _newest(self, pattern_id: str, event: TrackRequest, otherwise: str) -> Node:
        row = self._cursor.execute(_NEWEST_NODE, (pattern_id,)).fetchone()
        if row is None:
            raise EventRefusedError(
                f"{otherwise}: {pattern_id}",
                error_type=VALIDATION_ERROR,
                pattern_id=event.pattern_id,
            )
        return Node._make(row)

    def _node(
        self, event: TrackRequest, body: int | None, *, lineage_id: str, generation: int
    ) -> tuple[Node, bool]:
        key = (event.pattern_id, event.pattern_version)
        row = self._cursor.execute(_NODE, key).fetchone()
        if row is not None:
            return Node._make(row), False
        self._cursor.execute(
            _ADD_NODE,
            (
                *key,
                event.pattern_name,
                event.pattern_type,
                event.language,
                event.file_path,
                lineage_id,
                generation,
                event.event_type,
                body,
                self._now,
            ),
        )
        node_id = self._cursor.lastrowid
        assert node_id is not None
        return Node(node_id, *key, lineage_id, generation), True

    def _add_edge(self, source: int, target: int, event: TrackRequest, edge_type: str) -> None:
        self._cursor.execute(
            "INSERT OR IGNORE INTO edges VALUES (?, ?, ?, ?, ?)",
            (
                source,
                target,
                event.edge_type or edge_type,
                event.transformation_type or "refactor",
                self._now,
            ),
        )

    def _keep_code(self, event: TrackRequest) -> int | None:
        """Move `pattern_data.code` to its own table; the row number, or None without code."""
        code = event.pattern_data.get("code")
        if not isinstance(code, str) or not code:
            return None
        del event.pattern_data["code"]
        text = code.encode()
        sha256 = hashlib.sha256(text).digest()
        row = self._cursor.execute(
            "SELECT id, last_used_day FROM bodies WHERE sha256 = ?", (sha256,)
        ).fetchone()
        if row is None:
            self._cursor.execute(
                "INSERT INTO bodies (sha256, last_used_day, size_bytes, deflated)"
                " VALUES (?, ?, ?, ?)",
                (sha256, self._today, len(text), zlib.compress(text, _DEFLATE_LEVEL)),
            )
            return self._cursor.lastrowid
        body_id, last_used_day = row
        if last_used_day < self._today:
            self._cursor.execute(
                "UPDATE bodies SET last_used_day = ? WHERE id = ?", (self._today, body_id)
            )
        return int(body_id)

    def _add_event(self, event: TrackRequest, node_id: int, body: int | None) -> None:
        self._cursor.execute(
            _ADD_EVENT,
            (
                event.event_id,
                event.event_type,
                node_id,
                body,
                event.session_id,
                event.occurred_at,
                self._now,
                event.tool_name,
                event.file_path,
                event.triggered_by,
                event.reason,
                _json(event.parent_pattern_ids),
                _json(event.metadata),
                _json(event.pattern_data),
            ),
        )


def _json(value: dict[str, Any] | list[str] | None) -> str | None:
    return _encode(value).decode() if value else None
