"""An intelligence API in memory, in place of the client: says of each event what a test wants.

Takes what it is sent as the reference service does: in order, idempotent on the event
id, parents before children where `wants_parents` is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pattern_tracker.client.answers import Answer, AnswerKind, EventAnswer, Verdict
from pattern_tracker.client.health import HealthAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pattern_tracker.client.wire import SentEvent

STORED = EventAnswer(Verdict.STORED)
REJECTED = EventAnswer(Verdict.REJECTED, "validation_error: bad data")
MISSING_PARENT = EventAnswer(Verdict.MISSING_PARENT, "validation_error: parent pattern not found")


class IntelligenceDouble:
    """Implements what `Exchange` and `Delivery` need of a client."""

    def __init__(self, *, wants_parents: bool = False) -> None:
        self.wants_parents = wants_parents
        # event id -> what was stored; pattern ids that are known as a parent.
        self.stored: dict[str, dict[str, Any]] = {}
        self.known: set[str] = set()
        # What was asked for: per request, the pattern ids.
        self.requests: list[list[str]] = []
        # The answer to everything, while there is one; stored all the same if `loses_answers`.
        self.trouble: Answer | None = None
        self.loses_answers = False
        # Pattern ids with an answer of their own, and those that break any request.
        self.answers: dict[str, EventAnswer] = {}
        self.breaks: set[str] = set()
        # One refused event and the whole batch is refused, unnamed, as the public service does.
        self.refuses_whole = False
        self.has_batch_endpoint = True
        self.has_single_endpoint = True
        self.retry_after: float | None = None
        self.health = HealthAnswer(healthy=True, latency_ms=1.0)
        self.health_checks = 0

    async def send_batch(self, bodies: Sequence[bytes], sent: Sequence[SentEvent]) -> Answer:
        return self._answer(bodies, sent, exists=self.has_batch_endpoint)

    async def send_single(self, body: bytes, sent: SentEvent) -> Answer:
        return self._answer([body], [sent], exists=self.has_single_endpoint)

    async def check_health(self) -> HealthAnswer:
        self.health_checks += 1
        return self.health

    def _answer(
        self, bodies: Sequence[bytes], sent: Sequence[SentEvent], *, exists: bool
    ) -> Answer:
        self.requests.append([event.pattern_id for event in sent])
        if self.trouble is not None:
            if self.loses_answers:
                self._take(bodies)
            return self.trouble
        if not exists:
            return Answer(kind=AnswerKind.NO_ENDPOINT, reason="no such endpoint (HTTP 404)")
        if self.breaks & {event.pattern_id for event in sent}:
            return Answer(kind=AnswerKind.FAILURE, reason="server error (HTTP 500)", status=500)
        refused = [self.answers.get(event.pattern_id) for event in sent]
        if self.refuses_whole and any(refused):
            return Answer(kind=AnswerKind.REJECTED, reason="the request was refused (HTTP 422)")
        return Answer(
            kind=AnswerKind.ANSWERED,
            events=tuple(self._take(bodies)),
            retry_after=self.retry_after,
        )

    def _take(self, bodies: Sequence[bytes]) -> list[EventAnswer]:
        return [self._take_one(msgspec.json.decode(body)) for body in bodies]

    def _take_one(self, event: dict[str, Any]) -> EventAnswer:
        answer = self.answers.get(event["pattern_id"])
        if answer is not None and answer.verdict is not Verdict.STORED:
            return answer
        parents = set(event.get("parent_pattern_ids", ()))
        if event["event_type"] == "pattern_applied":
            parents.add(event["pattern_id"])
        if self.wants_parents and not parents <= self.known:
            return MISSING_PARENT
        self.stored.setdefault(event["event_id"], event)
        self.known.add(event["pattern_id"])
        return STORED


def outage(reason: str = "connection refused") -> Answer:
    return Answer(kind=AnswerKind.FAILURE, reason=reason)
