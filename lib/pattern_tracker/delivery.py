"""From ledger rows to acknowledged events: ask the gate, send a batch, enter the answers.

What was learned from a batch (its events' new states and the gate's) is one
commit, so that the ledger never says "delivered" without an answer that did, nor
forgets an answer that it had.

After a failure a pass does not try again: whoever runs passes comes back later.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from pattern_tracker import settlement as verdicts
from pattern_tracker.client.answers import AnswerKind, EventAnswer, Verdict
from pattern_tracker.client.wire import as_orphan
from pattern_tracker.events import EventType
from pattern_tracker.resilience import gate as gates

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from pattern_tracker.client.transport import IntelligenceClient
    from pattern_tracker.clock import Clock
    from pattern_tracker.exchange import Exchange, Outcome
    from pattern_tracker.ledger import Ledger
    from pattern_tracker.ledger.events import WaitingEvent
    from pattern_tracker.resilience.breaker_state import Permit
    from pattern_tracker.resilience.gate_state import Gate, GatePolicy
    from pattern_tracker.settings import Settings

BATCH_MAX_BYTES: Final = 1_000_000

# A parent that waits is looked for again no sooner than this.
PARENT_WAIT_MS: Final = 2_000


@dataclass(slots=True)
class DeliveryReport:
    """What a pass delivered, and why it stopped."""

    delivered: int = 0
    quarantined: int = 0
    requests: int = 0
    # Nothing more to be sent before this time (epoch seconds).  None: nothing waits, a person
    # has to act, or a request failed and whoever runs passes decides when to try again.
    next_try_at: float | None = None
    # Why it stopped while events wait; "" if it did not.
    reason: str = ""


class Delivery:
    """Delivers what waits for one destination, as far as its gate lets it."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        destination: int,
        client: IntelligenceClient,
        exchange: Exchange,
        policy: GatePolicy,
        fingerprint: str,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._ledger = ledger
        self._destination = destination
        self._client = client
        self._exchange = exchange
        self._policy = policy
        self._fingerprint = fingerprint
        self._clock = clock
        self._rng = rng
        self.report = DeliveryReport()

    async def check_health(self) -> None:
        """Ask the destination how it is, if that is due and of use."""
        gate = self._gate()
        now = self._clock.now()
        if not gates.health_check_due(gate, self._policy, now):
            return
        answer = await self._client.check_health()
        gate = gates.after_health_check(
            gate,
            self._policy,
            self._clock.now(),
            self._rng,
            healthy=answer.healthy,
            latency_ms=answer.latency_ms,
            reason=answer.reason,
        )
        self._save(gate)

    async def deliver_batch(self, *, forced: bool = False) -> bool:
        """Send one batch; False when nothing can be sent now."""
        if self.report.reason:
            return False
        admitted = self._admitted(forced=forced)
        if admitted is None:
            return False
        gate, permit, max_events = admitted
        batch = self._batch(permit, max_events)
        if not batch:
            # The gate stays as it was: nothing came of the leave to send.
            self._note_next_due()
            return False
        # A probe's slot must be known to whoever comes after a crash.
        self._save(gate)
        outcome = await self._exchange.send(batch)
        self.report.requests += outcome.requests
        self._enter(gate, permit, outcome)
        return not self.report.reason

    def _batch(self, permit: Permit, max_events: int) -> list[WaitingEvent]:
        events, now = self._ledger.events, self._now_ms()
        if permit.serial:
            accepted_at = self._ledger.accepted_at(self._destination)
            return events.next_probe(
                destination=self._destination, now=now, accepted_at=accepted_at
            )
        return events.next_batch(
            destination=self._destination,
            now=now,
            max_events=max_events,
            max_bytes=BATCH_MAX_BYTES,
        )

    def _admitted(self, *, forced: bool) -> tuple[Gate, Permit, int] | None:
        if not self._ledger.events.any_waiting(destination=self._destination):
            return None
        gate, decision = gates.decide(
            self._gate(),
            self._policy,
            self._clock.now(),
            forced=forced,
            config_fingerprint=self._fingerprint,
        )
        if isinstance(decision, gates.Wait):
            self._save(gate)
            self.report.reason = decision.reason or decision.state
            self.report.next_try_at = decision.until
            return None
        return gate, decision.permit, decision.max_events

    def _enter(self, gate: Gate, permit: Permit, outcome: Outcome) -> None:
        """One commit for all that the answers said."""
        now = self._now_ms()
        with self._ledger.transaction():
            self._ledger.events.delivered(_stored(outcome), now=now)
            turn = self._ledger.next_turn(self._destination, accepted=outcome.accepted > 0)
            accepted_at = self._ledger.accepted_at(self._destination)
            for event, answer in _not_stored(outcome):
                since = event.suspect_at is not None and accepted_at > event.suspect_at
                proven = outcome.proves(event) or since
                settled = verdicts.settle(event, answer, proven=proven, rng=self._rng)
                self._apply(event, answer, settled, turn, now=now)
            gate = self._gate_after(gate, permit, outcome)
            self._ledger.save_gate(self._destination, msgspec.json.encode(gate))
        self.report.delivered += outcome.accepted

    def _apply(
        self,
        event: WaitingEvent,
        answer: EventAnswer,
        settled: verdicts.Settlement,
        turn: int,
        *,
        now: int,
    ) -> None:
        events = self._ledger.events
        match settled:
            case verdicts.Quarantine(cause=cause):
                events.quarantined(event.seq, cause=cause, answer=answer.detail, now=now)
                self.report.quarantined += 1
            case verdicts.TryAgain(delay_seconds=delay):
                events.refused(
                    event.seq,
                    not_before=now + int(delay * 1000),
                    answer=answer.detail,
                    turn=turn,
                )
            case verdicts.AwaitParent():
                self._await_parent(event, answer, now=now)
            case verdicts.Suspect():
                events.suspected(event.seq, answer=answer.detail, turn=turn)
            case verdicts.Delivered():
                pass  # entered with all others of its batch

    def _await_parent(self, event: WaitingEvent, answer: EventAnswer, *, now: int) -> None:
        """Wait for the parent while it is on its way; else send the event without it."""
        events = self._ledger.events
        missing = event.parents or (event.pattern_id,)
        until = events.parent_waits_until(missing, before=event.seq, destination=self._destination)
        if until is not None:
            not_before = max(until, now) + PARENT_WAIT_MS
            events.put_off(event.seq, not_before=not_before, answer=answer.detail)
            return
        body = as_orphan(event.body, missing)
        events.rewritten(event.seq, event_type=EventType.CREATED, body=body)

    def _gate_after(self, gate: Gate, permit: Permit, outcome: Outcome) -> Gate:
        now = self._clock.now()
        obstacle = outcome.obstacle
        if obstacle is None:
            return self._gate_after_answers(gate, permit, outcome, now)
        self.report.reason = obstacle.reason
        if obstacle.kind is AnswerKind.HOLD:
            return self._held(gate, permit, now, obstacle.retry_after)
        if obstacle.kind in (AnswerKind.DENIED, AnswerKind.NO_ENDPOINT):
            return gates.after_pause(
                gate,
                self._policy,
                permit,
                now,
                reason=obstacle.reason,
                remedy=remedy_for(obstacle.kind),
                config_fingerprint=self._fingerprint,
            )
        return gates.after_failure(
            gate, self._policy, permit, now, self._rng, reason=obstacle.reason
        )

    def _gate_after_answers(self, gate: Gate, permit: Permit, outcome: Outcome, now: float) -> Gate:
        """The gate after a batch whose every event had an answer, or enough of them had."""
        alive = outcome.accepted or all(
            verdicts.awaits_parent(event, answer) for event, answer in outcome.answers
        )
        if not alive:
            _, last = outcome.answers[-1]
            self.report.reason = last.detail
            return gates.after_failure(
                gate, self._policy, permit, now, self._rng, reason=last.detail
            )
        gate = gates.after_success(gate, self._policy, permit, now, accepted=outcome.accepted)
        if outcome.retry_after is None:
            return gate
        self.report.reason = "the server asked to wait"
        return self._held(gate, permit, now, outcome.retry_after)

    def _held(self, gate: Gate, permit: Permit, now: float, retry_after: float | None) -> Gate:
        return gates.after_hold(
            gate,
            self._policy,
            permit,
            now,
            self._rng,
            retry_after=retry_after,
            reason=self.report.reason,
        )

    def _note_next_due(self) -> None:
        due = self._ledger.events.next_due(destination=self._destination)
        if due is not None:
            self.report.next_try_at = due / 1000

    def _gate(self) -> Gate:
        return gates.decode_gate(self._ledger.load_gate(self._destination) or b"{}")

    def _save(self, gate: Gate) -> None:
        encoded = msgspec.json.encode(gate)
        if encoded != self._ledger.load_gate(self._destination):
            with self._ledger.transaction():
                self._ledger.save_gate(self._destination, encoded)

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)


