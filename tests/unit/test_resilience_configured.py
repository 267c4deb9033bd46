from __future__ import annotations

from pattern_tracker.resilience.configured import gate_policy
from pattern_tracker.settings import Settings


def test_gate_policy_takes_the_users_numbers(tmp_path):
    settings = Settings(
        state_dir=tmp_path,
        breaker_failure_threshold=7,
        breaker_timeout_seconds=11,
        health_interval_seconds=2,
        health_timeout_seconds=9,
    )
    policy = gate_policy(settings)
    assert policy.breaker.failure_threshold == 7
    assert policy.breaker.timeout_seconds == 11
    assert policy.health.interval_seconds == 2
    assert policy.health.timeout_seconds == 2  # a check is never longer than the pause between two
