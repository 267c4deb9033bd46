from __future__ import annotations

import pytest

from pattern_tracker.errors import PatternTrackerError
from pattern_tracker.resilience.backoff import (
    UNKNOWN_ERROR,
    RetrySchedule,
    believable,
    equal_jitter,
    exponential,
    retry_delay,
)
from pattern_tracker.resilience.policy import PolicyError
from tests.fixed_random import FixedRandom


def test_exponential_doubles_up_to_the_cap():
    delays = [exponential(n, base_seconds=5, cap_seconds=30) for n in range(1, 6)]
    assert delays == [5, 10, 20, 30, 30]


@pytest.mark.parametrize("attempt", [-5, 0, 1])
def test_exponential_before_the_second_attempt_is_the_base(attempt):
    assert exponential(attempt, base_seconds=5, cap_seconds=30) == 5


def test_exponential_of_a_huge_attempt_is_the_cap():
    assert exponential(10**9, base_seconds=5, cap_seconds=900) == 900


@pytest.mark.parametrize(("drawn", "seconds"), [(0.0, 30), (0.5, 45), (1.0, 60)])
def test_equal_jitter_keeps_half(drawn, seconds):
    assert equal_jitter(60, FixedRandom(drawn)) == seconds


def test_retry_delay_is_the_jittered_exponential():
    assert retry_delay(3, FixedRandom(0.5), base_seconds=8, cap_seconds=100) == 24


def test_unknown_error_gets_five_tries_over_an_hour_at_the_least():
    waits = [UNKNOWN_ERROR.delay_after(n, FixedRandom(0.0)) for n in range(1, 6)]
    assert waits[4] is None
    assert sum(wait for wait in waits if wait is not None) >= 3600
    assert UNKNOWN_ERROR.shortest_span_seconds >= 3600


def test_retry_schedule_after_the_last_try_has_no_delay():
    schedule = RetrySchedule(tries=2, base_seconds=1, cap_seconds=10)
    assert schedule.delay_after(1, FixedRandom(0.0)) == 0.5
    assert schedule.delay_after(2, FixedRandom(0.0)) is None
    assert schedule.delay_after(7, FixedRandom(0.0)) is None


@pytest.mark.parametrize(
    ("field", "value"), [("tries", 0), ("tries", True), ("base_seconds", 0), ("cap_seconds", 1)]
)
def test_retry_schedule_with_a_bad_value_names_it(field, value):
    values = {"tries": 3, "base_seconds": 2.0, "cap_seconds": 10.0} | {field: value}
    with pytest.raises(PolicyError, match=field) as caught:
        RetrySchedule(**values)
    assert caught.value.field == field
    assert caught.value.value is value
    assert isinstance(caught.value, PatternTrackerError)


def test_believable_deadline_is_kept_and_an_impossible_one_pulled_near():
    assert believable(110, 100, longest_seconds=20) == 110
    assert believable(50, 100, longest_seconds=20) == 50
    assert believable(900, 100, longest_seconds=20) == 120
