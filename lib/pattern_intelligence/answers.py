"""What the service answers: the `data` of each operation and the envelopes around it.

Field names are the public service's.  Absent fields are left out, as there.
"""

from __future__ import annotations

from typing import Any

import msgspec

ALREADY_EXISTS = "already_exists"


class Tracked(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One event that is stored, now or before.

    `status` is `already_exists` when nothing new was stored (`known_event`), or when
    the event was stored and its node had been there.
    """

    event_id: str
    pattern_id: str
    pattern_node_id: str
    lineage_id: str | None = None
    pattern_name: str | None = None
    parent_node_ids: list[str] | None = None
    parent_count: int | None = None
    generation: int | None = None
    created_at: str | None = None
    timestamp: str | None = None
    deprecated: bool | None = None
    status: str | None = None
    message: str | None = None
    known_event: bool = False


class Ancestor(msgspec.Struct, kw_only=True):
    """`generation` counts steps from the pattern asked for, which is 0 and comes first."""

    ancestor_id: str
    ancestor_pattern_id: str
    generation: int
    edge_type: str | None
    created_at: str


class Ancestry(msgspec.Struct, kw_only=True):
    """Where the newest node of a pattern came from, nearest first."""

    pattern_id: str
    pattern_node_id: str
    lineage_id: str
    ancestors: list[Ancestor]
    ancestry_depth: int
    total_ancestors: int
    truncated: bool


class Descendant(msgspec.Struct, kw_only=True):
    """`depth` counts steps from the pattern asked for; its children have 1."""

    descendant_id: str
    descendant_pattern_id: str
    edge_type: str
    transformation_type: str
    depth: int
    created_at: str


class Descendants(msgspec.Struct, kw_only=True):
    """What came from any node of a pattern, nearest first."""

    pattern_id: str
    pattern_node_id: str
    descendants: list[Descendant]
    total_descendants: int
    truncated: bool


class EvolutionNode(msgspec.Struct, kw_only=True):
    """One version of one pattern; `code_sha256` is None once its code has expired."""

    id: str
    pattern_id: str
    pattern_name: str
    pattern_version: str
    pattern_type: str
    language: str | None
    file_path: str | None
    lineage_id: str
    generation: int
    event_type: str
    code_sha256: str | None
    created_at: str


class EvolutionEdge(msgspec.Struct, kw_only=True):
    """From the older node to what was made of it."""

    source_node_id: str
    target_node_id: str
    edge_type: str
    transformation_type: str
    created_at: str


class Evolution(msgspec.Struct, kw_only=True):
    """All nodes of a pattern, what they came from and what came from them, oldest first."""

    pattern_id: str
    total_versions: int
    evolution_nodes: list[EvolutionNode]
    evolution_edges: list[EvolutionEdge]
    truncated: bool


class Envelope(msgspec.Struct, kw_only=True):
    """Any answer of success."""

    success: bool = True
    data: Any
    metadata: dict[str, Any]


class Success(msgspec.Struct, kw_only=True):
    """One stored event of a batch; `event_index` is its place in the request."""

    event_index: int
    data: Tracked
    metadata: dict[str, Any]
    pattern_id: str


class Failure(msgspec.Struct, kw_only=True):
    """One refused event of a batch; `metadata.error_type` says what kind of refusal."""

    event_index: int
    error: str
    metadata: dict[str, Any]
    pattern_id: str | None


class BatchSummary(msgspec.Struct, kw_only=True):
    """Counts; `handled_duplicates` are events that had been stored before."""

    total_events: int
    successful_events: int
    failed_events: int
    handled_duplicates: int
    processing_mode: str
    requested_processing_mode: str


class BatchAnswer(msgspec.Struct, kw_only=True):
    """Answer to a batch: status 200 whatever the single events came to."""

    success: bool
    batch_summary: BatchSummary
    successful_results: list[Success]
    failed_results: list[Failure] | None
    metadata: dict[str, Any]
