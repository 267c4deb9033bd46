"""Versions of patterns: three numbers, of which a change raises the last."""

from __future__ import annotations

FIRST_VERSION = "1.0.0"

# A number longer than this is not a version that this program has counted up to.
_MAX_DIGITS = 9


def next_version(*versions: str | None) -> str:
    """The version after the newest of `versions`; what is no three numbers counts as 1.0.0."""
    major, minor, patch = max(map(_numbers, versions), default=_numbers(None))
    return f"{major}.{minor}.{patch + 1}"


def _numbers(version: str | None) -> tuple[int, int, int]:
    parts = (version or "").strip().split(".")
    if len(parts) != 3 or not all(_is_number(part) for part in parts):
        parts = FIRST_VERSION.split(".")
    major, minor, patch = map(int, parts)
    return major, minor, patch


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) <= _MAX_DIGITS
