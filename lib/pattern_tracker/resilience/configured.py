"""The gate's numbers as the user configured them; everything else keeps its default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pattern_tracker.resilience.breaker_state import BreakerPolicy
from pattern_tracker.resilience.gate_state import GatePolicy
from pattern_tracker.resilience.health import HealthPolicy

if TYPE_CHECKING:
    from pattern_tracker.settings import Settings


def gate_policy(settings: Settings) -> GatePolicy:
    """The policy of every destination's gate."""
    return GatePolicy(
        breaker=BreakerPolicy(
            failure_threshold=settings.breaker_failure_threshold,
            timeout_seconds=settings.breaker_timeout_seconds,
        ),
        health=HealthPolicy(
            interval_seconds=settings.health_interval_seconds,
            timeout_seconds=min(settings.health_timeout_seconds, settings.health_interval_seconds),
        ),
    )
