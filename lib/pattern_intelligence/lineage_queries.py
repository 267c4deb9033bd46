"""Lineage questions put to SQLite.

A recursive query with UNION collects the nodes in reach: UNION drops what was seen, so
a circle ends by itself.  How far each is, and by which edge, is `lineage.walk`'s to say.
An answer names at most `limit` nodes, and says `truncated` when there were more.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from pattern_intelligence.answers import (
    Ancestor,
    Ancestry,
    Descendant,
    Descendants,
    Evolution,
    EvolutionEdge,
    EvolutionNode,
)
from pattern_intelligence.contract import iso_time
from pattern_intelligence.event_writer import node_uuid
from pattern_intelligence.lineage import Edge, walk

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

_EDGES_ABOVE: Final = """
WITH RECURSIVE reached (id) AS (
    SELECT value FROM json_each(?)
    UNION
    SELECT e.source FROM reached r JOIN edges e ON e.target = r.id
    LIMIT ?)
SELECT e.source, e.target, e.edge_type, e.transformation_type, e.created_at
FROM reached r JOIN edges e ON e.target = r.id LIMIT ?"""
_EDGES_BELOW: Final = """
WITH RECURSIVE reached (id) AS (
    SELECT value FROM json_each(?)
    UNION
    SELECT e.target FROM reached r JOIN edges e ON e.source = r.id
    LIMIT ?)
SELECT e.source, e.target, e.edge_type, e.transformation_type, e.created_at
FROM reached r JOIN edges e ON e.source = r.id LIMIT ?"""
_NODES: Final = """
SELECT n.id, n.pattern_id, n.pattern_version, n.pattern_name, n.pattern_type, n.language,
    n.file_path, n.lineage_id, n.generation, n.event_type, n.created_at, lower(hex(b.sha256))
FROM nodes n LEFT JOIN bodies b ON b.id = n.body_id
WHERE n.id IN (SELECT value FROM json_each(?)) ORDER BY n.id"""


class _Row(NamedTuple):
    id: int
    pattern_id: str
    pattern_version: str
    pattern_name: str
    pattern_type: str
    language: str | None
    file_path: str | None
    lineage_id: str
    generation: int
    event_type: str
    created_at: float
    code_sha256: str | None

    @property
    def uuid(self) -> str:
        return node_uuid(self.pattern_id, self.pattern_version)


class LineageQueries:
    """Answers the three questions about a pattern, or None where it is unknown."""

    def __init__(self, connection: sqlite3.Connection, *, limit: int) -> None:
        self._connection = connection
        self._limit = limit
        # A node may have a million children; and most nodes have one or two edges.
        self._edge_limit = 4 * (limit + 1)

    def ancestry(self, pattern_id: str) -> Ancestry | None:
        versions = self._versions(pattern_id)
        if not versions:
            return None
        newest = versions[-1]
        edges = self._edges(_EDGES_ABOVE, [newest])
        steps = walk([newest], (edge.turned() for edge in edges))
        kept = steps[: self._limit]
        nodes = self._nodes(step.node for step in kept)
        return Ancestry(
            pattern_id=pattern_id,
            pattern_node_id=nodes[newest].uuid,
            lineage_id=nodes[newest].lineage_id,
            ancestors=[
                Ancestor(
                    ancestor_id=nodes[step.node].uuid,
                    ancestor_pattern_id=nodes[step.node].pattern_id,
                    generation=step.depth,
                    edge_type=step.via.edge_type if step.via else None,
                    created_at=iso_time(nodes[step.node].created_at),
                )
                for step in kept
            ],
            ancestry_depth=kept[-1].depth,
            total_ancestors=len(kept),
            truncated=len(steps) > len(kept) or self._cut(edges),
        )

    def descendants(self, pattern_id: str) -> Descendants | None:
        versions = self._versions(pattern_id)
        if not versions:
            return None
        edges = self._edges(_EDGES_BELOW, versions)
        steps = walk(versions, edges)
        below = [(step, step.via) for step in steps if step.via is not None]
        kept = below[: self._limit]
        nodes = self._nodes([versions[-1], *(step.node for step, _ in kept)])
        return Descendants(
            pattern_id=pattern_id,
            pattern_node_id=nodes[versions[-1]].uuid,
            descendants=[
                Descendant(
                    descendant_id=nodes[step.node].uuid,
                    descendant_pattern_id=nodes[step.node].pattern_id,
                    edge_type=via.edge_type,
                    transformation_type=via.transformation_type,
                    depth=step.depth,
                    created_at=iso_time(nodes[step.node].created_at),
                )
                for step, via in kept
            ],
            total_descendants=len(kept),
            truncated=len(below) > len(kept) or self._cut(edges),
        )

    def evolution(self, pattern_id: str) -> Evolution | None:
        versions = self._versions(pattern_id)
        if not versions:
            return None
        above = self._edges(_EDGES_ABOVE, versions)
        below = self._edges(_EDGES_BELOW, versions)
        edges = dict.fromkeys([*above, *below])
        ends = (end for edge in edges for end in (edge.source, edge.target))
        found = list(dict.fromkeys([*versions, *ends]))
        nodes = self._nodes(found[: self._limit])
        return Evolution(
            pattern_id=pattern_id,
            total_versions=len(nodes),
            evolution_nodes=[_evolution_node(row) for row in nodes.values()],
            evolution_edges=[
                _evolution_edge(edge, nodes)
                for edge in edges
                if edge.source in nodes and edge.target in nodes
            ],
            truncated=len(found) > len(nodes) or self._cut(above) or self._cut(below),
        )

    def _versions(self, pattern_id: str) -> list[int]:
        """Node numbers of the pattern, the newest `limit` of them, oldest first."""
        rows = self._connection.execute(
            "SELECT id FROM nodes WHERE pattern_id = ? ORDER BY id DESC LIMIT ?",
            (pattern_id, self._limit),
        )
        return [node for (node,) in rows][::-1]

    def _edges(self, query: str, starts: list[int]) -> list[Edge]:
        # One more than the limit, so that being cut off shows.
        arguments = (json.dumps(starts), self._limit + 1, self._edge_limit)
        return [Edge(*row) for row in self._connection.execute(query, arguments)]

    def _cut(self, edges: list[Edge]) -> bool:
        return len(edges) >= self._edge_limit

    def _nodes(self, numbers: Iterable[int]) -> dict[int, _Row]:
        rows = self._connection.execute(_NODES, (json.dumps(list(numbers)),))
        return {row.id: row for row in map(_Row._make, rows)}


def _evolution_node(row: _Row) -> EvolutionNode:
    return EvolutionNode(
        id=row.uuid,
        pattern_id=row.pattern_id,
        pattern_name=row.pattern_name,
        pattern_version=row.pattern_version,
        pattern_type=row.pattern_type,
        language=row.language,
        file_path=row.file_path,
        lineage_id=row.lineage_id,
        generation=row.generation,
        event_type=row.event_type,
        code_sha256=row.code_sha256 or None,
        created_at=iso_time(row.created_at),
    )


def _evolution_edge(edge: Edge, nodes: dict[int, _Row]) -> EvolutionEdge:
    return EvolutionEdge(
        source_node_id=nodes[edge.source].uuid,
        target_node_id=nodes[edge.target].uuid,
        edge_type=edge.edge_type,
        transformation_type=edge.transformation_type,
        created_at=iso_time(edge.created_at),
    )
