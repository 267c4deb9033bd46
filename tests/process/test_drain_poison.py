"""Events that the server will not have: never before good ones, never condemned without proof."""

from __future__ import annotations

import pytest

from pattern_tracker.ledger.summary import read_events
from pattern_tracker.patterns.identity import pattern_id
from tests.core import make_drain, make_settings, make_state_dir, put, tally, write_payload
from tests.fake_clock import FakeClock
from tests.intelligence_faults import Fault, FaultyIntelligence
from tests.oracle import assert_arrived, batch_sizes, run_dry, waiting

GOOD = 9
BAD_CODE = "def bad():\n    return 'bad'\n"
BAD = pattern_id("python", BAD_CODE)

NO_DATA = ("StringDataRightTruncationError", "value too long for type character varying(255)")
NEVER_SEEN = ("SomethingNewError", "nobody has seen this one")


def good(number):
    return write_payload(f"def g{number}():\n    return {number}\n", path=f"/home/u/p/g{number}.py")


def put_with_bad_at(state_dir, place):
    payloads = [good(number) for number in range(GOOD)]
    bad = write_payload(BAD_CODE, path="/home/u/p/bad.py")
    for order, payload in enumerate([*payloads[:place], bad, *payloads[place:]]):
        put(state_dir, payload, mtime=1_749_999_000.0 + order)
    return payloads


def spoil(service, how):
    """Make the server refuse the bad event, in one of the ways in which it does."""
    match how:
        case "whole-request":
            service.poison = {BAD}
        case "bad-data":
            service.refuse = {BAD: NO_DATA}
        case "unknown-error":
            service.refuse = {BAD: NEVER_SEEN}
        case "parent-not-found":
            service.refuse = {BAD: ("validation_error", "Parent pattern not found: 0123")}
        case "race":
            service.refuse = {BAD: ("foreign_key_violation", "violates foreign key constraint")}
        case "not-named":
            service.forget = {BAD}


WAYS = ("whole-request", "bad-data", "unknown-error", "parent-not-found", "race", "not-named")


@pytest.fixture
def state_dir(tmp_path):
    return make_state_dir(tmp_path / "state")


async def run_with_traffic(drain, clock, state_dir):
    """Run while a good event comes in every hour, until none but good ones are left.

    What the good ones cost is bounded: each is delivered before the next one is captured.
    """
    payloads = []
    for hour in range(8):
        payloads.append(good(100 + hour))
        put(state_dir, payloads[-1])
        for _ in range(60):
            await drain.run_pass()
            clock.advance(60)
        if not waiting(state_dir):
            return payloads
        assert waiting(state_dir) == 1
    raise AssertionError(list(read_events(state_dir.ledger, state="waiting")))


