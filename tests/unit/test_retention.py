from __future__ import annotations

from typing import TYPE_CHECKING

from pattern_tracker.events import EventState
from pattern_tracker.ledger import Ledger
from pattern_tracker.retention import apply_age_limit
from tests.core import make_settings, make_state_dir, one_pass, put, tally, write_payload
from tests.fake_clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from pattern_tracker.state_dir import StateDir

DAY_SECONDS = 86_400
# Nothing listens there: what is taken in waits.
URL = "http://127.0.0.1:9"


async def quarantined_payload(state_dir: StateDir, clock: FakeClock) -> None:
    put(state_dir, b'["not an object"]', mtime=clock.now())
    await one_pass(make_settings(state_dir, URL), clock)


def apply(state_dir: StateDir, clock: FakeClock) -> int:
    with Ledger(state_dir.ledger) as ledger:
        settings = make_settings(state_dir, URL, max_age_days=7)
        return apply_age_limit(ledger, state_dir, settings, now=int(clock.now() * 1000))


async def test_raw_payload_in_quarantine_goes_with_age_and_its_row_stays(tmp_path: Path) -> None:
    state_dir, clock = make_state_dir(tmp_path / "s"), FakeClock()
    await quarantined_payload(state_dir, clock)
    assert len(list(state_dir.quarantine.iterdir())) == 1

    clock.advance(6.9 * DAY_SECONDS)
    apply(state_dir, clock)
    assert len(list(state_dir.quarantine.iterdir())) == 1

    clock.advance(0.2 * DAY_SECONDS)
    apply(state_dir, clock)
    assert not list(state_dir.quarantine.iterdir())
    assert tally(state_dir) == {("captures", "quarantined"): 1}


async def test_file_already_deleted_by_hand_is_no_obstacle(tmp_path: Path) -> None:
    state_dir, clock = make_state_dir(tmp_path / "s"), FakeClock()
    await quarantined_payload(state_dir, clock)
    for file in state_dir.quarantine.iterdir():
        file.unlink()

    clock.advance(8 * DAY_SECONDS)

    assert apply(state_dir, clock) == 0


async def test_event_that_waits_too_long_expires_and_keeps_its_key(tmp_path: Path) -> None:
    state_dir, clock = make_state_dir(tmp_path / "s"), FakeClock()
    payload = write_payload("x = 1\n")
    put(state_dir, payload, mtime=clock.now())
    await one_pass(make_settings(state_dir, URL), clock)

    clock.advance(8 * DAY_SECONDS)
    assert apply(state_dir, clock) == 1
    put(state_dir, payload, mtime=clock.now())
    await one_pass(make_settings(state_dir, URL), clock)

    assert tally(state_dir) == {("captures", "ingested"): 1, ("events", EventState.EXPIRED): 1}
