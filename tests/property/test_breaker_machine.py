"""The circuit breaker against its model, with clocks that jump and processes that die."""

from __future__ import annotations

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

from pattern_tracker.resilience import breaker
from pattern_tracker.resilience.breaker_state import BreakerPolicy, BreakerState, Mode, Permit
from tests.fixed_random import FixedRandom
from tests.property.breaker_model import TICK, Model, ModelPermit, reached

START = 1_750_000_000.0

SMALL = BreakerPolicy(
    failure_threshold=3,
    window_size=6,
    window_minimum=4,
    timeout_seconds=8,
    timeout_cap_seconds=40,
    half_open_total_calls=2,
    stable_successes=2,
    probe_timeout_seconds=16,
)
WIDE = BreakerPolicy(
    failure_threshold=4,
    failure_rate=0.75,
    window_size=5,
    window_minimum=4,
    timeout_seconds=8,
    timeout_cap_seconds=20,
    half_open_max_calls=2,
    half_open_total_calls=3,
    success_threshold=2,
    stable_successes=3,
    probe_timeout_seconds=12,
)


chosen = st.integers(0, 1000)
jitters = st.integers(0, 63).map(lambda n: n * TICK)
jumps = st.sampled_from([0, TICK, 1, 3, 4, 8, 12, 16, 40, 86_400, -TICK, -3, -20, -86_400])


