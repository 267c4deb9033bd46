"""Deliberate loss by age: what nobody could deliver, and what nobody looked at.

Rows keep their key and state, so that nothing can come twice and both books still
add up; only contents go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pattern_tracker.ledger import Ledger
    from pattern_tracker.settings import Settings
    from pattern_tracker.state_dir import StateDir

_DAY_MS: Final = 86_400_000


def apply_age_limit(ledger: Ledger, state_dir: StateDir, settings: Settings, *, now: int) -> int:
    """Let go of what came in more than `max_age_days` before `now` (epoch ms).

    Waiting events expire.  Quarantined events lose their bodies, quarantined payloads
    their raw files, which are unredacted.  Returns how many events expired.

    Raises:
        sqlite3.Error, OSError: some of it may be left for the next time.
    """
    entered_before = now - int(settings.max_age_days * _DAY_MS)
    # The file first: a name without a file is harmless, a file without a name stays for good.
    old = ledger.captures.quarantined_files(entered_before=entered_before)
    for _, name in old:
        (state_dir.quarantine / name).unlink(missing_ok=True)
    with ledger.transaction():
        ledger.captures.file_is_gone([capture for capture, _ in old])
        ledger.events.forget_quarantined_bodies(entered_before=entered_before)
        return ledger.events.expire(entered_before=entered_before, now=now)
