"""When the next pass is due."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pattern_daemon import pacing
from pattern_daemon.pacing import Pace, after_failure, after_pass
from pattern_tracker.delivery import DeliveryReport
from pattern_tracker.drain import PassReport
from pattern_tracker.ingest import IngestReport

NOW = 1_750_000_000.0


def test_unfinished_pass_is_followed_at_once() -> None:
    assert after_pass(Pace(), PassReport(more=True), NOW) == (Pace(), 0.0)


def test_nothing_to_do_waits_for_minutes() -> None:
    assert after_pass(Pace(), PassReport(), NOW)[1] == pacing.IDLE_SECONDS


def test_unparsed_payload_is_looked_at_again_soon_then_less_often() -> None:
    pace, pauses = Pace(), []
    for _ in range(10):
        pace, pause = after_pass(pace, PassReport(spooled=1), NOW)
        pauses.append(pause)
    assert pauses[0] == pacing.FIRST_RELOOK_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == pacing.LAST_RELOOK_SECONDS


def test_gate_names_the_time_within_bounds() -> None:
    def pause(seconds: float) -> float:
        report = PassReport(delivery=DeliveryReport(next_try_at=NOW + seconds, reason="x"))
        return after_pass(Pace(), report, NOW)[1]

    assert pause(7) == 7
    assert pause(-100) == pacing.FIRST_FLOOR_SECONDS
    assert pause(3600) == pacing.LONGEST_WAIT_SECONDS


def test_failed_request_is_tried_again_soon_then_less_often() -> None:
    pace, pauses = Pace(), []
    for _ in range(8):
        report = PassReport(delivery=DeliveryReport(reason="refused"))
        pace, pause = after_pass(pace, report, NOW)
        pauses.append(pause)
    assert pauses[0] == pacing.FIRST_RETRY_SECONDS
    assert pauses[-1] == pacing.LONGEST_WAIT_SECONDS


def test_failing_passes_back_off_until_one_works() -> None:
    pace, pauses = Pace(), []
    for _ in range(12):
        pace, pause = after_failure(pace)
        pauses.append(pause)
    assert pauses[0] == pacing.FIRST_BACKOFF_SECONDS
    assert pauses[-1] == pacing.LAST_BACKOFF_SECONDS
    assert after_pass(pace, PassReport(), NOW)[0].failures == 0


@given(
    spooled=st.integers(0, 3),
    moved=st.integers(0, 2),
    offset=st.none() | st.floats(-1e6, 1e6),
    reason=st.sampled_from(["", "x"]),
    fruitless=st.integers(0, 100),
)
def test_passes_that_move_nothing_never_spin_and_nothing_that_waits_is_forgotten(
    spooled: int, moved: int, offset: float | None, reason: str, fruitless: int
) -> None:
    next_try_at = None if offset is None else NOW + offset
    report = PassReport(
        spooled=spooled,
        ingest=IngestReport(captures=moved),
        delivery=DeliveryReport(next_try_at=next_try_at, reason=reason),
        damaged=Path("x"),
    )
    _, pause = after_pass(Pace(fruitless=fruitless), report, NOW)
    assert pause >= pacing.FIRST_RELOOK_SECONDS
    if spooled or reason or next_try_at is not None:
        assert pause <= pacing.LONGEST_WAIT_SECONDS
