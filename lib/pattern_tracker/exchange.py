"""One batch and the answers to it: falling back, cutting in half, knowing when to stop.

The public service refuses a whole batch for one bad event and does not say
which.  A refused batch is therefore cut in half until the event that is to blame
stands alone, in order, so that parents still go before their children.

It refuses to storm: where nothing at all is accepted, a few lone refusals are
taken as the server's trouble and not as the events'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from pattern_tracker.client.answers import Answer, AnswerKind, EventAnswer, Verdict
from pattern_tracker.client.wire import SentEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pattern_tracker.ledger.events import WaitingEvent

# So many events refused one by one, and none accepted: it is not about them.
LONE_REFUSALS_TO_STOP: Final = 3


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
        lone_refusals = 0
        while parts:
            part = parts.pop()
            if len(part) > 1 and not self._has_batch_endpoint:
                parts += [[event] for event in reversed(part)]
                continue
            outcome.requests += 1
            answer = await self._send_part(part)
            if answer.kind is AnswerKind.ANSWERED:
                outcome.answers += zip(part, answer.events, strict=True)
                outcome.retry_after = answer.retry_after
                if answer.retry_after is not None:
                    break
                lone_refusals += len(part) == 1 and _is_refusal(answer.events[0])
            elif answer.kind is AnswerKind.REJECTED and len(part) > 1:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            elif answer.kind is AnswerKind.REJECTED:
                refusal = EventAnswer(verdict=Verdict.REJECTED, detail=answer.reason)
                outcome.answers.append((part[0], refusal))
                lone_refusals += 1
            elif answer.kind is AnswerKind.NO_ENDPOINT and self._has_batch_endpoint:
                self._has_batch_endpoint = False
                parts.append(part)
            else:
                # Without the single endpoint either, there is no saying what it has.
                self._has_batch_endpoint |= answer.kind is AnswerKind.NO_ENDPOINT
                outcome.obstacle = answer
                outcome.alone = part[0] if len(part) == 1 else None
                break
            if lone_refusals >= LONE_REFUSALS_TO_STOP and not outcome.accepted:
                break
        return outcome

    async def _send_part(self, part: Sequence[WaitingEvent]) -> Answer:
        sent = [SentEvent(str(event.event_id), event.pattern_id) for event in part]
        if self._has_batch_endpoint:
            return await self._client.send_batch([event.body for event in part], sent)
        return await self._client.send_single(part[0].body, sent[0])


def _is_refusal(answer: EventAnswer) -> bool:
    return answer.verdict not in (Verdict.STORED, Verdict.MISSING_PARENT)