@pytest.mark.parametrize("place", [0, GOOD // 2, GOOD], ids=["first", "middle", "last"])
@pytest.mark.parametrize("how", WAYS)
async def test_bad_event_among_good_ones_ends_in_quarantine_with_the_answer(how, place, state_dir):
    clock = FakeClock()
    payloads = put_with_bad_at(state_dir, place)
    async with FaultyIntelligence() as api:
        spoil(api.service, how)
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            report = await drain.run_pass()
            assert report.delivery.delivered == GOOD
            payloads += await run_with_traffic(drain, clock, state_dir)
        if how == "not-named":  # the server did store it, and never said so
            api.service.events = [e for e in api.service.events if e["pattern_id"] != BAD]
            api.service.nodes = {k: v for k, v in api.nodes.items() if k[0] != BAD}
        assert_arrived(api, payloads)

    assert tally(state_dir)["events", "delivered"] == len(payloads)
    (line,) = read_events(state_dir.ledger, state="quarantined")
    assert line.pattern_id == BAD
    assert line.answer
    assert line.cause == ("rejected" if how in {"whole-request", "bad-data"} else "unknown-answer")


@pytest.mark.parametrize("how", WAYS)
async def test_bad_event_at_the_head_after_an_outage_lets_good_ones_pass(how, state_dir):
    """One event at a time, and the first of them is the bad one."""
    clock = FakeClock()
    payloads = put_with_bad_at(state_dir, 0)
    async with FaultyIntelligence() as api:
        settings = make_settings(state_dir, api.url)
        async with make_drain(settings, clock) as drain:
            api.mode = Fault.STATUS_500
            for _ in range(4):
                await drain.run_pass()
            api.mode = Fault.OK
            spoil(api.service, how)
            for _ in range(20):
                clock.advance(60)
                await drain.run_pass()
                if tally(state_dir).get(("events", "delivered"), 0) == GOOD:
                    break
            else:
                pytest.fail(f"good events wait: {tally(state_dir)}")
            payloads += await run_with_traffic(drain, clock, state_dir)

    sums = tally(state_dir)
    assert sums["events", "delivered"] == len(payloads)
    assert sums["events", "quarantined"] == 1


@pytest.mark.parametrize("how", WAYS)
async def test_bad_event_alone_waits_for_proof_however_long(how, state_dir):
    clock = FakeClock()
    put(state_dir, write_payload(BAD_CODE, path="/home/u/p/bad.py"))
    async with FaultyIntelligence() as api:
        spoil(api.service, how)
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            for _ in range(100):
                await drain.run_pass()
                clock.advance(120)
            assert tally(state_dir)["events", "waiting"] == 1
            # However alone it is, it is not asked about in a storm.
            assert len(api.tracking_requests()) < 150

            payloads = await run_with_traffic(drain, clock, state_dir)

    sums = tally(state_dir)
    assert sums["events", "delivered"] == len(payloads)
    assert sums["events", "quarantined"] == 1


async def test_puzzling_answer_is_asked_about_at_least_five_times_over_an_hour(state_dir):
    clock = FakeClock()
    put_with_bad_at(state_dir, 0)
    began = clock.now()
    async with FaultyIntelligence() as api:
        spoil(api.service, "unknown-error")
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            await run_with_traffic(drain, clock, state_dir)
        asked = [request for request in api.tracking_requests() if BAD.encode() in request.body]

    assert len(asked) >= 5
    assert clock.now() - began >= 3600


async def test_outage_that_nobody_has_seen_before_spends_no_tries(state_dir):
    clock = FakeClock()
    payloads = put_with_bad_at(state_dir, 0)[:3]
    async with FaultyIntelligence() as api:
        api.service.refuse = dict.fromkeys(
            [BAD, *(pattern_id("python", p["tool_input"]["content"]) for p in payloads)],
            NEVER_SEEN,
        )
        everything = dict(api.service.refuse)
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            api.mode = Fault.OK
            for _ in range(3):
                await drain.run_pass()
            assert tally(state_dir)["events", "waiting"] == len(everything)
            api.service.refuse = {}
            await run_dry(drain, clock, state_dir)

    assert tally(state_dir)["events", "delivered"] == GOOD + 1


async def test_lost_race_is_run_again_at_once(state_dir):
    clock = FakeClock()
    put_with_bad_at(state_dir, 2)
    async with FaultyIntelligence() as api:
        api.service.conflicts[BAD] = 2
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            await drain.run_pass()
            await drain.run_pass()

    assert tally(state_dir)["events", "delivered"] == GOOD + 1


async def test_request_too_large_for_the_server_is_sent_in_parts(state_dir):
    clock = FakeClock()
    put_with_bad_at(state_dir, 2)
    async with FaultyIntelligence() as api:
        api.script.extend([Fault.STATUS_413, Fault.STATUS_413])
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            await drain.run_pass()

        assert batch_sizes(api.tracking_requests()) == [10, 5, 2, 3, 5]
    assert tally(state_dir)["events", "delivered"] == GOOD + 1


async def test_three_bad_events_at_the_head_do_not_stop_the_rest(state_dir):
    clock = FakeClock()
    codes = [f"def bad{n}():\n    return {n}\n" for n in range(5)]
    for order, code in enumerate(codes):
        put(state_dir, write_payload(code, path=f"/home/u/p/b{order}.py"), mtime=1.0 + order)
    for number in range(GOOD):
        put(state_dir, good(number), mtime=100.0 + number)
    async with FaultyIntelligence() as api:
        api.service.poison = {pattern_id("python", code) for code in codes}
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            await run_dry(drain, clock, state_dir)

    sums = tally(state_dir)
    assert (sums["events", "delivered"], sums["events", "quarantined"]) == (GOOD, len(codes))
