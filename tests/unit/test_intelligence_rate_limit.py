"""The token bucket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_intelligence.rate_limit import RateLimiter


def test_rate_limiter_admits_a_burst_then_names_the_wait() -> None:
    limiter = RateLimiter(per_minute=60)
    assert [limiter.admit(100.0) for _ in range(60)] == [0.0] * 60
    assert limiter.admit(100.0) == pytest.approx(1.0)


def test_rate_limiter_keeps_its_word_about_the_wait() -> None:
    limiter = RateLimiter(per_minute=1)
    limiter.admit(0.0)
    wait = limiter.admit(10.0)
    assert limiter.admit(10.0 + wait + 1e-6) == 0.0


def test_rate_limiter_is_not_moved_by_a_clock_that_goes_back() -> None:
    limiter = RateLimiter(per_minute=1)
    limiter.admit(100.0)
    assert limiter.admit(50.0) > 0


@given(
    st.integers(1, 30),
    st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=200),
)
def test_rate_limiter_never_admits_more_than_rate_and_burst(
    per_minute: int, pauses: list[float]
) -> None:
    limiter = RateLimiter(per_minute=per_minute)
    now = 0.0
    admitted = 0
    for pause in pauses:
        now += pause
        admitted += limiter.admit(now) == 0.0
        assert admitted <= per_minute + now * per_minute / 60 + 1e-6
