"""The settings' names, and what their text in a variable or their TOML value means.

Only the type is judged here; whether a value is sensible is for `Settings`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal, NamedTuple

Kind = Literal["text", "token", "path", "number", "whole", "switch"]


class Key(NamedTuple):
    """One setting under its three names; the name in the file is `section.key`."""

    field: str
    in_file: str
    variable: str | None
    kind: Kind


KEYS: Final = (
    Key("service_url", "service.url", "INTELLIGENCE_SERVICE_URL", "text"),
    Key("api_token", "service.token", "INTELLIGENCE_API_TOKEN", "token"),
    Key("ca_file", "service.ca_file", None, "path"),
    Key("proxy_url", "service.proxy", None, "token"),
    Key("token_over_plain_http", "service.token_over_plain_http", None, "switch"),
    Key("request_timeout_seconds", "service.timeout", None, "number"),
    Key("tracking_enabled", "tracking.enabled", "PATTERN_TRACKING_ENABLED", "switch"),
    Key("state_dir", "cache.dir", "PATTERN_CACHE_DIR", "path"),
    Key("max_age_days", "cache.max_age_days", "PATTERN_CACHE_MAX_AGE_DAYS", "number"),
    Key("max_size_mb", "cache.max_size_mb", "PATTERN_CACHE_MAX_SIZE_MB", "number"),
    Key(
        "breaker_failure_threshold",
        "breaker.failure_threshold",
        "CIRCUIT_BREAKER_FAILURE_THRESHOLD",
        "whole",
    ),
    Key("breaker_timeout_seconds", "breaker.timeout", "CIRCUIT_BREAKER_TIMEOUT", "number"),
    Key("health_interval_seconds", "health.interval", "HEALTH_CHECK_INTERVAL", "number"),
    Key("health_timeout_seconds", "health.timeout", "HEALTH_CHECK_TIMEOUT", "number"),
)
# The file may name another file that holds the token; it is not a setting of its own.
TOKEN_FILE_KEY: Final = "service.token_file"  # noqa: S105 - the name of a key

_SWITCH: Final = {
    "true": True, "1": True, "yes": True, "on": True,
    "false": False, "0": False, "no": False, "off": False,
}  # fmt: skip


def from_text(kind: Kind, text: str) -> object:
    """The value that a variable's text stands for.

    Raises:
        ValueError: says what it must be.
    """
    if kind == "switch":
        if text.strip().lower() not in _SWITCH:
            raise ValueError("must be true or false")
        return _SWITCH[text.strip().lower()]
    if kind == "number":
        return _parsed(float, text, "must be a number")
    if kind == "whole":
        return _parsed(int, text, "must be a whole number")
    return from_toml(kind, text.strip())


def _parsed(parse: type[int | float], text: str, problem: str) -> int | float:
    try:
        return parse(text)
    except ValueError:
        raise ValueError(problem) from None


def from_toml(kind: Kind, raw: object) -> object:
    """The value, if TOML gave it the right type.

    Raises:
        ValueError: says what it must be.
    """
    if kind == "switch":
        if isinstance(raw, bool):
            return raw
        raise ValueError("must be true or false, without quotes")
    if kind in {"number", "whole"}:
        accepted = int if kind == "whole" else (int, float)
        if isinstance(raw, accepted) and not isinstance(raw, bool):
            return raw if kind == "whole" else _parsed(float, str(raw), "must be a number")
        raise ValueError("must be a " + ("whole number" if kind == "whole" else "number"))
    if not isinstance(raw, str) or not raw:
        raise ValueError("must be text in quotes, not empty")
    return expanded_path(raw) if kind == "path" else raw


def expanded_path(text: str) -> Path:
    """`text` with a leading `~` replaced.

    Raises:
        ValueError: it is relative, which would depend on where a hook happens to run.
    """
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - Path's version raises for an unknown user
    if not path.is_absolute():
        raise ValueError("must be an absolute path (or start with ~/)")
    return path
