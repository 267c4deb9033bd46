"""The endpoints: request in, store asked, answer out.

An answer of success is written only after the store returned, which is after the
commit.  What cannot be answered is raised, and `middleware` words it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from pattern_intelligence.answers import (
    BatchAnswer,
    BatchSummary,
    Envelope,
    Failure,
    Success,
    Tracked,
)
from pattern_intelligence.contract import (
    MAX_BODY_BYTES,
    OPERATIONS,
    VALIDATION_ERROR,
    TrackRequest,
    iso_time,
    parse_batch,
    parse_event,
)
from pattern_intelligence.errors import (
    EventRefusedError,
    RequestRefusedError,
    StoreUnavailableError,
)
from pattern_tracker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pattern_intelligence.rate_limit import RateLimiter
    from pattern_intelligence.store import Store
    from pattern_tracker.clock import Clock

PREFIX: Final = "/api/pattern-traceability"
# Whatever was asked for, events are stored in the order sent: a child may follow its
# parent in one batch.
PROCESSING_MODE: Final = "sequential"

_encode = msgspec.json.Encoder().encode


def json_response(answer: object, *, status: int = 200) -> web.Response:
    """`answer` as JSON."""
    return web.Response(body=_encode(answer), status=status, content_type="application/json")


class Handlers:
    """The endpoints of one store."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        new_id: Callable[[], str],
        limiter: RateLimiter | None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._limiter = limiter
        self._started = clock.monotonic()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"{PREFIX}/lineage/track", self.track),
            web.post(f"{PREFIX}/lineage/track/batch", self.track_batch),
            web.get(f"{PREFIX}/lineage/{{pattern_id}}", self.lineage),
            web.get(f"{PREFIX}/lineage/{{pattern_id}}/evolution", self.evolution),
            web.get(f"{PREFIX}/health", self.service_health),
            web.get("/health", self.health),
        ]

    async def track(self, request: web.Request) -> web.Response:
        body = await request.read()
        began = self._clock.monotonic()
        event = parse_event(body)
        (outcome,) = await self._store.track([event])
        if isinstance(outcome, EventRefusedError):
            raise outcome
        spent = self._milliseconds_since(began)
        metadata = self._metadata(OPERATIONS[event.event_type], pattern_id=outcome.pattern_id)
        metadata["duration_ms"] = metadata["processing_time_ms"] = spent
        return json_response(Envelope(data=outcome, metadata=metadata))

    async def track_batch(self, request: web.Request) -> web.Response:
        body = await request.read()
        began = self._clock.monotonic()
        raw_events, requested_mode = parse_batch(body)
        parsed = [_parse(raw) for raw in raw_events]
        events = [event for event in parsed if isinstance(event, TrackRequest)]
        outcomes = iter(await self._store.track(events) if events else ())
        results = [
            (event, next(outcomes)) if isinstance(event, TrackRequest) else (None, event)
            for event in parsed
        ]
        return json_response(
            _batch_answer(
                results,
                requested_mode=requested_mode,
                correlation_id=self._new_id(),
                spent_ms=self._milliseconds_since(began),
            )
        )

    async def lineage(self, request: web.Request) -> web.Response:
        pattern_id = request.match_info["pattern_id"]
        query_type = request.query.get("query_type", "ancestry")
        if query_type == "ancestry":
            return self._found(await self._store.ancestry(pattern_id), pattern_id, query_type)
        if query_type == "descendants":
            return self._found(await self._store.descendants(pattern_id), pattern_id, query_type)
        raise RequestRefusedError(
            f"query_type is {query_type!r}; use 'ancestry' or 'descendants'",
            error_type=VALIDATION_ERROR,
            status=400,
        )

    async def evolution(self, request: web.Request) -> web.Response:
        pattern_id = request.match_info["pattern_id"]
        return self._found(await self._store.evolution(pattern_id), pattern_id, "evolution")

    async def service_health(self, _request: web.Request) -> web.Response:
        began = self._clock.monotonic()
        problem = await self._problem()
        per_minute = self._limiter.per_minute if self._limiter else None
        return json_response(
            {
                "status": "unhealthy" if problem else "healthy",
                "components": {
                    "lineage_tracker": f"error: {problem}" if problem else "operational"
                },
                "performance": {
                    "rate_limiting": {"max_requests_per_window": per_minute, "window_seconds": 60}
                },
                "timestamp": iso_time(self._clock.now()),
                "response_time_ms": self._milliseconds_since(began),
            },
            status=503 if problem else 200,
        )

    async def health(self, _request: web.Request) -> web.Response:
        problem = await self._problem()
        return json_response(
            {
                "status": "unhealthy" if problem else "healthy",
                "service_version": __version__,
                "uptime_seconds": round(self._clock.monotonic() - self._started, 3),
                "error": problem,
                "last_check": iso_time(self._clock.now()),
            },
            status=503 if problem else 200,
        )

    async def _problem(self) -> str | None:
        try:
            await self._store.check()
        except StoreUnavailableError as error:
            return str(error)
        return None

    def _found(self, answer: object | None, pattern_id: str, query_type: str) -> web.Response:
        if answer is None:
            raise RequestRefusedError(
                f"Pattern not found: {pattern_id}", error_type=VALIDATION_ERROR, status=404
            )
        metadata = self._metadata("query_lineage", pattern_id=pattern_id)
        metadata["query_type"] = query_type
        return json_response(Envelope(data=answer, metadata=metadata))

    def _metadata(self, operation: str, *, pattern_id: str) -> dict[str, Any]:
        return {
            "correlation_id": self._new_id(),
            "operation": operation,
            "pattern_id": pattern_id,
        }

    def _milliseconds_since(self, began: float) -> float:
        return round((self._clock.monotonic() - began) * 1000, 3)


