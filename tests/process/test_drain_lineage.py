"""Parents that are late, or gone for good, and destinations that are not the ones of before."""

from __future__ import annotations

import pytest

from pattern_tracker.patterns.identity import pattern_id
from pattern_tracker.stats import collect_stats
from tests.core import event_states, make_drain, make_settings, make_state_dir, put, write_payload
from tests.fake_clock import FakeClock
from tests.intelligence_faults import Fault, FaultyIntelligence
from tests.oracle import Expected, assert_arrived, assert_books, run_dry

A = "def a():\n    return 1\n"
B = "def a():\n    return 2\n"


@pytest.fixture
def state_dir(tmp_path):
    return make_state_dir(tmp_path / "state")


def stored(api, code):
    """The last event that the server stored about `code`."""
    return [event for event in api.service.events if event["pattern_data"].get("code") == code][-1]


async def test_server_that_lost_its_database_gets_the_change_as_an_orphan(state_dir):
    clock = FakeClock()
    async with FaultyIntelligence() as api:
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            put(state_dir, write_payload(A))
            await run_dry(drain, clock, state_dir)
            api.service.nodes.clear()
            put(state_dir, write_payload(B, before=A))
            await run_dry(drain, clock, state_dir)

        orphan = stored(api, B)
    assert orphan["event_type"] == "pattern_created"
    assert orphan["pattern_data"]["orphan_of"] == [pattern_id("python", A)]
    assert orphan["pattern_data"]["original_event_type"] == "pattern_modified"
    assert event_states(state_dir) == [("pattern_created", "delivered")] * 2


async def test_server_that_lost_its_database_gets_a_copy_as_a_creation(state_dir):
    clock = FakeClock()
    async with FaultyIntelligence() as api:
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            put(state_dir, write_payload(A))
            await run_dry(drain, clock, state_dir)
            api.service.nodes.clear()
            put(state_dir, write_payload(A, path="/home/user/project/copy.py"))
            await run_dry(drain, clock, state_dir)

        assert stored(api, A)["pattern_data"]["orphan_of"] == [pattern_id("python", A)]
        assert len(api.nodes) == 1


async def test_child_waits_for_a_parent_that_the_server_puzzles_over(state_dir):
    clock = FakeClock()
    payloads = [
        write_payload("print('other')\n", path="/home/user/project/other.py"),
        write_payload(A),
        write_payload(B, before=A),
    ]
    for order, payload in enumerate(payloads):
        put(state_dir, payload, mtime=1_749_999_000.0 + order)
    async with FaultyIntelligence() as api:
        api.service.refuse = {pattern_id("python", A): ("SomethingNewError", "what is this")}
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            await drain.run_pass()
            api.service.refuse = {}
            await run_dry(drain, clock, state_dir)

        assert stored(api, B)["event_type"] == "pattern_modified"
        assert_arrived(api, payloads)
    assert_books(state_dir, payloads)


async def test_child_of_a_quarantined_parent_goes_as_an_orphan(state_dir):
    clock = FakeClock()
    for order, payload in enumerate(
        [
            write_payload("print('other')\n", path="/home/user/project/other.py"),
            write_payload(A),
            write_payload(B, before=A),
        ]
    ):
        put(state_dir, payload, mtime=1_749_999_000.0 + order)
    async with FaultyIntelligence() as api:
        api.service.poison = {pattern_id("python", A)}
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            await run_dry(drain, clock, state_dir)

        assert stored(api, B)["pattern_data"]["orphan_of"] == [pattern_id("python", A)]
    assert sorted(state for _, state in event_states(state_dir)) == [
        "delivered",
        "delivered",
        "quarantined",
    ]


async def test_content_that_returns_to_where_it_was_is_told_in_full(state_dir):
    clock = FakeClock()
    payloads = [
        write_payload(A),
        write_payload(B, before=A),
        write_payload(A, before=B),
        write_payload(B, before=A),
    ]
    for order, payload in enumerate(payloads):
        put(state_dir, payload, mtime=1_749_999_000.0 + order)
    async with FaultyIntelligence() as api:
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            await run_dry(drain, clock, state_dir)
        assert_arrived(api, payloads)
        assert len(api.nodes) == len(payloads)
    assert_books(state_dir, payloads)


async def test_dead_destination_keeps_its_events_and_delays_no_other(state_dir):
    clock = FakeClock()
    old = [write_payload(f"old_{n} = {n}\n", path=f"/home/u/old{n}.py") for n in range(5)]
    new = [write_payload(f"new_{n} = {n}\n", path=f"/home/u/new{n}.py") for n in range(5)]
    async with FaultyIntelligence() as first, FaultyIntelligence() as second:
        first.mode = Fault.STATUS_500
        for payload in old:
            put(state_dir, payload)
        to_first = make_settings(state_dir, first.url)
        async with make_drain(to_first, clock) as drain:
            for _ in range(4):
                await drain.run_pass()

        for payload in new:
            put(state_dir, payload)
        to_second = make_settings(state_dir, second.url)
        async with make_drain(to_second, clock) as drain:
            for _ in range(3):
                await drain.run_pass()
                clock.advance(600)
        assert_arrived(second, new)
        assert first.service.events == []
        shown = collect_stats(to_second, state_dir, now=clock.now())
        assert shown["gate"]["state"] == "sending"
        assert shown["waiting_elsewhere"] == {first.url: len(old)}

        first.mode = Fault.OK
        async with make_drain(to_first, clock) as drain:
            await run_dry(drain, clock, state_dir)
        assert_arrived(first, old)
        assert_arrived(second, new)
    assert_books(state_dir, [*old, *new])


async def test_change_of_destination_while_files_lie_in_the_spool_ships_only_these(state_dir):
    clock = FakeClock()
    async with FaultyIntelligence() as first, FaultyIntelligence() as second:
        put(state_dir, write_payload(A))
        async with make_drain(make_settings(state_dir, first.url), clock) as drain:
            await run_dry(drain, clock, state_dir)
        # The second one has never heard of A, so it gets it first.
        edit = write_payload(B, before=A)
        put(state_dir, edit)
        async with make_drain(make_settings(state_dir, second.url), clock) as drain:
            await run_dry(drain, clock, state_dir)

        assert_arrived(second, [edit])
        assert len(Expected.of([edit]).codes) == 2
        assert len(first.service.events) == 1
