"""One batch and the answers to it: falling back, cutting in half, knowing when to stop.

The public service refuses a whole batch for one bad event and does not say
which.  A refused batch is therefore cut in half until the event that is to blame
stands alone, in order, so that parents still go before their children.

It refuses to storm: a few lone refusals with nothing accepted in between may be the
server's trouble and not the events'; the rest of the batch is left for later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from pattern_tracker.client.answers import Answer, AnswerKind, EventAnswer, Verdict
from pattern_tracker.client.wire import SentEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pattern_tracker.ledger.events import WaitingEvent

# So many events not taken, and none taken in between: it may not be about them.
REFUSALS_TO_STOP: Final = 3


class Client(Protocol):
    """What is needed of the intelligence API's client; never raises for its trouble."""

    async def send_batch(self, bodies: Sequence[bytes], sent: Sequence[SentEvent]) -> Answer: ...

    async def send_single(self, body: bytes, sent: SentEvent) -> Answer: ...


@dataclass(slots=True)
class Outcome:
    """What was learned about the events of one batch."""

    # Events that an answer was about, in the order of the answers.
    answers: list[tuple[WaitingEvent, EventAnswer]] = field(default_factory=list)
    # The answer that ended it before every event had one, and the event that was sent
    # alone when it came.
    obstacle: Answer | None = None
    alone: WaitingEvent | None = None
    # Seconds that the server asked to be left alone after answering.
    retry_after: float | None = None
    requests: int = 0
    # The number of the last request of which the server took something, and by an event's
    # seq the number of the request that it was last answered in.
    accepting_request: int = 0
    request_of: dict[int, int] = field(default_factory=dict)
    # How many events it did not take since it last took one.
    refusals_in_a_row: int = 0

    def add(self, event: WaitingEvent, answer: EventAnswer) -> None:
        """Note what the request just made says of an event."""
        self.answers.append((event, answer))
        self.request_of[event.seq] = self.requests
        if answer.verdict is Verdict.STORED:
            self.accepting_request = self.requests
            self.refusals_in_a_row = 0
        elif answer.verdict is not Verdict.MISSING_PARENT:
            self.refusals_in_a_row += 1

    def proves(self, event: WaitingEvent) -> bool:
        """Whether it is about this event, and not about the server, that it was not taken.

        It is, if another was taken in the same request or a later one.  One that was taken
        before proves as much only while few were not taken since: many would mean that
        the server broke in between.
        """
        later = self.accepting_request >= self.request_of.get(event.seq, self.requests)
        return later or (self.accepting_request > 0 and self.refusals_in_a_row < REFUSALS_TO_STOP)

    @property
    def accepted(self) -> int:
        """How many events the server said that it has."""
        return sum(answer.verdict is Verdict.STORED for _, answer in self.answers)


class Exchange:
    """Sends batches; remembers whether the server has the batch endpoint."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._has_batch_endpoint = True

    async def send(self, batch: Sequence[WaitingEvent]) -> Outcome:
        """Send `batch`, and parts of it where that is what it takes."""
        outcome = Outcome()
        parts = [list(batch)]
        while parts:
            part = parts.pop()
            if len(part) > 1 and not self._has_batch_endpoint:
                parts += [[event] for event in reversed(part)]
                continue
            outcome.requests += 1
            answer = await self._send_part(part)
            if answer.kind is AnswerKind.ANSWERED:
                for event, verdict in zip(part, answer.events, strict=True):
                    outcome.add(event, verdict)
                outcome.retry_after = answer.retry_after
                if answer.retry_after is not None:
                    break
            elif answer.kind is AnswerKind.REJECTED and len(part) > 1:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            elif answer.kind is AnswerKind.REJECTED:
                refusal = EventAnswer(verdict=Verdict.REJECTED, detail=answer.reason)
                outcome.add(part[0], refusal)
            elif answer.kind is AnswerKind.NO_ENDPOINT and self._has_batch_endpoint:
                self._has_batch_endpoint = False
                parts.append(part)
            else:
                # Without the single endpoint either, there is no saying what it has.
                self._has_batch_endpoint |= answer.kind is AnswerKind.NO_ENDPOINT
                outcome.obstacle = answer
                outcome.alone = part[0] if len(part) == 1 else None
                break
            if outcome.refusals_in_a_row >= REFUSALS_TO_STOP:
                break
        return outcome

    async def _send_part(self, part: Sequence[WaitingEvent]) -> Answer:
        sent = [SentEvent(str(event.event_id), event.pattern_id) for event in part]
        if self._has_batch_endpoint:
            return await self._client.send_batch([event.body for event in part], sent)
        return await self._client.send_single(part[0].body, sent[0])
