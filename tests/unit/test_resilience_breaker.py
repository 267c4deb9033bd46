from __future__ import annotations

import msgspec
import pytest

from pattern_tracker.resilience import breaker
from pattern_tracker.resilience.breaker_state import (
    BreakerPolicy,
    BreakerState,
    Mode,
    Permit,
    Refusal,
)
from pattern_tracker.resilience.policy import PolicyError
from tests.fixed_random import FixedRandom

POLICY = BreakerPolicy()
NOW = 1_750_000_000.0
HIGHEST = FixedRandom(1.0)  # open times without reduction: 60, 120, 240, ...


def admitted(state, now=NOW, policy=POLICY, *, forced=False):
    state, answer = breaker.admit(state, policy, now, forced=forced)
    assert isinstance(answer, Permit), answer
    return state, answer


def refused(state, now=NOW, policy=POLICY, *, forced=False):
    state, answer = breaker.admit(state, policy, now, forced=forced)
    assert isinstance(answer, Refusal), answer
    return state, answer


def request(state, outcome, now=NOW, policy=POLICY, rng=HIGHEST):
    state, permit = admitted(state, now, policy)
    if outcome == "s":
        return breaker.record_success(state, policy, permit, now)
    return breaker.record_failure(state, policy, permit, now, rng)


def after(outcomes, policy=POLICY, rng=HIGHEST):
    state = BreakerState()
    for outcome in outcomes:
        state = request(state, outcome, policy=policy, rng=rng)
    return state


def retry_at(state):
    assert state.retry_at is not None
    return state.retry_at


def test_breaker_below_the_threshold_stays_closed():
    assert after("ff").mode is Mode.CLOSED
    assert after("ffsff").mode is Mode.CLOSED


def test_breaker_at_the_threshold_opens_and_refuses_until_the_timeout():
    state = after("fff")
    assert (state.mode, state.since, state.opened_at) == (Mode.OPEN, NOW, NOW)
    state, refusal = refused(state, NOW + 59)
    assert refusal.retry_at == NOW + 60
    state, _ = admitted(state, NOW + 60)
    assert state.mode is Mode.HALF_OPEN


@pytest.mark.parametrize(("drawn", "seconds"), [(0.0, 30), (0.5, 45), (1.0, 60)])
def test_breaker_open_time_is_never_below_half(drawn, seconds):
    assert retry_at(after("fff", rng=FixedRandom(drawn))) == NOW + seconds


def test_breaker_failure_rate_counts_only_from_the_minimum_on():
    assert after("sfsfsfsf" + "s").mode is Mode.CLOSED
    assert after("sfsfsfsfsf").mode is Mode.OPEN


def test_breaker_failure_rate_looks_at_the_window_only():
    assert after("s" * 30 + "fsf" * 2 + "sf").mode is Mode.CLOSED
    assert len(after("s" * 30).outcomes) == POLICY.window_size


def test_breaker_failure_rate_reached_by_a_success_does_not_trip():
    assert after("ffsffsffs" + "s").mode is Mode.CLOSED


def test_breaker_half_open_admits_one_probe_at_a_time():
    state, _ = admitted(after("fff"), NOW + 60)
    _, refusal = refused(state, NOW + 61)
    assert refusal.retry_at == NOW + 60 + POLICY.probe_timeout_seconds


def test_breaker_half_open_success_closes_and_clears_the_counts():
    state = request(after("fff"), "s", NOW + 60)
    assert (state.mode, state.consecutive_failures, state.outcomes) == (Mode.CLOSED, 0, ())
    assert (state.opened_at, state.retry_at, state.probes) == (None, None, ())


def test_breaker_half_open_with_a_success_threshold_needs_that_many():
    policy = BreakerPolicy(success_threshold=2)
    state = request(after("fff", policy), "s", NOW + 60, policy)
    assert state.mode is Mode.HALF_OPEN
    assert request(state, "s", NOW + 61, policy).mode is Mode.CLOSED


