"""What an answer means for the event that it is about.  Pure.

An event is poison only if the server takes others while it refuses this one: a
server in trouble refuses everything, in whatever words, and an outage must never
quarantine anything.  So every verdict that is not "stored" is read in the light
of `proven`: did the same endpoint accept another event in this exchange (see
`Outcome.proves`), or at any time since it last did not take this one?
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from pattern_tracker.client.answers import NOT_NAMED, EventAnswer, Verdict
from pattern_tracker.events import Cause, EventType
from pattern_tracker.resilience.backoff import UNKNOWN_ERROR, retry_delay

if TYPE_CHECKING:
    import random

    from pattern_tracker.ledger.events import WaitingEvent

# The race of two identical creates is over when the answer is there.
CONFLICT_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Delivered:
    """The server has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantine:
    """The server will never take it."""

    cause: Cause


@dataclass(frozen=True, kw_only=True, slots=True)
class TryAgain:
    """One attempt spent; next one after `delay_seconds`."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class AwaitParent:
    """It has to wait for another event, or to do without it."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """It may be the event or the server; the breaker decides when to go on, and with which."""


Settlement: TypeAlias = Delivered | Quarantine | TryAgain | AwaitParent | Suspect


def awaits_parent(event: WaitingEvent, answer: EventAnswer) -> bool:
    """Whether the server lacks something that can still be sent.

    A creation needs nothing: a server that misses something for it talks nonsense, and
    to send it again at once would be answered with the same for ever.
    """
    missing = answer.verdict is Verdict.MISSING_PARENT
    return missing and event.event_type is not EventType.CREATED


def settle(
    event: WaitingEvent, answer: EventAnswer, *, proven: bool, rng: random.Random
) -> Settlement:
    """What to do with `event` after `answer`; see the module's text for `proven`."""
    if answer.verdict is Verdict.STORED:
        return Delivered()
    if awaits_parent(event, answer):
        return AwaitParent()
    if answer.verdict is Verdict.CONFLICT and event.attempts < CONFLICT_TRIES:
        return TryAgain(delay_seconds=0.0)
    if not proven:
        # Behind the others from now on, should it be the event after all.
        refused = answer.verdict is Verdict.REJECTED
        return _soon(event, rng) if refused else Suspect()
    if answer.verdict is Verdict.REJECTED:
        return Quarantine(cause=Cause.REJECTED)
    if answer.verdict is Verdict.OUTAGE and answer.detail != NOT_NAMED:
        return _soon(event, rng)  # it breaks the server, or the server broke meanwhile
    delay = UNKNOWN_ERROR.delay_after(event.attempts + 1, rng)
    if delay is not None:
        return TryAgain(delay_seconds=delay)
    return Quarantine(cause=Cause.UNKNOWN_ANSWER)


def _soon(event: WaitingEvent, rng: random.Random) -> TryAgain:
    return TryAgain(delay_seconds=retry_delay(event.attempts + 1, rng))
