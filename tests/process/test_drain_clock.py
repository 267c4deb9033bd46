"""A wall clock that is set by a day, in every state of the gate: nothing waits for that day."""

from __future__ import annotations

import pytest

from pattern_tracker.patterns.identity import pattern_id
from pattern_tracker.resilience.configured import gate_policy
from pattern_tracker.stats import collect_stats
from tests.core import make_drain, make_settings, make_state_dir, put, tally, write_payload
from tests.fake_clock import FakeClock
from tests.intelligence_faults import Fault, FaultyIntelligence
from tests.oracle import assert_arrived, assert_books, waiting

DAY = 86_400.0
PAYLOADS = 5

# Gate state: the fault that leads to it, and how many passes it takes.
INTO = {
    "sending": (Fault.OK, 1),
    "waiting": (Fault.STATUS_500, 4),
    "held": (Fault.RATE_LIMITED, 2),
    "held, stated": (Fault.RETRY_AFTER, 2),
    "paused": (Fault.STATUS_401, 2),
    "refused": (Fault.STATUS_422, 4),
}


class ProbeKilledError(BaseException):
    """Ends a pass in the middle of a request, as a kill does."""


@pytest.fixture
def state_dir(tmp_path):
    return make_state_dir(tmp_path / "state")


def put_payloads(state_dir):
    payloads = [
        write_payload(f"def f{n}():\n    return {n}\n", path=f"/home/user/project/f{n}.py")
        for n in range(PAYLOADS)
    ]
    for payload in payloads:
        put(state_dir, payload)
    return payloads


async def deliver_within(seconds, drain, clock, state_dir):
    """Pass after pass; everything is delivered before `seconds` are over."""
    end = clock.monotonic() + seconds
    while True:
        await drain.run_pass()
        if not waiting(state_dir):
            return
        assert clock.monotonic() < end, tally(state_dir)
        clock.advance(15)


def longest_wait(settings):
    return gate_policy(settings).longest_wait_seconds + 60


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["ahead", "back"])
@pytest.mark.parametrize("state", INTO)
async def test_jump_delays_nothing_and_expires_nothing(state, jump, state_dir):
    clock = FakeClock()
    payloads = put_payloads(state_dir)
    fault, passes = INTO[state]
    async with FaultyIntelligence() as api:
        settings = make_settings(state_dir, api.url)
        async with make_drain(settings, clock) as drain:
            api.mode = fault
            for _ in range(passes):
                await drain.run_pass()
            clock.jump(jump)
            await drain.run_pass()
            payloads += [write_payload("later = 1\n", path="/home/user/project/later.py")]
            put(state_dir, payloads[-1])
            api.mode = Fault.OK
            await deliver_within(longest_wait(settings), drain, clock, state_dir)

        assert_arrived(api, payloads)
    assert_books(state_dir, payloads)
    shown = collect_stats(settings, state_dir, now=clock.now())
    assert shown["gate"]["state"] == "sending"


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["ahead", "back"])
async def test_jump_while_a_probe_is_lost_gives_its_slot_back(jump, state_dir, monkeypatch):
    clock = FakeClock()
    payloads = put_payloads(state_dir)
    async with FaultyIntelligence() as api:
        settings = make_settings(state_dir, api.url)
        api.mode = Fault.STATUS_500
        async with make_drain(settings, clock) as drain:
            for _ in range(4):
                await drain.run_pass()
            clock.advance(61)
            with monkeypatch.context() as killing:

                async def kill(*_):
                    raise ProbeKilledError

                killing.setattr("pattern_tracker.exchange.Exchange.send", kill)
                with pytest.raises(ProbeKilledError):
                    await drain.run_pass()
        assert collect_stats(settings, state_dir, now=clock.now())["gate"]["state"] == "probing"

        clock.jump(jump)
        api.mode = Fault.OK
        async with make_drain(settings, clock) as drain:
            await deliver_within(longest_wait(settings), drain, clock, state_dir)
        assert_arrived(api, payloads)
    assert_books(state_dir, payloads)


async def test_jump_back_does_not_put_off_an_event_by_a_day(state_dir):
    """The time of the next try was set by the clock of before."""
    clock = FakeClock()
    payloads = put_payloads(state_dir)
    puzzling = pattern_id("python", payloads[0]["tool_input"]["content"])
    async with FaultyIntelligence() as api:
        settings = make_settings(state_dir, api.url)
        async with make_drain(settings, clock) as drain:
            api.service.refuse = {puzzling: ("SomethingNewError", "what is this")}
            await drain.run_pass()
            assert waiting(state_dir) == 1
            api.service.refuse = {}
            clock.jump(-DAY)
            await deliver_within(2 * 3600, drain, clock, state_dir)
        assert_arrived(api, payloads)


async def test_refusals_after_a_jump_back_are_not_proven_by_what_was_accepted_before(state_dir):
    """An acceptance that is dated a day ahead did not come after a refusal of today."""
    clock = FakeClock()
    payloads = put_payloads(state_dir)
    async with FaultyIntelligence() as api:
        settings = make_settings(state_dir, api.url)
        async with make_drain(settings, clock) as drain:
            await drain.run_pass()
            clock.jump(-DAY)
            api.mode = Fault.STATUS_400
            payloads += [write_payload("later = 1\n", path="/home/user/project/later.py")]
            put(state_dir, payloads[-1])
            for _ in range(20):
                await drain.run_pass()
                clock.advance(120)
            assert waiting(state_dir) == 1
            api.mode = Fault.OK
            await deliver_within(longest_wait(settings), drain, clock, state_dir)
        assert_arrived(api, payloads)
    assert_books(state_dir, payloads)


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["ahead", "back"])
async def test_torn_file_is_given_its_time_by_a_clock_that_cannot_jump(jump, state_dir):
    clock = FakeClock()
    torn = put(state_dir, b'{"hook_event_name": "PostTo')
    async with (
        FaultyIntelligence() as api,
        make_drain(make_settings(state_dir, api.url), clock) as drain,
    ):
        await drain.run_pass()
        clock.jump(jump)
        await drain.run_pass()
        assert torn.exists()
        clock.advance(61)
        await drain.run_pass()
        assert not torn.exists()
    assert tally(state_dir) == {("captures", "quarantined"): 1}
