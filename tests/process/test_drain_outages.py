"""Every fault of the intelligence API: the right gate state, nothing lost, then a gentle return."""

from __future__ import annotations

import pytest

from pattern_tracker.resilience.gate_state import GateState
from pattern_tracker.stats import collect_stats
from tests.core import make_drain, make_settings, make_state_dir, put, tally, write_payload
from tests.fake_clock import FakeClock
from tests.intelligence_faults import BATCH, Fault, FaultyIntelligence
from tests.oracle import assert_arrived, assert_books, batch_sizes, run_dry

PAYLOADS = 12
PASSES_IN_THE_FAULT = 4

WAITING, HELD, PAUSED = GateState.WAITING, GateState.HELD, GateState.PAUSED
STATE_DURING = {
    Fault.HANGING: WAITING,
    Fault.DISCONNECT: WAITING,
    Fault.HEADERS_ONLY: WAITING,
    Fault.CUT: WAITING,
    Fault.SLOW_DRIP: WAITING,
    Fault.ENDLESS: WAITING,
    Fault.GARBAGE: WAITING,
    Fault.ANSWER_LOST: WAITING,
    Fault.CAPTIVE_PORTAL: WAITING,
    Fault.REDIRECT: WAITING,
    Fault.TRUNCATED_JSON: WAITING,
    Fault.WRONG_TYPES: WAITING,
    Fault.SUCCESS_FALSE: WAITING,
    Fault.DB_DOWN: WAITING,
    Fault.DB_NEVER_UP: WAITING,
    Fault.RATE_LIMITED: HELD,
    Fault.RETRY_AFTER: HELD,
    Fault.RETRY_AFTER_DATE: HELD,
    Fault.UNAVAILABLE_RETRY_AFTER: HELD,
    # Every event refused, and none taken: that is no proof against any of them.
    Fault.STATUS_400: WAITING,
    Fault.STATUS_401: PAUSED,
    Fault.STATUS_402: PAUSED,
    Fault.STATUS_403: PAUSED,
    Fault.STATUS_404: PAUSED,
    Fault.STATUS_405: PAUSED,
    Fault.STATUS_408: WAITING,
    Fault.STATUS_413: WAITING,
    Fault.STATUS_418: WAITING,
    Fault.STATUS_422: WAITING,
    Fault.STATUS_500: WAITING,
    Fault.STATUS_502: WAITING,
    Fault.STATUS_503: WAITING,
    Fault.STATUS_504: WAITING,
}
FIRST_BATCHES_AFTER = {WAITING: [1, 2, 4], HELD: [PAYLOADS], PAUSED: [1, 2, 4]}


def patient_settings(state_dir, url, **values):
    return make_settings(
        state_dir, url, request_timeout_seconds=0.25, health_timeout_seconds=0.1, **values
    )


def put_payloads(state_dir):
    payloads = [
        write_payload(f"def f{n}():\n    return {n}\n", path=f"/home/user/project/f{n}.py")
        for n in range(PAYLOADS)
    ]
    for number, payload in enumerate(payloads):
        put(state_dir, payload, mtime=1_749_999_000.0 + number)
    return payloads


def test_table_names_every_fault() -> None:
    assert set(STATE_DURING) == set(Fault) - {Fault.OK, Fault.STALE}


@pytest.mark.parametrize("fault", STATE_DURING)
async def test_fault_keeps_everything_and_the_end_of_it_delivers_everything(fault, tmp_path):
    state_dir, clock = make_state_dir(tmp_path / "state"), FakeClock()
    payloads = put_payloads(state_dir)
    async with FaultyIntelligence() as api:
        api.mode = fault
        settings = patient_settings(state_dir, api.url)
        async with make_drain(settings, clock) as drain:
            for _ in range(PASSES_IN_THE_FAULT):
                report = await drain.run_pass()
            assert report.delivery.reason
            shown = collect_stats(settings, state_dir, now=clock.now())
            assert shown["gate"]["state"] == STATE_DURING[fault]
            assert shown["gate"]["reason"]
            assert shown["gate"]["retry_at"]
            assert bool(shown["gate"]["remedy"]) == (STATE_DURING[fault] is PAUSED)
            assert tally(state_dir) == {
                ("captures", "ingested"): PAYLOADS,
                ("events", "waiting"): PAYLOADS,
            }

            api.mode = Fault.OK
            before = len(api.tracking_requests())
            await run_dry(drain, clock, state_dir)

        sizes = batch_sizes(api.tracking_requests()[before:])
        first = FIRST_BATCHES_AFTER[STATE_DURING[fault]]
        if fault is Fault.UNAVAILABLE_RETRY_AFTER:
            first = [1]  # the health check was told the same, which calls for caution
        assert sizes[: len(first)] == first
        assert sum(sizes) == PAYLOADS
        assert_arrived(api, payloads)
        assert_books(state_dir, payloads)
        assert len(api.nodes) == PAYLOADS
        assert collect_stats(settings, state_dir, now=clock.now())["gate"]["state"] == "sending"


