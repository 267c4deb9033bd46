"""What the public intelligence service does with a request, without the network.

Written from observations of the unmodified service, defects included, as an oracle:
it shares no code with the client.  Nodes are unique on (pattern id, version); each
accepted event adds an event row, duplicate or not.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

EVENT_TYPES = {
    f"pattern_{what}"
    for what in ("created", "modified", "merged", "applied", "deprecated", "forked", "validated")
}
EDGE_TYPES = {
    "derived_from",
    "modified_from",
    "merged_from",
    "replaced_by",
    "inspired_by",
    "deprecated_by",
}
TRANSFORMATIONS = {
    "refactor",
    "enhancement",
    "bugfix",
    "merge",
    "optimization",
    "simplification",
}
LIMITS = {
    "pattern_id": 255,
    "pattern_name": 255,
    "pattern_type": 100,
    "pattern_version": 50,
    "tool_name": 255,
    "language": 50,
    "triggered_by": 100,
}
OPTIONAL_TEXTS = ("tool_name", "file_path", "language", "edge_type", "transformation_type")

Reply = tuple[int, dict[str, Any]]


def schema_problem(event: Any) -> str | None:
    """What the schema stage (HTTP 422) finds wrong."""
    if not isinstance(event, dict):
        return "event"
    for name in ("event_type", "pattern_id"):
        if not isinstance(event.get(name), str):
            return name
    for name in ("pattern_name", "pattern_type", "pattern_version", "triggered_by"):
        if not isinstance(event.get(name, ""), str):
            return name
    for name in (*OPTIONAL_TEXTS, "reason"):
        if not isinstance(event.get(name), str | None):
            return name
    if not isinstance(event.get("pattern_data", {}), dict):
        return "pattern_data"
    parents = event.get("parent_pattern_ids", [])
    if not isinstance(parents, list) or not all(isinstance(p, str) for p in parents):
        return "parent_pattern_ids"
    return None


def request_problem(event: dict[str, Any]) -> str | None:
    """What rejects the request, a whole batch included, with HTTP 400 and a `detail`."""
    kind = event["event_type"]
    if kind not in EVENT_TYPES:
        return f"'{kind}' is not a valid LineageEventType"
    if event.get("edge_type") not in {*EDGE_TYPES, None}:
        return f"'{event['edge_type']}' is not a valid EdgeType"
    if event.get("transformation_type") not in {*TRANSFORMATIONS, None}:
        return f"'{event['transformation_type']}' is not a valid TransformationType"
    if kind in {"pattern_created", "pattern_validated"}:
        if not event["pattern_id"]:
            return "track_creation requires pattern_id"
        if not event.get("pattern_data"):
            return "track_creation requires pattern_data"
    if kind == "pattern_modified" and not event.get("parent_pattern_ids"):
        return "track_modification requires parent_pattern_ids"
    if kind == "pattern_merged" and len(event.get("parent_pattern_ids", [])) < 2:
        return "track_merge requires at least 2 parent_pattern_ids"
    return None


def storage_problem(value: Any, name: str = "") -> tuple[str, str] | None:
    """What PostgreSQL refuses: (error type, text), or None."""
    if isinstance(value, dict):
        found = (storage_problem(item, key) or storage_problem(key) for key, item in value.items())
        return next(filter(None, found), None)
    if isinstance(value, list):
        return next(filter(None, map(storage_problem, value)), None)
    if isinstance(value, float) and not math.isfinite(value):
        return "InvalidTextRepresentationError", "invalid input syntax for type json"
    if isinstance(value, str):
        if "\0" in value:
            return "UntranslatableCharacterError", "unsupported Unicode escape sequence"
        if any("\ud800" <= character <= "\udfff" for character in value):
            return "InvalidTextRepresentationError", "invalid input syntax for type json"
        if len(value) > LIMITS.get(name, math.inf):
            return "StringDataRightTruncationError", "value too long for type character varying"
    return None


def problem_of(body: bytes) -> str | None:
    """Why the public service would refuse this body of one event, whatever it has stored."""
    event = json.loads(body.decode("utf-8"))
    stored = storage_problem(event)
    return schema_problem(event) or request_problem(event) or (stored and ": ".join(stored))


class EventError(Exception):
    """The failure of one event in the tracker."""

    def __init__(self, error_type: str, text: str) -> None:
        self.error_type = error_type
        self.text = text
        super().__init__(text)


@dataclass
class PublicService:
    """The in-memory service.

    `poison` ids reject the whole request without being named; `refuse` maps a pattern id
    to (error type, text) of its own failure; `forget` ids are stored but left out of the
    results; `conflicts` is how often an id loses the race of identical creations.
    """

    nodes: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    stored_event_ids: Counter[str] = field(default_factory=Counter)
    poison: set[str] = field(default_factory=set)
    refuse: dict[str, tuple[str, str]] = field(default_factory=dict)
    forget: set[str] = field(default_factory=set)
    conflicts: Counter[str] = field(default_factory=Counter)
    database_down: bool = False
    _numbers: Any = field(default_factory=itertools.count)

    def track(self, event: Any) -> Reply:
        """One event: status and body."""
        if reply := self._refused_request([event]):
            return reply
        try:
            return 200, self._success(event, self._store(event))
        except EventError as error:
            # A defect of the public service: the word decides the status.
            status = 500 if "database" in error.text.lower() else 400
            return status, self._failure(error)

    def track_batch(self, request: Any) -> Reply:
        """A batch, in sequence."""
        if not isinstance(request, dict) or not isinstance(request.get("events"), list):
            return 422, _schema_error("events")
        events = request["events"]
        if not events:
            detail = "Batch lineage tracking failed: float division by zero"
            return 500, {"detail": detail}
        if reply := self._refused_request(events):
            return reply
        stored: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for index, event in enumerate(events):
            place = {"event_index": index, "pattern_id": event["pattern_id"]}
            try:
                success = self._success(event, self._store(event))
            except EventError as error:
                failure = self._failure(error)
                failed.append({**place, "error": failure["error"], "metadata": failure["metadata"]})
                continue
            if event["pattern_id"] not in self.forget:
                stored.append({**place, "data": success["data"], "metadata": success["metadata"]})
        return 200, {
            "success": not failed,
            "batch_summary": {"total_events": len(events), "failed_events": len(failed)},
            "successful_results": stored,
            "failed_results": failed or None,
            "metadata": {"processing_time_ms": 1.0},
        }

    def _refused_request(self, events: list[Any]) -> Reply | None:
        for event in events:
            if problem := schema_problem(event):
                return 422, _schema_error(problem)
        for event in events:
            if problem := request_problem(event):
                return 400, {"detail": problem}
            if event["pattern_id"] in self.poison:
                return 400, {"detail": "the request cannot be processed"}
        return None

    def _store(self, event: dict[str, Any]) -> dict[str, Any]:
        """Store one event; the `data` of the answer."""
        pattern_id = event["pattern_id"]
        if self.database_down:
            text = "Multiple exceptions: [Errno 111] Connect call failed"
            raise EventError("ConnectionRefusedError", text)
        if pattern_id in self.refuse:
            raise EventError(*self.refuse[pattern_id])
        if problem := storage_problem(event):
            raise EventError(*problem)
        if self.conflicts[pattern_id] > 0:
            self.conflicts[pattern_id] -= 1
            raise EventError("foreign_key_violation", "insert violates foreign key constraint")
        data = self._effect(event)
        self.events.append(event)
        self.stored_event_ids[event.get("pattern_data", {}).get("event_id", "")] += 1
        return {"event_id": f"server-event-{next(self._numbers)}", **data}

    def _effect(self, event: dict[str, Any]) -> dict[str, Any]:
        kind, pattern_id = event["event_type"], event["pattern_id"]
        key = (pattern_id, event.get("pattern_version", "1.0.0"))
        if kind in {"pattern_applied", "pattern_deprecated"}:
            self._latest(pattern_id, "Pattern not found")
            return {"pattern_id": pattern_id}
        if kind in {"pattern_created", "pattern_validated"}:
            if key in self.nodes:
                # Without a pattern id: only the metadata of the answer has it.
                return {"status": "already_exists", "message": "Pattern already tracked"}
            self.nodes[key] = {**event, "generation": 1}
            return {"pattern_id": pattern_id, "pattern_name": event.get("pattern_name", "")}
        parents = event.get("parent_pattern_ids", [])
        if not parents:
            raise EventError("IndexError", "list index out of range")
        used = parents if kind == "pattern_merged" else parents[:1]
        nodes = [self._latest(parent, "Parent pattern not found") for parent in used]
        generation = max(node["generation"] for node in nodes) + 1
        if key in {(n["pattern_id"], n.get("pattern_version")) for n in nodes}:
            raise EventError("CheckViolationError", 'violates check constraint "no_self_loops"')
        self.nodes.setdefault(key, {**event, "generation": generation})
        return {"pattern_id": pattern_id, "generation": generation}

    def _latest(self, pattern_id: str, otherwise: str) -> dict[str, Any]:
        found = [node for (known, _), node in self.nodes.items() if known == pattern_id]
        if not found:
            raise EventError("validation_error", f"{otherwise}: {pattern_id}")
        return found[-1]

    def _success(self, event: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        metadata = {"operation": event["event_type"], "pattern_id": event["pattern_id"]}
        if event["pattern_id"] in self.forget:
            return {"success": True, "data": {}, "metadata": {}}
        return {"success": True, "data": data, "metadata": metadata}

    def _failure(self, error: EventError) -> dict[str, Any]:
        metadata = {"correlation_id": f"c{next(self._numbers)}", "error_type": error.error_type}
        prefix = "Validation error: " if error.error_type == "validation_error" else ""
        return {"success": False, "error": prefix + error.text, "metadata": metadata}


def _schema_error(field_name: str) -> dict[str, Any]:
    wrong = {"type": "missing", "loc": ["body", field_name], "msg": "Field required"}
    return {"detail": [wrong]}
