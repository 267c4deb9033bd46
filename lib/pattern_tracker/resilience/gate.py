"""The gate of one destination: may a request be made now, and how large?

It puts together what can stand in the way (the breaker, a hold, a pause) and what
calls for going slowly (an outage just over, a bad health answer):

- After a failure the next request may carry half as many events; after a trip, one.
  Every success then doubles that, as far as the events were really there to be
  accepted: 1, 2, 4, ... up to a full batch.  A drain ramps up; it does not storm.
- A hold does not shrink requests: rate limits count requests, and smaller ones
  would need more of them.
- While the gate is probing, paused, or health is known to be bad, it is one event.

A request that a person waits for (`forced`) goes through an open breaker, a
pause, and a hold of our own guessing, with one event.  It does not go through a
time that the server itself named (Retry-After), nor through forced-open.

What it refuses to do: decide whether an event is kept; call a 429 or a rejected
token a failure; forget a server's Retry-After because of anything but time.

Every function takes a `Gate` and returns the new one, which is to be stored, also
after `Wait`.  Each `Send` is answered by exactly one of the `after_...` functions
or by `abandon`; one that never is (the process was killed) costs a probe's deadline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pattern_tracker.resilience import breaker as circuit
from pattern_tracker.resilience import health as checker
from pattern_tracker.resilience import ramp
from pattern_tracker.resilience.breaker_state import Mode, Permit, Refusal
from pattern_tracker.resilience.gate_state import (
    STATE_OF_MODE,
    Decision,
    Gate,
    GatePolicy,
    GateState,
    Send,
    Status,
    Wait,
    decode_gate,
    mode_reason,
    settle,
    status,
)
from pattern_tracker.resilience.hold import Pause, hold_after

if TYPE_CHECKING:
    import random

__all__ = [
    "Decision",
    "Gate",
    "GatePolicy",
    "GateState",
    "Send",
    "Status",
    "Wait",
    "abandon",
    "after_failure",
    "after_health_check",
    "after_hold",
    "after_pause",
    "after_success",
    "decide",
    "decode_gate",
    "disable",
    "force_close",
    "force_open",
    "health_check_due",
    "reset",
    "status",
]


def decide(
    gate: Gate,
    policy: GatePolicy,
    now: float,
    *,
    forced: bool = False,
    config_fingerprint: str | None = None,
) -> tuple[Gate, Decision]:
    """Whether to make a request now.

    `forced` is for the first request of a pass that a person started: given to
    every one, it would send into a failing server as fast as that can fail.
    `config_fingerprint` stands for what the user can repair (address, token); a
    pause under another one is tried at once.  None: not looked at.
    """
    gate = settle(gate, policy, now)
    changed = gate.pause is not None and config_fingerprint not in {
        None,
        gate.pause.config_fingerprint,
    }
    wait = _obstacle(gate, now, forced=forced, ignore_pause=forced or changed)
    if wait is not None:
        return gate, wait
    state, answer = circuit.admit(gate.breaker, policy.breaker, now, forced=forced)
    gate = replace(gate, breaker=state)
    if isinstance(answer, Refusal):
        return gate, Wait(
            state=STATE_OF_MODE[state.mode], reason=mode_reason(gate), until=answer.retry_at
        )
    send = Send(permit=answer, max_events=_max_events(gate, policy, now))
    return _claim_pause(gate, policy, now, config_fingerprint), send


def after_success(
    gate: Gate, policy: GatePolicy, permit: Permit, now: float, *, accepted: int
) -> Gate:
    """The server answered as agreed and took `accepted` events.

    Ends a pause, and the slowness that a bad health answer calls for.  A hold goes
    on: another request, in flight at the same time, may have been told when to come
    back.
    """
    gate = settle(gate, policy, now)
    current = circuit.counts(gate.breaker, permit)
    breaker = circuit.record_success(gate.breaker, policy.breaker, permit, now)
    gate = replace(
        gate,
        breaker=breaker,
        health=checker.contradicted(gate.health) if accepted else gate.health,
        pause=None,
        holds_in_a_row=gate.holds_in_a_row if gate.hold else 0,
    )
    if not current or breaker.mode is Mode.HALF_OPEN:
        return gate
    size = ramp.grown(gate.ramp_events, policy.batch_max_events, accepted=accepted)
    return replace(gate, ramp_events=size, failure_reason="")


def after_failure(
    gate: Gate,
    policy: GatePolicy,
    permit: Permit,
    now: float,
    rng: random.Random,
    *,
    reason: str,
) -> Gate:
    """The request failed in a way that speaks against the server.  No secrets in `reason`."""
    gate = settle(gate, policy, now)
    if not circuit.counts(gate.breaker, permit):
        return gate
    breaker = circuit.record_failure(gate.breaker, policy.breaker, permit, now, rng)
    tripped = breaker.mode is Mode.OPEN
    size = 1 if tripped else ramp.halved(gate.ramp_events, policy.batch_max_events)
    return replace(gate, breaker=breaker, ramp_events=size, failure_reason=reason)


def after_hold(
    gate: Gate,
    policy: GatePolicy,
    permit: Permit,
    now: float,
    rng: random.Random,
    *,
    retry_after: float | None,
    reason: str,
) -> Gate:
    """The server asked to wait: 429, or any answer with Retry-After (seconds from `now`)."""
    gate = settle(gate, policy, now)
    # Requests that were in flight together and all got a 429 are one event, not several.
    in_a_row = gate.holds_in_a_row if gate.hold else gate.holds_in_a_row + 1
    hold = hold_after(
        gate.hold,
        policy.hold,
        now,
        rng,
        retry_after=retry_after,
        in_a_row=in_a_row,
        reason=reason,
    )
    return replace(abandon(gate, permit), hold=hold, holds_in_a_row=0 if hold.stated else in_a_row)


def after_pause(
    gate: Gate,
    policy: GatePolicy,
    permit: Permit,
    now: float,
    *,
    reason: str,
    remedy: str,
    config_fingerprint: str,
) -> Gate:
    """The server will not take anything until the user has run `remedy`."""
    gate = settle(gate, policy, now)
    pause = Pause(
        since=gate.pause.since if gate.pause else now,
        next_try_at=now + policy.hold.pause_interval_seconds,
        reason=reason,
        remedy=remedy,
        config_fingerprint=config_fingerprint,
    )
    return replace(abandon(gate, permit), pause=pause, ramp_events=1)


def abandon(gate: Gate, permit: Permit) -> Gate:
    """The request was not made, or told nothing."""
    return replace(gate, breaker=circuit.release(gate.breaker, permit))


def health_check_due(gate: Gate, policy: GatePolicy, now: float) -> bool:
    """Whether to ask the destination how it is."""
    return checker.due(gate.health, policy.health, now, breaker_open=gate.breaker.mode is Mode.OPEN)


def after_health_check(
    gate: Gate,
    policy: GatePolicy,
    now: float,
    rng: random.Random,
    *,
    healthy: bool | None,
    latency_ms: float | None = None,
    reason: str = "",
) -> Gate:
    """Take in a health answer (None: it told nothing).

    A good one may end an open breaker's wait early; a bad one slows down.
    """
    gate = settle(gate, policy, now)
    health = checker.after_check(
        gate.health,
        now,
        rng,
        healthy=healthy,
        breaker_open=gate.breaker.mode is Mode.OPEN,
        latency_ms=latency_ms,
        reason=reason,
    )
    news = gate.health.healthy is False
    gate = replace(gate, health=health)
    if healthy:
        return replace(gate, breaker=circuit.health_hint(gate.breaker, now, news=news))
    return replace(gate, ramp_events=1) if healthy is False else gate


def force_open(gate: Gate, now: float) -> Gate:
    """Send nothing until `reset`."""
    return replace(gate, breaker=circuit.force_open(gate.breaker, now))


def force_close(gate: Gate, now: float) -> Gate:
    """Ignore failures until `reset`; holds and pauses stay in force."""
    return replace(gate, breaker=circuit.force_close(gate.breaker, now))


def disable(gate: Gate, now: float) -> Gate:
    """Do without the breaker until `reset`; holds and pauses stay in force."""
    return replace(gate, breaker=circuit.disable(gate.breaker, now))


def reset(gate: Gate, now: float) -> Gate:
    """Start afresh, slowly; only what the server itself asked for is kept."""
    return Gate(
        breaker=circuit.reset(gate.breaker, now),
        health=gate.health,
        hold=gate.hold if gate.hold and gate.hold.stated else None,
        ramp_events=1,
    )


def _obstacle(gate: Gate, now: float, *, forced: bool, ignore_pause: bool) -> Wait | None:
    """What stands in the way besides the breaker's own waiting."""
    if gate.breaker.mode is Mode.FORCED_OPEN:
        return Wait(state=GateState.FORCED_OPEN, reason=mode_reason(gate), until=None)
    if gate.pause and now < gate.pause.next_try_at and not ignore_pause:
        until = max(gate.pause.next_try_at, gate.hold.until if gate.hold else now)
        return Wait(state=GateState.PAUSED, reason=gate.pause.reason, until=until)
    if gate.hold and (gate.hold.stated or not forced):
        return Wait(state=GateState.HELD, reason=gate.hold.reason, until=gate.hold.until)
    return None


def _max_events(gate: Gate, policy: GatePolicy, now: float) -> int:
    cautious = gate.hold or gate.pause or gate.breaker.mode is Mode.HALF_OPEN
    if cautious or checker.known_bad(gate.health, policy.health, now):
        return 1
    return ramp.allowed(gate.ramp_events, policy.batch_max_events)


def _claim_pause(gate: Gate, policy: GatePolicy, now: float, fingerprint: str | None) -> Gate:
    """Count the try that is about to be made, so that a crash in it is not repeated at once."""
    if gate.pause is None:
        return gate
    pause = replace(
        gate.pause,
        next_try_at=now + policy.hold.pause_interval_seconds,
        config_fingerprint=gate.pause.config_fingerprint if fingerprint is None else fingerprint,
    )
    return replace(gate, pause=pause)
