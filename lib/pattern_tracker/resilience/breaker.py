"""Circuit breaker: stops sending to a server that does not answer, and probes it.

    closed ──failures──▶ open ──time, hint or person──▶ half-open ──success──▶ closed
                          ▲                                 │
                          └───────── failure, or no result ─┘

*Closed* admits everything and trips after `failure_threshold` failures in a row, or
when `failure_rate` of the last `window_size` outcomes (at least `window_minimum`)
failed; only a failure can trip.  *Open* refuses until `retry_at`.  *Half-open* admits
`half_open_max_calls` probes at a time and `half_open_total_calls` in all; one failure
opens it again, `success_threshold` successes close it.

The open time starts at `timeout_seconds` and doubles with every trip up to the cap,
with equal jitter.  The growth is forgotten only after *stable* success:
`stable_successes` in a row, and closed for at least `timeout_seconds`; a server
that comes up for one request and falls over again stays on the long schedule.
A probe that came early (a health hint, a person) does not make it grow.

A probe's slot comes back when its outcome is reported, when it is released, or at
its deadline, so a killed process blocks nothing for good.  An era without result
(all probes lost) opens again for the same time.

What it refuses to do: count an outcome that was admitted in an earlier era or
whose slot is gone; close on anything but real traffic; believe a health hint again
after one that was followed by a failed probe; trust a stored time that lies
further ahead than it can have been set.  Callers keep the returned state after
a refusal too: that is how a deadline from before a clock change gets repaired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pattern_tracker.resilience.backoff import believable, equal_jitter, exponential
from pattern_tracker.resilience.breaker_state import (
    BreakerPolicy,
    BreakerState,
    Mode,
    Permit,
    ProbeSlot,
    Refusal,
    Trial,
)

if TYPE_CHECKING:
    import random
    from typing import Any

REFUSING = frozenset({Mode.OPEN, Mode.FORCED_OPEN})


def admit(
    state: BreakerState, policy: BreakerPolicy, now: float, *, forced: bool = False
) -> tuple[BreakerState, Permit | Refusal]:
    """Ask for leave to make one request.

    `forced` is for a request that a person is waiting for: it does not wait for
    the open time to pass or for a slot to come free.  Forced-open stays shut.
    """
    state = settle(state, policy, now)
    if state.mode is Mode.FORCED_OPEN:
        return state, Refusal(reason="forced open", retry_at=None)
    if state.mode is Mode.OPEN:
        if forced:
            state = _half_open(state, now, Trial.PERSON)
        elif state.retry_at is not None and now < state.retry_at:
            return state, Refusal(reason="open", retry_at=state.retry_at)
        else:
            state = _half_open(state, now, Trial.DUE)
    if state.mode is Mode.HALF_OPEN:
        return _admit_probe(state, policy, now, forced=forced)
    return state, Permit(era=state.era)


def record_success(
    state: BreakerState, policy: BreakerPolicy, permit: Permit, now: float
) -> BreakerState:
    """The request was answered as it should be."""
    state = settle(state, policy, now)
    if not counts(state, permit) or state.mode is Mode.DISABLED:
        return state
    state = replace(state, successes=state.successes + 1, consecutive_failures=0)
    if state.mode is Mode.HALF_OPEN:
        return _after_good_probe(_without_probe(state, permit), policy, now)
    state = _with_outcome(state, policy, success=True)
    return replace(state, trips=0) if _is_stable(state, policy, now) else state


def record_failure(
    state: BreakerState, policy: BreakerPolicy, permit: Permit, now: float, rng: random.Random
) -> BreakerState:
    """The request failed in a way that speaks against the server."""
    state = settle(state, policy, now)
    if not counts(state, permit) or state.mode is Mode.DISABLED:
        return state
    state = replace(state, successes=0, consecutive_failures=state.consecutive_failures + 1)
    if state.mode is Mode.HALF_OPEN:
        return _trip(state, policy, now, rng)
    state = _with_outcome(state, policy, success=False)
    if state.mode is Mode.CLOSED and _must_trip(state, policy):
        return _trip(state, policy, now, rng)
    return state


def release(state: BreakerState, permit: Permit) -> BreakerState:
    """The request told nothing (never made, cut short, turned away): as if never admitted."""
    if state.mode is not Mode.HALF_OPEN or not counts(state, permit):
        return state
    state = _without_probe(state, permit)
    return replace(state, probes_admitted=max(0, state.probes_admitted - 1))


def health_hint(state: BreakerState, now: float, *, news: bool = False) -> BreakerState:
    """The health endpoint says that all is well: an open breaker may probe early.

    `news`: it said otherwise the time before.  That makes it worth believing
    again; an endpoint that is always well, whatever the service does, is not.
    """
    if state.mode is not Mode.OPEN or (state.hint_misled and not news):
        return state
    return replace(_half_open(state, now, Trial.HINT), hint_misled=False)


def force_open(state: BreakerState, now: float) -> BreakerState:
    """Refuse everything until `reset`."""
    return _enter(state, Mode.FORCED_OPEN, now)


def force_close(state: BreakerState, now: float) -> BreakerState:
    """Admit everything until `reset`; outcomes are counted but never trip."""
    return _fresh(state, Mode.FORCED_CLOSED, now)


def disable(state: BreakerState, now: float) -> BreakerState:
    """Admit everything until `reset` and keep no record."""
    return _fresh(state, Mode.DISABLED, now)


def reset(state: BreakerState, now: float) -> BreakerState:
    """Closed, with everything forgotten but the numbers that tell permits apart."""
    return _fresh(state, Mode.CLOSED, now)


def counts(state: BreakerState, permit: Permit) -> bool:
    """Whether an outcome reported for `permit` would be believed."""
    if permit.era != state.era or state.mode in REFUSING:
        return False
    if state.mode is Mode.HALF_OPEN:
        return any(slot.serial == permit.serial for slot in state.probes)
    return True


def next_probe_at(state: BreakerState, policy: BreakerPolicy) -> float | None:
    """When a half-open breaker without a free slot gets one back; None if one is free."""
    if not state.probes or _has_room(state, policy):
        return None
    return min(slot.deadline for slot in state.probes)


def settle(state: BreakerState, policy: BreakerPolicy, now: float) -> BreakerState:
    """Bring stored times in line with a clock that may have been set since.

    Idempotent for one `now`; slots past their deadline are taken back here.
    """
    since = now if state.since is None else min(state.since, now)
    opened_at = None if state.opened_at is None else min(state.opened_at, now)
    if (since, opened_at) != (state.since, state.opened_at):
        state = replace(state, since=since, opened_at=opened_at)
    if state.mode is Mode.OPEN:
        return _settle_open(state, policy, now)
    if state.mode is Mode.HALF_OPEN:
        return _settle_half_open(state, policy, now)
    return state


def _settle_open(state: BreakerState, policy: BreakerPolicy, now: float) -> BreakerState:
    longest = policy.longest_open_seconds
    own = min(state.open_seconds, longest) if state.open_seconds > 0 else longest
    retry_at = now if state.retry_at is None else state.retry_at
    return replace(state, retry_at=believable(retry_at, now, longest_seconds=own))


def _settle_half_open(state: BreakerState, policy: BreakerPolicy, now: float) -> BreakerState:
    longest = policy.probe_timeout_seconds
    slots = [
        replace(slot, deadline=believable(slot.deadline, now, longest_seconds=longest))
        for slot in state.probes
    ]
    alive = tuple(slot for slot in slots if slot.deadline > now)
    lost_at = max((slot.deadline for slot in slots), default=now)
    return _open_if_exhausted(replace(state, probes=alive), policy, lost_at)


def _admit_probe(
    state: BreakerState, policy: BreakerPolicy, now: float, *, forced: bool
) -> tuple[BreakerState, Permit | Refusal]:
    if not _has_room(state, policy):
        if not forced:
            return state, Refusal(reason="probing", retry_at=next_probe_at(state, policy))
        state = _half_open(state, now, Trial.PERSON)
    serial = state.last_serial + 1
    slot = ProbeSlot(serial=serial, deadline=now + policy.probe_timeout_seconds)
    state = replace(
        state,
        probes=(*state.probes, slot),
        probes_admitted=state.probes_admitted + 1,
        last_serial=serial,
    )
    return state, Permit(era=state.era, serial=serial)


def _has_room(state: BreakerState, policy: BreakerPolicy) -> bool:
    return (
        len(state.probes) < policy.half_open_max_calls
        and state.probes_admitted < policy.half_open_total_calls
    )


def _without_probe(state: BreakerState, permit: Permit) -> BreakerState:
    probes = tuple(slot for slot in state.probes if slot.serial != permit.serial)
    return replace(state, probes=probes)


def _after_good_probe(state: BreakerState, policy: BreakerPolicy, now: float) -> BreakerState:
    if state.successes < policy.success_threshold:
        return _open_if_exhausted(state, policy, now)
    return _enter(state, Mode.CLOSED, now, opened_at=None, outcomes=(), hint_misled=False)


def _open_if_exhausted(state: BreakerState, policy: BreakerPolicy, at: float) -> BreakerState:
    if state.probes or state.probes_admitted < policy.half_open_total_calls:
        return state
    seconds = state.open_seconds or policy.timeout_seconds
    return _open(state, at, min(seconds, policy.longest_open_seconds))


def _with_outcome(state: BreakerState, policy: BreakerPolicy, *, success: bool) -> BreakerState:
    return replace(state, outcomes=(*state.outcomes, success)[-policy.window_size :])


def _must_trip(state: BreakerState, policy: BreakerPolicy) -> bool:
    if state.consecutive_failures >= policy.failure_threshold:
        return True
    seen = len(state.outcomes)
    failed = state.outcomes.count(False)
    return seen >= policy.window_minimum and failed / seen >= policy.failure_rate


def _is_stable(state: BreakerState, policy: BreakerPolicy, now: float) -> bool:
    closed_for = 0.0 if state.since is None else now - state.since
    return state.successes >= policy.stable_successes and closed_for >= policy.timeout_seconds


def _trip(
    state: BreakerState, policy: BreakerPolicy, now: float, rng: random.Random
) -> BreakerState:
    early = state.mode is Mode.HALF_OPEN and state.trial is not Trial.DUE
    trips = max(1, state.trips if early else state.trips + 1)
    ceiling = exponential(
        trips, base_seconds=policy.timeout_seconds, cap_seconds=policy.longest_open_seconds
    )
    return replace(_open(state, now, equal_jitter(ceiling, rng)), trips=trips)


def _open(state: BreakerState, at: float, seconds: float) -> BreakerState:
    hinted = state.mode is Mode.HALF_OPEN and state.trial is Trial.HINT
    return _enter(
        state,
        Mode.OPEN,
        at,
        opened_at=at if state.opened_at is None else state.opened_at,
        open_seconds=seconds,
        retry_at=at + seconds,
        outcomes=(),
        hint_misled=state.hint_misled or hinted,
    )


def _half_open(state: BreakerState, now: float, trial: Trial) -> BreakerState:
    return _enter(state, Mode.HALF_OPEN, now, trial=trial)


def _enter(state: BreakerState, mode: Mode, now: float, **changes: Any) -> BreakerState:
    """Begin a new era; permits of earlier ones no longer count."""
    era: dict[str, Any] = {
        "mode": mode,
        "era": state.era + 1,
        "since": now,
        "retry_at": None,
        "successes": 0,
        "probes": (),
        "probes_admitted": 0,
    }
    return replace(state, **(era | changes))


def _fresh(state: BreakerState, mode: Mode, now: float) -> BreakerState:
    return BreakerState(mode=mode, era=state.era + 1, since=now, last_serial=state.last_serial)