def build_application(handlers: Handlers, *, middlewares: Sequence[Any]) -> web.Application:
    """The application; a body over `MAX_BODY_BYTES` (after decompression) is 413."""
    application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=middlewares)
    application.add_routes(handlers.routes())
    return application


def _parse(raw: bytes | msgspec.Raw) -> TrackRequest | EventRefusedError:
    try:
        return parse_event(raw)
    except EventRefusedError as refusal:
        return refusal


def _batch_answer(
    results: Sequence[tuple[TrackRequest | None, Tracked | EventRefusedError]],
    *,
    requested_mode: str,
    correlation_id: str,
    spent_ms: float,
) -> BatchAnswer:
    stored: list[Success] = []
    refused: list[Failure] = []
    for index, (event, outcome) in enumerate(results):
        operation = OPERATIONS[event.event_type] if event else "parse"
        metadata = {"correlation_id": correlation_id, "operation": operation}
        if isinstance(outcome, Tracked):
            stored.append(
                Success(
                    event_index=index,
                    data=outcome,
                    metadata=metadata,
                    pattern_id=outcome.pattern_id,
                )
            )
        else:
            metadata["error_type"] = outcome.error_type
            refused.append(
                Failure(
                    event_index=index,
                    error=outcome.error,
                    metadata=metadata,
                    pattern_id=outcome.pattern_id,
                )
            )
    return BatchAnswer(
        success=not refused,
        batch_summary=BatchSummary(
            total_events=len(results),
            successful_events=len(stored),
            failed_events=len(refused),
            handled_duplicates=sum(result.data.known_event for result in stored),
            processing_mode=PROCESSING_MODE,
            requested_processing_mode=requested_mode,
        ),
        successful_results=stored,
        failed_results=refused or None,
        metadata={
            "processing_time_ms": spent_ms,
            "average_time_per_event": round(spent_ms / max(len(results), 1), 3),
            "batch_efficiency_gain": None,
        },
    )