def test_breaker_half_open_failure_opens_for_twice_as_long_up_to_the_cap():
    state, open_times = after("fff"), []
    for _ in range(6):
        open_times.append(retry_at(state) - state.since)
        state = request(state, "f", retry_at(state))
    assert open_times == [60, 120, 240, 480, 900, 900]
    assert state.opened_at == NOW


def test_breaker_trip_soon_after_closing_keeps_the_growth():
    state = request(after("fff"), "s", NOW + 60)
    for _ in range(3):
        state = request(state, "f", NOW + 61)
    assert retry_at(state) == NOW + 61 + 120


@pytest.mark.parametrize(
    ("successes", "seconds", "trips"), [(5, 60, 0), (4, 60, 1), (5, 59, 1), (50, 0, 1)]
)
def test_breaker_growth_is_forgotten_after_enough_successes_and_time(successes, seconds, trips):
    state = request(after("fff"), "s", NOW + 60)
    for _ in range(successes):
        state = request(state, "s", NOW + 60 + seconds)
    assert state.trips == trips


def test_breaker_outcome_of_an_earlier_era_is_ignored():
    state, late = admitted(BreakerState())
    for _ in range(3):
        state = request(state, "f")
    state, _ = admitted(state, NOW + 60)
    assert breaker.record_success(state, POLICY, late, NOW + 60) == state
    assert breaker.record_failure(state, POLICY, late, NOW + 60, HIGHEST) == state


def test_breaker_probe_reported_twice_counts_once():
    policy = BreakerPolicy(success_threshold=2)
    state, probe = admitted(after("fff", policy), NOW + 60, policy)
    state = breaker.record_success(state, policy, probe, NOW + 60)
    assert breaker.record_success(state, policy, probe, NOW + 60) == state


def test_breaker_released_probe_gives_back_slot_and_count():
    before = breaker.settle(after("fff"), POLICY, NOW)
    state, probe = admitted(before, NOW + 60)
    state = breaker.release(state, probe)
    assert (state.probes, state.probes_admitted) == ((), 0)
    assert breaker.release(state, probe) == state
    admitted(state, NOW + 60)


def test_breaker_probe_of_a_killed_process_gives_back_its_slot_at_the_deadline():
    state, lost = admitted(after("fff"), NOW + 60)
    deadline = NOW + 60 + POLICY.probe_timeout_seconds
    refused(state, deadline - 1)
    state, _ = admitted(state, deadline)
    assert breaker.record_success(state, POLICY, lost, deadline).mode is Mode.HALF_OPEN


def test_breaker_era_whose_probes_are_all_lost_opens_again_without_growth():
    policy = BreakerPolicy(half_open_total_calls=2)
    state, now = after("fff", policy), NOW + 60
    for _ in range(2):
        state, _ = admitted(state, now, policy)
        now += policy.probe_timeout_seconds
    state, refusal = refused(state, now, policy)
    assert (state.mode, state.trips, refusal.retry_at) == (Mode.OPEN, 1, now + 60)


def test_breaker_health_hint_makes_open_half_open():
    state = breaker.health_hint(after("fff"), NOW + 1)
    assert state.mode is Mode.HALF_OPEN
    assert request(state, "s", NOW + 2).mode is Mode.CLOSED


def test_breaker_health_hint_that_misled_is_believed_only_when_it_is_news():
    state = request(breaker.health_hint(after("fff"), NOW + 1), "f", NOW + 1)
    assert (state.mode, state.trips) == (Mode.OPEN, 1)
    assert breaker.health_hint(state, NOW + 2) == state
    assert breaker.health_hint(state, NOW + 2, news=True).mode is Mode.HALF_OPEN
    state = request(state, "s", retry_at(state))
    assert not state.hint_misled


@pytest.mark.parametrize(
    "change", [breaker.force_open, breaker.force_close, breaker.disable, breaker.reset]
)
def test_breaker_health_hint_changes_nothing_but_open(change):
    state = change(after("fff"), NOW)
    assert breaker.health_hint(state, NOW + 1) == state


def test_breaker_person_probes_while_open_without_making_the_wait_grow():
    state, probe = admitted(after("fff"), NOW + 1, forced=True)
    assert state.mode is Mode.HALF_OPEN
    state = breaker.record_failure(state, POLICY, probe, NOW + 1, HIGHEST)
    assert (state.mode, state.trips, state.retry_at) == (Mode.OPEN, 1, NOW + 61)


