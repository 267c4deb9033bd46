"""A pass that dies before its n-th operation, for every n: started again, it loses nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from pattern_tracker.patterns.identity import pattern_id
from pattern_tracker.spool import MAX_FILE_BYTES
from tests.core import make_drain, make_settings, make_state_dir, put, tally, write_payload
from tests.crash_points import CrashError, crash_points
from tests.fake_clock import FakeClock
from tests.intelligence_faults import Fault, FaultyIntelligence
from tests.oracle import (
    Expected,
    assert_arrived,
    assert_fresh_event_arrives,
    capture_keys,
    run_dry,
    waiting,
)

CREATED = "def a():\n    return 1\n"
CHANGED = "def a():\n    return 2\n"
POISON = "def poison():\n    return 'poison'\n"

# Far beyond any pass here: an enumeration that does not end is a fault of its own.
MOST_POINTS = 2_000


@dataclass(kw_only=True)
class Scenario:
    """What lies in the spool, and what is to come of it."""

    good: list[dict[str, Any]]
    poison: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    turned_away: int = 0
    # Faults that the first requests meet.
    script: list[Fault] = field(default_factory=list)
    # How long before the last pass the files were first seen.
    seen_before_seconds: float = 0.0
    damaged_ledger: bytes = b""

    def prepare(self, state_dir):
        for order, payload in enumerate([*self.good, *self.poison]):
            put(state_dir, payload, mtime=1_749_999_000.0 + order)
        for content in self.raw:
            put(state_dir, content, mtime=1_749_999_500.0)
        with state_dir.turned_away.open("ab") as file:
            file.write(b"." * self.turned_away)
        if self.damaged_ledger:
            state_dir.ledger.write_bytes(self.damaged_ledger)


def write(number):
    return write_payload(f"value_{number} = {number}\n", path=f"/home/u/p/{number}.py")


def edits():
    return [
        write_payload(CREATED),
        write_payload(CHANGED, before=CREATED),
        write_payload(CREATED, before=CHANGED),
        write_payload("def x():\n    return 2\n", path="/home/u/p/x.py", before="# before\n"),
        write_payload(CREATED, path="/home/u/p/copy.py"),
    ]


def poison():
    return [write_payload(POISON, path="/home/u/p/poison.py")]


TORN = json.dumps(write_payload("torn = 1\n")).encode()[:-20]
OVERSIZED = b'{"padding": "' + b"x" * MAX_FILE_BYTES + b'"}'

SCENARIOS = {
    "edits": lambda: Scenario(good=edits()),
    "torn": lambda: Scenario(good=[write(1)], raw=[TORN, b""], seen_before_seconds=61),
    "oversized": lambda: Scenario(good=[write(1)], raw=[OVERSIZED, b"[]"]),
    "poison": lambda: Scenario(good=[write(1), write(2), write(3)], poison=poison()),
    "turned-away": lambda: Scenario(good=[write(1)], turned_away=7),
    "rate-limited": lambda: Scenario(good=[write(1), write(2)], script=[Fault.RATE_LIMITED]),
    "failing": lambda: Scenario(good=[write(1), write(2)], script=[Fault.STATUS_500] * 3),
    "denied": lambda: Scenario(good=[write(1)], script=[Fault.STATUS_401]),
    "no-batches": lambda: Scenario(good=edits(), script=[Fault.STATUS_404]),
    "damaged": lambda: Scenario(good=[write(1), write(2)], damaged_ledger=b"no ledger " * 999),
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_pass_that_dies_before_any_operation_loses_nothing(name, tmp_path, monkeypatch):
    reached = 0
    while await survives(SCENARIOS[name](), reached + 1, tmp_path / str(reached), monkeypatch):
        reached += 1
        assert reached < MOST_POINTS
    print(f"{name}: {reached} crash points")  # shown by `pytest -rP`
    assert reached > 30


@pytest.mark.timeout(240)
async def test_restart_that_dies_too_loses_nothing(tmp_path, monkeypatch):
    """Two deaths: the second at every point of the pass that follows the first."""
    for first in (9, 33, 40, 60, 75):
        reached = 0
        while await survives(
            Scenario(good=edits(), poison=poison()),
            reached + 1,
            tmp_path / f"{first}-{reached}",
            monkeypatch,
            first=first,
        ):
            reached += 3
            assert reached < MOST_POINTS


async def survives(scenario, fatal, root, monkeypatch, *, first=None) -> bool:
    """Check the crash before operation `fatal`; False if the passes ended before it."""
    state_dir, clock = make_state_dir(root), FakeClock()
    scenario.prepare(state_dir)
    async with FaultyIntelligence() as api:
        api.service.poison = {pattern_id("python", POISON)}
        api.script.extend(scenario.script)
        settings = make_settings(state_dir, api.url)
        with crash_points(state_dir.root, monkeypatch) as points:
            if first is not None:
                await dies(points, first, settings, clock, scenario)
            died = await dies(points, fatal, settings, clock, scenario)
        await assert_recovers(api, scenario, settings, clock, state_dir)
    return died


async def dies(points, fatal, settings, clock, scenario) -> bool:
    async with make_drain(settings, clock) as drain:
        try:
            with points.armed(fatal):
                await drain.run_pass()
                clock.advance(scenario.seen_before_seconds)
                await drain.run_pass()
        except CrashError:
            return True
    return False


async def assert_recovers(api, scenario, settings, clock, state_dir):
    """The three questions, and the books."""
    async with make_drain(settings, clock) as drain:
        if not scenario.poison:  # alone, it waits for the proof that only another event gives
            await run_dry(drain, clock, state_dir)
        fresh = await assert_fresh_event_arrives(api, drain, clock, state_dir)
    assert_arrived(api, [*scenario.good, fresh])

    expected = Expected.of([*scenario.good, fresh])
    sums = {
        ("captures", "ingested"): len(expected.keys) + len(scenario.poison),
        ("captures", "quarantined"): len(scenario.raw),
        ("captures", "dropped"): scenario.turned_away,
        ("events", "delivered"): len(expected.codes),
        ("events", "quarantined"): len(scenario.poison),
    }
    assert tally(state_dir) == {book: n for book, n in sums.items() if n}
    assert expected.keys <= capture_keys(state_dir, state="ingested")
    kept = sorted(path.read_bytes() for path in state_dir.quarantine.iterdir())
    assert kept == sorted(scenario.raw)
    assert waiting(state_dir) == 0
    assert not state_dir.ingest_journal.exists()
    if scenario.damaged_ledger:
        kept = [path.read_bytes() for path in state_dir.root.glob("ledger.damaged-*.sqlite3")]
        assert kept == [scenario.damaged_ledger]