class BreakerMachine(RuleBasedStateMachine):
    @initialize(policy=st.sampled_from([SMALL, WIDE]))
    def start(self, policy: BreakerPolicy) -> None:
        self.policy = policy
        self.state = BreakerState()
        self.model = Model(policy)
        self.now = START
        self.permits: list[tuple[Permit, ModelPermit]] = []
        self.told: list[tuple[Permit, ModelPermit]] = []

    def try_admit(self, *, forced: bool) -> None:
        self.state, answer = breaker.admit(self.state, self.policy, self.now, forced=forced)
        expected = self.model.admit(self.now, forced=forced)
        assert isinstance(answer, Permit) == (expected is not None), (answer, self.state)
        if isinstance(answer, Permit):
            assert expected is not None
            assert (answer.serial > 0) == (expected[1] is not None)
            self.permits.append((answer, expected))
        else:
            self.check_refusal(answer.retry_at)

    def check_refusal(self, retry_at: float | None) -> None:
        era = self.model.era
        if era.mode is Mode.FORCED_OPEN:
            assert retry_at is None
        elif era.mode is Mode.OPEN:
            assert retry_at == self.now + era.left
        else:
            assert retry_at == self.now + min(probe.left for probe in era.flying)

    def take(self, index: int) -> tuple[Permit, ModelPermit]:
        taken = self.permits.pop(index % len(self.permits))
        self.told.append(taken)
        return taken

    def report_failure(self, pair: tuple[Permit, ModelPermit], jitter: float) -> None:
        rng = FixedRandom(jitter)
        self.state = breaker.record_failure(self.state, self.policy, pair[0], self.now, rng)
        if self.model.fail(pair[1], self.now):
            assert self.state.mode is Mode.OPEN
            longest = self.model.longest_open()
            assert longest / 2 <= self.state.open_seconds <= longest
            assert self.state.retry_at == self.now + self.state.open_seconds
            reached["cap"] += longest == self.policy.timeout_cap_seconds
            self.model.begin_open(self.now, self.state.open_seconds)

    @rule(forced=st.sampled_from([False, False, False, True]))
    def admit(self, forced: bool) -> None:
        self.try_admit(forced=forced)

    @precondition(lambda self: self.permits)
    @rule(index=chosen)
    def succeed(self, index: int) -> None:
        permit, expected = self.take(index)
        self.state = breaker.record_success(self.state, self.policy, permit, self.now)
        self.model.succeed(expected, self.now)

    @precondition(lambda self: self.permits)
    @rule(index=chosen, jitter=jitters)
    def fail(self, index: int, jitter: float) -> None:
        self.report_failure(self.take(index), jitter)

    @rule(outcomes=st.text("sf", min_size=1, max_size=6), jitter=jitters)
    def several_requests_one_by_one(self, outcomes: str, jitter: float) -> None:
        for outcome in outcomes:
            before = len(self.permits)
            self.try_admit(forced=False)
            if len(self.permits) == before:
                return
            if outcome == "f":
                self.fail(before, jitter)
            else:
                self.succeed(before)

    @precondition(lambda self: self.state.mode in {Mode.OPEN, Mode.HALF_OPEN})
    @rule(jitter=jitters, rounds=st.integers(1, 4))
    def outage_goes_on(self, jitter: float, rounds: int) -> None:
        for _ in range(rounds):
            self.time_reaches_a_deadline(0.0)
            self.several_requests_one_by_one("f", jitter)

    @precondition(lambda self: self.state.mode in {Mode.CLOSED, Mode.OPEN})
    @rule(then=st.sampled_from(["nothing", "killed", "person", "another", "forced open"]))
    def breaker_trips_and_a_probe_is_out(self, then: str) -> None:
        self.several_requests_one_by_one("f" * self.policy.failure_threshold, 0.5)
        self.time_reaches_a_deadline(0.0)
        self.try_admit(forced=False)
        if then == "killed":
            self.probes_are_lost(self.policy.half_open_total_calls)
        elif then == "forced open":
            self.person_sets_a_mode(Mode.FORCED_OPEN, 0)
        elif then != "nothing":
            for _ in range(self.policy.half_open_max_calls):
                self.try_admit(forced=then == "person")

    @precondition(lambda self: self.state.mode is Mode.OPEN)
    @rule(person=st.booleans(), jitter=jitters)
    def early_probe_fails(self, person: bool, jitter: float) -> None:
        if not person:
            self.health_is_good(news=False)
        before = len(self.permits)
        self.try_admit(forced=person)
        if len(self.permits) > before:
            self.fail(before, jitter)
            self.health_is_good(news=False)

    @precondition(lambda self: self.state.mode is Mode.OPEN)
    @rule(seconds=st.sampled_from([5, 30, 86_400]))
    def clock_goes_back_while_open(self, seconds: float) -> None:
        self.now -= seconds
        self.try_admit(forced=False)

    @precondition(lambda self: self.state.mode is Mode.HALF_OPEN)
    @rule(count=st.integers(1, 4))
    def probes_are_lost(self, count: int) -> None:
        for _ in range(count):
            self.now += self.policy.probe_timeout_seconds
            self.try_admit(forced=False)
        self.permits.clear()

    @precondition(lambda self: self.state.mode in {Mode.OPEN, Mode.HALF_OPEN})
    @rule(requests=st.integers(1, 8))
    def service_recovers(self, requests: int) -> None:
        self.time_reaches_a_deadline(0.0)
        for _ in range(requests):
            self.several_requests_one_by_one("s", 0.0)
            self.now += 3

    @precondition(lambda self: self.permits)
    @rule(index=chosen)
    def abandon(self, index: int) -> None:
        permit, expected = self.take(index)
        self.state = breaker.release(self.state, permit)
        self.model.give_back(expected)

    @precondition(lambda self: self.permits)
    @rule()
    def process_is_killed(self) -> None:
        self.permits.clear()

    @precondition(lambda self: any(permit.serial for permit, _ in self.told))
    @rule(index=chosen, good=st.booleans())
    def probe_is_reported_twice(self, index: int, good: bool) -> None:
        probes = [pair for pair in self.told if pair[0].serial]
        permit, expected = probes[index % len(probes)]
        if good:
            self.state = breaker.record_success(self.state, self.policy, permit, self.now)
            self.model.succeed(expected, self.now)
        else:
            self.report_failure((permit, expected), 0.5)

    @rule(seconds=jumps)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.state.retry_at is not None or self.state.probes)
    @rule(off_by=st.sampled_from([-TICK, 0.0, TICK]))
    def time_reaches_a_deadline(self, off_by: float) -> None:
        deadlines = [slot.deadline for slot in self.state.probes]
        self.now = min(deadlines, default=self.state.retry_at or self.now) + off_by

    @rule(news=st.booleans())
    def health_is_good(self, news: bool) -> None:
        self.state = breaker.health_hint(self.state, self.now, news=news)
        self.model.hint(self.now, news=news)

    @precondition(lambda self: self.state.mode in {Mode.CLOSED, Mode.OPEN, Mode.HALF_OPEN})
    @rule(mode=st.sampled_from([Mode.FORCED_OPEN, Mode.FORCED_CLOSED, Mode.DISABLED]), dice=chosen)
    def person_sets_a_mode(self, mode: Mode, dice: int) -> None:
        if dice % 4 and self.state.mode is not Mode.HALF_OPEN:
            return
        action = {
            Mode.FORCED_OPEN: breaker.force_open,
            Mode.FORCED_CLOSED: breaker.force_close,
            Mode.DISABLED: breaker.disable,
        }[mode]
        self.state = action(self.state, self.now)
        self.model.set_by_hand(mode, self.now)

    @precondition(lambda self: self.state.mode not in {Mode.CLOSED, Mode.OPEN, Mode.HALF_OPEN})
    @rule()
    def person_resets(self) -> None:
        self.state = breaker.reset(self.state, self.now)
        self.model.set_by_hand(Mode.CLOSED, self.now)

    @rule()
    def state_is_stored_and_read(self) -> None:
        read = msgspec.json.decode(msgspec.json.encode(self.state), type=BreakerState)
        assert read == self.state
        self.state = read

    @invariant()
    def breaker_and_model_agree(self) -> None:
        state, era = self.state, self.model.era
        reached[f"mode {state.mode}"] += 1
        assert state.mode is era.mode
        assert state.trips == self.model.level
        assert len(state.probes) == len(era.flying) <= self.policy.half_open_max_calls
        assert state.hint_misled == self.model.misled
        if era.mode in {Mode.CLOSED, Mode.FORCED_CLOSED}:
            assert state.consecutive_failures == era.trailing("f")
            assert [*state.outcomes] == [x == "s" for x in era.log[-self.policy.window_size :]]

    @invariant()
    def nothing_waits_for_ever(self) -> None:
        state, _ = breaker.admit(self.state, self.policy, self.now)
        longest = self.policy.longest_open_seconds + self.policy.probe_timeout_seconds
        later, answer = breaker.admit(state, self.policy, self.now + longest)
        assert isinstance(answer, Permit) or later.mode is Mode.FORCED_OPEN


MUST_BE_REACHED = {
    *(f"mode {mode}" for mode in Mode),
    "closed to open",
    "open to half-open",
    "half-open to open",
    "half-open to closed",
    "half-open to half-open",
    "half-open to forced-open",
    "refused while open",
    "refused while half-open",
    "person probes while open",
    "person probes while half-open",
    "tripped by rate alone",
    "hint not believed",
    "probe lost",
    "era without result",
    "open time clamped",
    "outcome ignored",
    "growth forgotten",
    "cap",
}


def test_breaker_agrees_with_the_model_and_every_mode_is_reached():
    reached.clear()
    run_state_machine_as_test(
        BreakerMachine,
        settings=settings(
            max_examples=300,
            stateful_step_count=50,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    missed = {name for name in MUST_BE_REACHED if not reached[name]}
    assert not missed, f"the generator no longer reaches {sorted(missed)}"