async def test_refused_connections_wait_and_deliver_once_the_server_is_back(tmp_path):
    state_dir, clock = make_state_dir(tmp_path / "state"), FakeClock()
    payloads = put_payloads(state_dir)
    async with FaultyIntelligence() as api:
        await api.go_down()
        settings = patient_settings(state_dir, api.url)
        async with make_drain(settings, clock) as drain:
            for _ in range(PASSES_IN_THE_FAULT):
                await drain.run_pass()
            shown = collect_stats(settings, state_dir, now=clock.now())
            assert shown["gate"]["state"] == WAITING
            assert "refused" in shown["gate"]["reason"]

            await api.come_back()
            await run_dry(drain, clock, state_dir)

        assert batch_sizes(api.tracking_requests())[:3] == [1, 2, 4]
        assert set(api.stored_event_ids.values()) == {1}
        assert_arrived(api, payloads)
        assert_books(state_dir, payloads)


async def test_connection_closed_while_idle_is_not_noticed(tmp_path):
    state_dir, clock = make_state_dir(tmp_path / "state"), FakeClock()
    payloads = put_payloads(state_dir)
    async with FaultyIntelligence() as api:
        settings = patient_settings(state_dir, api.url)
        async with make_drain(settings, clock) as drain:
            await drain.run_pass()
            api.mode = Fault.STALE
            fresh = write_payload("def fresh():\n    return 1\n", path="/home/user/project/g.py")
            put(state_dir, fresh)
            report = await drain.run_pass()

        assert report.delivery.delivered == 1
        assert report.delivery.reason == ""
        assert_arrived(api, [*payloads, fresh])


async def test_missing_batch_endpoint_is_replaced_by_the_single_one(tmp_path):
    state_dir, clock = make_state_dir(tmp_path / "state"), FakeClock()
    payloads = put_payloads(state_dir)
    async with FaultyIntelligence() as api:
        api.missing_paths = {BATCH}
        settings = patient_settings(state_dir, api.url)
        async with make_drain(settings, clock) as drain:
            await drain.run_pass()
            shown = collect_stats(settings, state_dir, now=clock.now())

        assert shown["gate"]["state"] == "sending"
        assert set(api.stored_event_ids.values()) == {1}
        assert_arrived(api, payloads)
        assert_books(state_dir, payloads)


async def test_open_breaker_shows_probing_while_its_probe_is_under_way(tmp_path):
    state_dir, clock = make_state_dir(tmp_path / "state"), FakeClock()
    put_payloads(state_dir)
    async with FaultyIntelligence() as api:
        api.mode = Fault.STATUS_500
        settings = patient_settings(state_dir, api.url)
        async with make_drain(settings, clock) as drain:
            for _ in range(PASSES_IN_THE_FAULT):
                await drain.run_pass()
            clock.advance(61)
            seen = []

            def look(self, document, track=api.service.track_batch):
                shown = collect_stats(settings, state_dir, now=clock.now())
                seen.append(shown["gate"]["state"])
                return track(document)

            api.mode = Fault.OK
            api.service.track_batch = look.__get__(api.service)
            await run_dry(drain, clock, state_dir)

        assert seen[:2] == ["probing", "sending"]


async def test_new_token_ends_a_pause_at_once(tmp_path):
    state_dir, clock = make_state_dir(tmp_path / "state"), FakeClock()
    payloads = put_payloads(state_dir)
    async with FaultyIntelligence() as api:
        api.mode = Fault.STATUS_401
        async with make_drain(patient_settings(state_dir, api.url), clock) as drain:
            await drain.run_pass()
            await drain.run_pass()
        assert len(api.tracking_requests()) == 1

        api.mode = Fault.OK
        renewed = patient_settings(state_dir, api.url, api_token="renewed-token")
        async with make_drain(renewed, clock) as drain:
            await drain.run_pass()

        assert_arrived(api, payloads)


async def test_outage_longer_than_the_age_limit_expires_by_name_and_the_new_gets_through(tmp_path):
    state_dir, clock = make_state_dir(tmp_path / "state"), FakeClock()
    put_payloads(state_dir)
    async with FaultyIntelligence() as api:
        api.mode = Fault.STATUS_500
        settings = patient_settings(state_dir, api.url)
        async with make_drain(settings, clock) as drain:
            await drain.run_pass()
            clock.advance(7 * 86_400 + 1)
            fresh = write_payload("def fresh():\n    return 1\n", path="/home/user/project/g.py")
            put(state_dir, fresh)
            api.mode = Fault.OK
            await run_dry(drain, clock, state_dir)

        assert_arrived(api, [fresh])
        shown = collect_stats(settings, state_dir, now=clock.now())["events"]
        assert (shown["expired"], shown["delivered"]) == (PAYLOADS, 1)
        assert shown["causes"] == {"expired": {"too-old": PAYLOADS}}
