from __future__ import annotations

import pytest

from pattern_tracker.patterns.version import next_version


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.0.3", "1.0.4"),
        ("2.7.99", "2.7.100"),
        (" 1.0.0 ", "1.0.1"),
        (None, "1.0.1"),
        ("", "1.0.1"),
        ("1.0", "1.0.1"),
        ("1.0.x", "1.0.1"),
        ("1.0.-3", "1.0.1"),
        ("1.0.\u0663", "1.0.1"),
        ("1.0." + "9" * 5000, "1.0.1"),
    ],
)
def test_next_version(version: str | None, expected: str) -> None:
    assert next_version(version) == expected
