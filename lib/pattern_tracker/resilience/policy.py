"""Checks on configured numbers, made when a policy is built.

It refuses to repair a value: a threshold of 0 is an error to be told, not a 1.
"""

from __future__ import annotations

import math

from pattern_tracker.errors import PatternTrackerError


class PolicyError(PatternTrackerError, ValueError):
    """A policy was built with a number that it cannot work with."""

    def __init__(self, *, field: str, value: object, problem: str) -> None:
        self.field = field
        self.value = value
        self.problem = problem
        super().__init__(f"{field} = {value!r}: {problem}")


def check_count(field: str, value: object, *, at_least: int = 1) -> None:
    """Raise `PolicyError` unless `value` is a whole number of `at_least` or more."""
    # True is an int to Python, and never what somebody meant by a count.
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise PolicyError(
            field=field, value=value, problem=f"use a whole number of {at_least} or more"
        )


def check_seconds(field: str, value: float) -> None:
    """Raise `PolicyError` unless `value` is a finite number above zero."""
    if not (math.isfinite(value) and value > 0):
        raise PolicyError(field=field, value=value, problem="use a number of seconds above 0")


def check_share(field: str, value: float) -> None:
    """Raise `PolicyError` unless `value` lies in (0, 1]."""
    if not 0 < value <= 1:
        raise PolicyError(field=field, value=value, problem="use a share above 0 and up to 1")
