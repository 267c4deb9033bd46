"""The few response headers that decide something.

What this module refuses to do: raise.  A header that makes no sense is no header.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

# A server that asks for more is believed no further; the gate caps lower still.
MAX_RETRY_AFTER_SECONDS: Final = 86_400.0

_SECONDS: Final = re.compile(r"\d{1,300}(?:\.\d{1,300})?", re.ASCII)


def header(headers: Mapping[str, str], name: str) -> str | None:
    """A header by its lower-case name, from any mapping."""
    return next((value for key, value in headers.items() if key.lower() == name), None)


def retry_after_seconds(headers: Mapping[str, str], now: float | None) -> float | None:
    """Seconds that the server asks to wait, or None if it does not or makes no sense.

    RFC 9110, section 10.2.3: seconds or a date.  A date is held against the answer's
    own Date where there is one, so that a wrong clock on this side does no harm.
    Zero, negative and past values are none: to obey them would be not to wait at all,
    and a failure would no longer count as one.
    """
    value = (header(headers, "retry-after") or "").strip()
    if _SECONDS.fullmatch(value):
        seconds = float(value)
    else:
        until = _epoch(value)
        told_at = _epoch(header(headers, "date") or "")
        since = now if told_at is None else told_at
        if until is None or since is None:
            return None
        seconds = until - since
    return min(seconds, MAX_RETRY_AFTER_SECONDS) if seconds > 0 else None


def redirect_target(headers: Mapping[str, str]) -> str:
    """Where a redirect leads, without path and query, which may carry secrets."""
    try:
        parts = urlsplit(header(headers, "location") or "")
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if not host:
        return ""
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def _epoch(http_date: str) -> float | None:
    try:
        return parsedate_to_datetime(http_date).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
