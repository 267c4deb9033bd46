"""What holds for a gate whatever happens to it, in whatever order."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pattern_tracker.resilience import gate as gates
from pattern_tracker.resilience.breaker_state import BreakerPolicy, Mode, Permit
from pattern_tracker.resilience.gate import Gate, GatePolicy, GateState, Send, Wait
from pattern_tracker.resilience.health import HealthPolicy
from pattern_tracker.resilience.hold import RETRY_AFTER_FLOOR_SECONDS, HoldPolicy

POLICY = GatePolicy(
    breaker=BreakerPolicy(
        timeout_seconds=8,
        timeout_cap_seconds=40,
        half_open_total_calls=2,
        probe_timeout_seconds=16,
    ),
    health=HealthPolicy(interval_seconds=5, interval_cap_seconds=20),
    hold=HoldPolicy(retry_after_cap_seconds=100, pause_interval_seconds=60),
    batch_max_events=20,
)

reached: Counter[str] = Counter()
jumps = st.sampled_from([0.0, 1.0, 5.0, 8.0, 16.0, 60.0, 86_400.0, -1.0, -30.0, -86_400.0])
chosen = st.integers(0, 1000)


class GateMachine(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**16))
    def start(self, seed: int) -> None:
        self.gate = Gate()
        self.rng = random.Random(seed)
        self.now = 1_750_000_000.0
        self.config = "a"
        self.permits: list[tuple[Permit, int]] = []
        # The time that really passed, whatever the clock said, and when by it the
        # server may be asked again, by its own word.
        self.elapsed = 0.0
        self.welcome_at = 0.0
        self.last_size = POLICY.batch_max_events

    def ask(self, *, forced: bool) -> None:
        had_pause, mode_before = self.gate.pause, self.gate.breaker.mode
        self.gate, answer = gates.decide(
            self.gate, POLICY, self.now, forced=forced, config_fingerprint=self.config
        )
        if isinstance(answer, Wait):
            reached[f"wait {answer.state}"] += 1
            assert answer.until is None or answer.until > self.now
            assert (answer.until is None) == (self.gate.breaker.mode is Mode.FORCED_OPEN)
            return
        self.check_send(answer)
        reached["person goes through"] += forced and mode_before is Mode.OPEN
        reached["pause tried"] += had_pause is not None
        self.permits.append((answer.permit, answer.max_events))

    def check_send(self, answer: Send) -> None:
        assert self.elapsed >= self.welcome_at
        assert self.gate.breaker.mode not in {Mode.OPEN, Mode.FORCED_OPEN}
        assert 1 <= answer.max_events <= max(1, 2 * self.last_size)
        if self.gate.pause or self.gate.hold or self.gate.breaker.mode is Mode.HALF_OPEN:
            assert answer.max_events == 1

    def take(self, index: int) -> tuple[Permit, int]:
        return self.permits.pop(index % len(self.permits))

    def size(self) -> int:
        ramp = self.gate.ramp_events
        return POLICY.batch_max_events if ramp is None else ramp

    @rule(forced=st.sampled_from([False, False, True]))
    def decide(self, forced: bool) -> None:
        self.ask(forced=forced)

    @precondition(lambda self: self.permits)
    @rule(index=chosen, share=st.sampled_from([0.0, 0.5, 1.0]))
    def succeed(self, index: int, share: float) -> None:
        permit, size = self.take(index)
        before = self.size()
        self.gate = gates.after_success(
            self.gate, POLICY, permit, self.now, accepted=int(size * share)
        )
        assert self.gate.pause is None
        assert before <= self.size() <= 2 * before
        reached["ramp grows"] += self.size() > before
        reached["ramp complete"] += self.gate.ramp_events is None and before < self.size()
        self.last_size = self.size()

    @precondition(lambda self: self.permits)
    @rule(index=chosen)
    def fail(self, index: int) -> None:
        permit, _ = self.take(index)
        before = self.size()
        self.gate = gates.after_failure(
            self.gate, POLICY, permit, self.now, self.rng, reason="refused"
        )
        assert self.size() <= before
        assert self.gate.breaker.mode is not Mode.OPEN or self.size() == 1

    @precondition(lambda self: self.permits)
    @rule(
        index=chosen,
        retry_after=st.sampled_from([None, 0.0, 0.01, 3.0, 60.0, 1e9, float("inf"), float("nan")]),
    )
    def told_to_wait(self, index: int, retry_after: float | None) -> None:
        permit, _ = self.take(index)
        failures, trips = self.gate.breaker.consecutive_failures, self.gate.breaker.trips
        self.gate = gates.after_hold(
            self.gate, POLICY, permit, self.now, self.rng, retry_after=retry_after, reason="429"
        )
        assert (self.gate.breaker.consecutive_failures, self.gate.breaker.trips) == (
            failures,
            trips,
        )
        if retry_after is not None and retry_after > 0:
            cap = POLICY.hold.retry_after_cap_seconds
            seconds = min(max(retry_after, RETRY_AFTER_FLOOR_SECONDS), cap)
            self.welcome_at = max(self.welcome_at, self.elapsed + seconds)
        self.ask(forced=False)

    @precondition(lambda self: self.permits)
    @rule(index=chosen)
    def rejected(self, index: int) -> None:
        permit, _ = self.take(index)
        failures = self.gate.breaker.consecutive_failures
        self.gate = gates.after_pause(
            self.gate,
            POLICY,
            permit,
            self.now,
            reason="401",
            remedy="set the token",
            config_fingerprint=self.config,
        )
        assert self.gate.breaker.consecutive_failures == failures

    @precondition(lambda self: self.permits)
    @rule()
    def process_is_killed(self) -> None:
        self.permits.clear()

    @precondition(lambda self: self.permits)
    @rule(index=chosen)
    def abandon(self, index: int) -> None:
        self.gate = gates.abandon(self.gate, self.take(index)[0])

    @rule(outage=st.integers(1, 5), recovery=st.integers(0, 8))
    def outage_and_recovery(self, outage: int, recovery: int) -> None:
        for good in [False] * outage + [True] * recovery:
            self.time_passes(POLICY.longest_wait_seconds if self.gate.breaker.trips else 1.0)
            before = len(self.permits)
            self.ask(forced=False)
            if len(self.permits) > before:
                self.succeed(before, 1.0) if good else self.fail(before)

    @rule(by=st.sampled_from(["time", "hint", "person"]))
    def outage_and_a_probe_is_out(self, by: str) -> None:
        self.time_passes(POLICY.longest_wait_seconds)
        self.outage_and_recovery(POLICY.breaker.failure_threshold, 0)
        if by == "hint":
            self.health_answers(True)
        elif by == "time":
            self.time_passes(POLICY.longest_wait_seconds)
        self.ask(forced=by == "person")
        self.ask(forced=False)

    @rule(healthy=st.sampled_from([True, False, None]))
    def health_answers(self, healthy: bool | None) -> None:
        before = self.gate.breaker.mode
        self.gate = gates.after_health_check(
            self.gate, POLICY, self.now, self.rng, healthy=healthy, latency_ms=2.0
        )
        assert not gates.health_check_due(self.gate, POLICY, self.now)
        assert self.gate.breaker.mode in {before, Mode.HALF_OPEN}
        reached["hint taken"] += self.gate.breaker.mode is not before
        if healthy is False:
            _, answer = gates.decide(self.gate, POLICY, self.now)
            assert isinstance(answer, Wait) or answer.max_events == 1

    @rule(seconds=jumps)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.elapsed += max(0.0, seconds)

    @rule(config=st.sampled_from(["a", "b"]))
    def configuration_is_written(self, config: str) -> None:
        self.config = config

    @rule(change=st.sampled_from([gates.force_open, gates.force_close, gates.disable]), dice=chosen)
    def person_sets_a_mode(self, change: object, dice: int) -> None:
        if dice % 4 == 0:
            self.gate = change(self.gate, self.now)  # type: ignore[operator]

    @rule(dice=chosen)
    def person_resets(self, dice: int) -> None:
        if dice % 4 == 0 or self.gate.breaker.mode is Mode.FORCED_OPEN:
            self.gate = gates.reset(self.gate, self.now)

    @rule()
    def gate_is_stored_and_read(self) -> None:
        read = gates.decode_gate(msgspec.json.encode(self.gate))
        assert read == self.gate
        self.gate = read

    @invariant()
    def status_can_be_shown_and_agrees(self) -> None:
        shown = gates.status(self.gate, POLICY, self.now)
        reached[f"status {shown.state}"] += 1
        assert shown.since is None or shown.since <= self.now
        assert len(repr(self.gate).splitlines()) == 1
        if shown.state is GateState.FORCED_OPEN:
            assert shown.retry_at is None

    @invariant()
    def nothing_waits_for_ever(self) -> None:
        gate, _ = gates.decide(self.gate, POLICY, self.now, config_fingerprint=self.config)
        _, answer = gates.decide(gate, POLICY, self.now + POLICY.longest_wait_seconds)
        assert isinstance(answer, Send) or gate.breaker.mode is Mode.FORCED_OPEN


MUST_BE_REACHED = {
    *(f"status {state}" for state in GateState),
    *(f"wait {state}" for state in ("waiting", "probing", "held", "paused", "forced-open")),
    "person goes through",
    "pause tried",
    "ramp grows",
    "ramp complete",
    "hint taken",
}


def test_gate_keeps_its_promises_and_every_state_is_reached():
    reached.clear()
    run_state_machine_as_test(
        GateMachine,
        settings=settings(
            max_examples=200,
            stateful_step_count=50,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    missed = {name for name in MUST_BE_REACHED if not reached[name]}
    assert not missed, f"the generator no longer reaches {sorted(missed)}"
