from __future__ import annotations

import pytest

from pattern_tracker.resilience.health import (
    HealthPolicy,
    HealthState,
    after_check,
    due,
    due_at,
    known_bad,
)
from pattern_tracker.resilience.policy import PolicyError
from tests.fixed_random import FixedRandom

POLICY = HealthPolicy()
NOW = 1_750_000_000.0


def checked(healthy, *, times=1, breaker_open=False, drawn=0.5, state=None):
    state = state or HealthState()
    for _ in range(times):
        state = after_check(
            state, NOW, FixedRandom(drawn), healthy=healthy, breaker_open=breaker_open
        )
    return state


def pause(state, *, breaker_open=False):
    return due_at(state, POLICY, NOW, breaker_open=breaker_open) - NOW


def test_health_never_checked_is_due():
    assert due(HealthState(), POLICY, NOW, breaker_open=False)


def test_health_answer_is_cached_for_the_interval():
    state = checked(True)
    assert not due(state, POLICY, NOW + 29.9, breaker_open=False)
    assert due(state, POLICY, NOW + 30, breaker_open=False)


@pytest.mark.parametrize(("drawn", "seconds"), [(0.0, 24), (0.5, 30), (1.0, 36)])
def test_health_pause_is_jittered_by_a_fifth(drawn, seconds):
    assert pause(checked(True, drawn=drawn)) == pytest.approx(seconds)


def test_health_pause_grows_to_a_cap_while_the_breaker_is_open():
    pauses = [
        pause(checked(False, times=n, breaker_open=True), breaker_open=True) for n in range(6)
    ]
    assert pauses == [0, 60, 120, 240, 300, 300]


def test_health_pause_grows_while_open_also_if_all_answers_are_good():
    assert pause(checked(True, times=3, breaker_open=True), breaker_open=True) == 240


def test_health_pause_is_the_interval_again_once_the_breaker_has_closed():
    state = checked(False, times=4, breaker_open=True)
    assert pause(state, breaker_open=False) == 30
    assert pause(checked(True, state=state), breaker_open=True) == 30


def test_health_check_is_due_after_the_clock_went_back():
    assert due(checked(True), POLICY, NOW - 86_400, breaker_open=False)


def test_health_counts_answers_in_a_row():
    state = checked(False, times=2, state=checked(True, times=3))
    assert (state.consecutive_successes, state.consecutive_failures) == (0, 2)
    state = checked(True, state=state)
    assert (state.consecutive_successes, state.consecutive_failures) == (1, 0)


def test_health_answer_that_told_nothing_counts_neither_way():
    state = checked(None, state=checked(False))
    assert (state.healthy, state.consecutive_successes, state.consecutive_failures) == (None, 0, 0)
    assert not known_bad(state, POLICY, NOW)


def test_health_known_bad_is_forgotten_when_it_is_old():
    state = checked(False)
    assert known_bad(state, POLICY, NOW)
    assert known_bad(state, POLICY, NOW + 600)
    assert not known_bad(state, POLICY, NOW + 86_400)
    assert not known_bad(state, POLICY, NOW - 86_400)


@pytest.mark.parametrize("state", [HealthState(), checked(True)])
def test_health_good_or_unknown_is_not_known_bad(state):
    assert not known_bad(state, POLICY, NOW)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("interval_seconds", 0),
        ("interval_seconds", float("nan")),
        ("interval_cap_seconds", float("inf")),
        ("timeout_seconds", -1),
        ("timeout_seconds", 31),
    ],
)
def test_health_policy_with_a_bad_value_names_it(field, value):
    with pytest.raises(PolicyError) as caught:
        HealthPolicy(**{field: value})
    assert caught.value.field == field


def test_health_policy_with_an_interval_above_the_cap_keeps_the_interval():
    policy = HealthPolicy(interval_seconds=1000)
    state = checked(False, times=5, breaker_open=True)
    assert due_at(state, policy, NOW, breaker_open=True) - NOW == pytest.approx(1000)


def test_health_repr_is_one_line_with_the_counts():
    state = after_check(
        HealthState(),
        NOW,
        FixedRandom(0.0),
        healthy=False,
        breaker_open=False,
        reason="connection refused",
    )
    assert repr(state) == ("<health unwell: 0 good and 1 bad answers in a row, connection refused>")