def test_breaker_person_probes_while_another_probe_is_out():
    state, other = admitted(after("fff"), NOW + 60)
    state, _ = admitted(state, NOW + 61, forced=True)
    assert len(state.probes) == 1
    assert not breaker.counts(state, other)


def test_breaker_forced_open_refuses_even_a_person_until_reset():
    state = breaker.force_open(BreakerState(), NOW)
    _, refusal = refused(state, NOW + 10**6, forced=True)
    assert refusal.retry_at is None
    admitted(breaker.reset(state, NOW))


def test_breaker_forced_closed_counts_failures_and_never_trips():
    state = breaker.force_close(after("fff"), NOW)
    for _ in range(20):
        state = request(state, "f")
    assert (state.mode, state.consecutive_failures) == (Mode.FORCED_CLOSED, 20)


def test_breaker_disabled_admits_and_keeps_no_record():
    disabled = breaker.disable(after("fff"), NOW)
    state = disabled
    for outcome in "ffffs":
        state = request(state, outcome)
    assert state == disabled


def test_breaker_reset_ignores_what_was_in_flight():
    state, permit = admitted(BreakerState())
    state = breaker.reset(state, NOW)
    assert breaker.record_failure(state, POLICY, permit, NOW, HIGHEST) == state


def test_breaker_open_when_the_clock_goes_back_waits_no_longer_than_its_open_time():
    state, refusal = refused(after("fff"), NOW - 86_400)
    assert refusal.retry_at == NOW - 86_400 + 60
    admitted(state, NOW - 86_400 + 60)


def test_breaker_open_when_the_clock_goes_forward_a_day_probes():
    admitted(after("fff"), NOW + 86_400)


def test_breaker_open_under_a_shorter_cap_waits_no_longer_than_that():
    state = msgspec.structs.replace(after("fff"), open_seconds=10_000.0, retry_at=NOW + 10_000)
    _, refusal = refused(state)
    assert refusal.retry_at == NOW + POLICY.longest_open_seconds


def test_breaker_probe_slot_when_the_clock_goes_back_is_lost_after_its_timeout():
    state, _ = admitted(after("fff"), NOW + 60)
    state, refusal = refused(state, NOW - 86_400)
    assert refusal.retry_at == NOW - 86_400 + POLICY.probe_timeout_seconds


def test_breaker_after_ten_thousand_trips_is_at_the_cap():
    state = msgspec.structs.replace(after("fff"), trips=10_000)
    state = request(state, "f", NOW + 60)
    assert retry_at(state) == NOW + 60 + 900


@pytest.mark.parametrize("mode", list(Mode))
def test_breaker_state_of_an_older_or_newer_version_is_read(mode):
    stored = msgspec.json.encode({"mode": mode, "colour": "blue", "era": 7})
    state = msgspec.json.decode(stored, type=BreakerState)
    assert (state.mode, state.era) == (mode, 7)
    breaker.admit(state, POLICY, NOW)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("failure_threshold", 0),
        ("failure_threshold", 1.5),
        ("failure_rate", 0),
        ("failure_rate", 1.1),
        ("failure_rate", float("nan")),
        ("window_minimum", 21),
        ("timeout_seconds", 0),
        ("timeout_cap_seconds", float("inf")),
        ("half_open_max_calls", 0),
        ("success_threshold", 11),
        ("stable_successes", 0),
        ("probe_timeout_seconds", -1),
    ],
)
def test_breaker_policy_with_a_bad_value_names_it(field, value):
    with pytest.raises(PolicyError, match=field) as caught:
        BreakerPolicy(**{field: value})
    assert (caught.value.field, repr(caught.value.value)) == (field, repr(value))


def test_breaker_repr_is_one_line_with_mode_and_counts():
    assert repr(after("fff")) == (
        "<breaker open: 3 failures in a row, 1 trips, 0 probes in flight,"
        " retry at 1750000060, era 1>"
    )
