"""What an answer to a health check means.

The public service reports "healthy" for hours after its database has stopped, because
it never asks it.  So a good answer is a hint that trying is worth while and no more;
what the answer does not tell stays unknown (`healthy` is None) and slows nothing down.

What this module refuses to do: I/O, or raise for anything a server sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pattern_tracker.client.answers import one_line

# Whoever answers this is alive, and says nothing about events.
_SAYS_NOTHING: Final = frozenset({401, 402, 403, 404, 405, 429})


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthAnswer:
    """How the destination says it is.

    `healthy` is None if it told nothing; `latency_ms` is None if it did not answer.
    """

    healthy: bool | None
    latency_ms: float | None = None
    reason: str = ""


def classify_health(status: int, body: bytes, latency_ms: float) -> HealthAnswer:
    """The meaning of an answer of `/api/pattern-traceability/health` or `/health`."""
    if status in _SAYS_NOTHING:
        reason = f"the health endpoint says nothing (HTTP {status})"
        return HealthAnswer(healthy=None, latency_ms=latency_ms, reason=reason)
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    if status != 200:
        said = _complaint(document)
        reason = f"HTTP {status}" + (f": {said}" if said else "")
        return HealthAnswer(healthy=False, latency_ms=latency_ms, reason=reason)
    if not isinstance(document, dict) or not isinstance(document.get("status"), str):
        reason = "not an answer of the intelligence API (HTTP 200)"
        return HealthAnswer(healthy=False, latency_ms=latency_ms, reason=reason)
    healthy, reason = _judge(document)
    return HealthAnswer(healthy=healthy, latency_ms=latency_ms, reason=reason)


def _judge(document: dict[str, Any]) -> tuple[bool | None, str]:
    status = one_line(document["status"])
    tracker = _at(document, "components", "lineage_tracker")
    if isinstance(tracker, str) and tracker not in {"operational", "not_initialized"}:
        return False, f"lineage tracker: {one_line(tracker)}"
    if _at(document, "performance", "database_pool", "pool_size") == 0:
        # The only trace that a stopped database leaves, but an idle pool shrinks to it too.
        return None, "no open database connection: idle, or the database is down"
    if status == "healthy":
        return True, ""
    if status == "degraded" and tracker != "not_initialized":
        # The application's own /health, which knows other components than the tracker.
        return True, "degraded in other parts"
    return (None if tracker == "not_initialized" else False), status


def _complaint(document: Any) -> str:
    if not isinstance(document, dict):
        return ""
    for key in ("error", "detail", "status"):
        if isinstance(said := document.get(key), str):
            return one_line(said)
    return ""


def _at(document: Any, *keys: str) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document
