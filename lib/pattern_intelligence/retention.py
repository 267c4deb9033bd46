"""Forgetting what is older than the retention, a little at a time.

Deletes events and code; nodes and edges stay (see `schema`).  The file does not shrink:
freed pages are used again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from pattern_intelligence.errors import StoreUnavailableError

if TYPE_CHECKING:
    from pattern_intelligence.store import Store
    from pattern_tracker.clock import Clock

_log = logging.getLogger(__name__)

_SECONDS_PER_DAY: Final = 86_400
_PERIOD_SECONDS: Final = 3600.0
# One transaction of this size holds requests up for a few milliseconds.
_CHUNK_ROWS: Final = 500
_PAUSE_SECONDS: Final = 0.02


async def forget_expired(store: Store, *, clock: Clock, days: int) -> int:
    """Delete everything older than `days`, in small transactions; returns the rows deleted."""
    moment = clock.now() - days * _SECONDS_PER_DAY
    total = 0
    while forgotten := await store.forget_before(moment, limit=_CHUNK_ROWS):
        total += forgotten
        await clock.sleep(_PAUSE_SECONDS)
    return total


async def keep_forgetting(store: Store, *, clock: Clock, days: int) -> None:
    """Apply the retention now and every hour, until cancelled."""
    while True:
        try:
            await forget_expired(store, clock=clock, days=days)
        except StoreUnavailableError as error:
            # Nothing is lost by keeping it for another hour; health reports the store.
            _log.warning("retention: %s", error)
        await clock.sleep(_PERIOD_SECONDS)