def _stored(outcome: Outcome) -> list[int]:
    return [event.seq for event, answer in outcome.answers if answer.verdict is Verdict.STORED]


def _not_stored(outcome: Outcome) -> Iterator[tuple[WaitingEvent, EventAnswer]]:
    """What is to be settled, an event that met a broken server alone included."""
    for event, answer in outcome.answers:
        if answer.verdict is not Verdict.STORED:
            yield event, answer
    obstacle = outcome.obstacle
    if obstacle and obstacle.kind is AnswerKind.FAILURE and outcome.alone:
        yield outcome.alone, EventAnswer(Verdict.OUTAGE, obstacle.reason)


def remedy_for(kind: AnswerKind) -> str:
    """The one command that ends a pause."""
    if kind is AnswerKind.DENIED:
        return "check service.token: pattern-tracker config, then pattern-tracker sync"
    return "check service.url: pattern-tracker config, then pattern-tracker sync"


def config_fingerprint(settings: Settings) -> str:
    """Changes whenever the user changes what a pause is about; tells nothing of the token."""
    parts = (settings.service_url, settings.api_token, str(settings.ca_file))
    digest = hashlib.sha256(repr(parts).encode(errors="surrogatepass"))
    # Eight digits notice a change and are far too few to test guesses of a token against.
    return digest.hexdigest()[:8]
