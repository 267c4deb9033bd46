"""Files in the spool that are torn, strange or deadly: set aside by name, never in the way."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sys

import pytest

from pattern_tracker.ledger.schema import open_for_reading
from pattern_tracker.spool import MAX_FILE_BYTES, Spool
from tests.core import make_drain, make_settings, make_state_dir, put, tally, write_payload
from tests.fake_clock import FakeClock
from tests.intelligence_faults import FaultyIntelligence
from tests.oracle import assert_arrived, assert_fresh_event_arrives, waiting

MARKER = "end-this-process"

# One pass in a process of its own, whose redactor dies where it meets the marker: as if
# the regular expressions, or what is below them, had a fault that takes the process down.
DEADLY_PASS = f"""
import asyncio, os, sys
from pathlib import Path
import pattern_tracker.drain as drain
from pattern_tracker.clock import SystemClock
from pattern_tracker.settings import Settings

class DeadlyRedactor:
    def __init__(self, redactor):
        self._redactor = redactor
    def redact_text(self, text):
        if {MARKER!r} in text:
            os.abort() if sys.argv[3] == "abort" else os._exit(3)
        return self._redactor.redact_text(text)

redactor = DeadlyRedactor(drain.default_redactor())
drain.default_redactor = lambda: redactor
settings = Settings(state_dir=Path(sys.argv[1]), service_url=sys.argv[2])

async def main():
    async with drain.Drain(load_settings=lambda: settings, clock=SystemClock()) as passes:
        while (await passes.run_pass()).more:
            pass

asyncio.run(main())
"""

WHOLE = json.dumps(write_payload("def whole():\n    return 1\n", path="/home/u/whole.py")).encode()

TORN = {
    "empty": b"",
    "first-byte": WHOLE[:1],
    "half": WHOLE[: len(WHOLE) // 2],
    "last-byte-missing": WHOLE[:-1],
    "nul-filled": bytes(len(WHOLE)),
    "nul-filled-tail": WHOLE[: len(WHOLE) // 2] + bytes(len(WHOLE) - len(WHOLE) // 2),
    "nul-filled-head": bytes(100) + WHOLE[100:],
    "two-in-one": WHOLE + WHOLE,
    "no-text": bytes(range(256)) * 4,
    "nested": b"[" * 200_000,
}
STRANGE = {
    "not-an-object": b"[1, 2, 3]",
    "no-event": b"{}",
    "bad-field": b'{"hook_event_name": "PostToolUse", "tool_input": 7}',
    "too-large": b'"' + b"x" * MAX_FILE_BYTES + b'"',
}


@pytest.fixture
def state_dir(tmp_path):
    return make_state_dir(tmp_path / "state")


def good(number):
    return write_payload(f"good_{number} = {number}\n", path=f"/home/u/p/good{number}.py")


def quarantined(state_dir):
    """(cause, name of the file that was kept) of every capture in quarantine."""
    connection = open_for_reading(state_dir.ledger)
    assert connection is not None
    try:
        query = "SELECT cause, file FROM captures WHERE state = 'quarantined'"
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("content", TORN.values(), ids=TORN)
async def test_torn_file_is_kept_for_a_minute_and_then_set_aside_as_it_is(content, state_dir):
    clock = FakeClock()
    torn = put(state_dir, content, mtime=1.0)
    payloads = [good(1), good(2)]
    for payload in payloads:
        put(state_dir, payload)
    async with FaultyIntelligence() as api:
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            await drain.run_pass()
            assert_arrived(api, payloads)
            clock.advance(59)
            await drain.run_pass()
            assert torn.read_bytes() == content
            clock.advance(2)
            await drain.run_pass()
            payloads.append(await assert_fresh_event_arrives(api, drain, clock, state_dir))
        assert_arrived(api, payloads)

    ((cause, name),) = quarantined(state_dir)
    assert cause == "torn"
    assert (state_dir.quarantine / name).read_bytes() == content


async def test_file_that_is_finished_late_is_taken_in_whole(state_dir):
    clock = FakeClock()
    payload = good(1)
    raw = json.dumps(payload).encode()
    file = put(state_dir, raw[:50])
    async with FaultyIntelligence() as api:
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            for length in (60, 70, 80):
                await drain.run_pass()
                clock.advance(50)
                file.write_bytes(raw[:length])
            await drain.run_pass()
            file.write_bytes(raw)
            await drain.run_pass()
        assert_arrived(api, [payload])
    assert tally(state_dir)["captures", "ingested"] == 1


@pytest.mark.parametrize("content", STRANGE.values(), ids=STRANGE)
async def test_file_that_can_be_no_payload_is_set_aside_at_once(content, state_dir, request):
    clock = FakeClock()
    put(state_dir, content, mtime=1.0)
    payloads = [good(1)]
    put(state_dir, payloads[0])
    async with (
        FaultyIntelligence() as api,
        make_drain(make_settings(state_dir, api.url), clock) as drain,
    ):
        await drain.run_pass()
        assert_arrived(api, payloads)
        await assert_fresh_event_arrives(api, drain, clock, state_dir)
    ((_, name),) = quarantined(state_dir)
    assert (state_dir.quarantine / name).read_bytes() == content


async def test_name_that_is_no_text_does_not_stop_the_others(state_dir):
    clock = FakeClock()
    strange = good(1)
    put(state_dir, strange, name=os.fsdecode(b"\xff\xfe.json"))
    put(state_dir, b"[]", name=os.fsdecode(b"\xff\xfe.2.json"))
    payloads = [strange, good(2)]
    put(state_dir, payloads[1])
    async with FaultyIntelligence() as api:
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            await drain.run_pass()
        assert_arrived(api, payloads)
    assert tally(state_dir)["captures", "quarantined"] == 1
    assert list(state_dir.spool.iterdir()) == []


async def test_process_that_is_out_of_descriptors_blames_no_file(state_dir):
    clock = FakeClock()
    payloads = [good(1)]
    put(state_dir, payloads[0])
    async with FaultyIntelligence() as api:
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            with pytest.MonkeyPatch.context() as patches:

                def refuse(*_):
                    raise OSError(errno.EMFILE, "Too many open files")

                patches.setattr(Spool, "read", refuse)
                for _ in range(5):
                    with pytest.raises(OSError, match="Too many"):
                        await drain.run_pass()
            await drain.run_pass()
        assert_arrived(api, payloads)
    assert not state_dir.ingest_journal.exists()


async def test_what_is_no_file_is_left_where_it_is(state_dir, tmp_path):
    clock = FakeClock()
    secret = tmp_path / "secret.json"
    secret.write_bytes(WHOLE)
    (state_dir.spool / "link.json").symlink_to(secret)
    (state_dir.spool / "folder.json").mkdir()
    os.mkfifo(state_dir.spool / "pipe.json")
    (state_dir.spool / "other.txt").write_text("no payload")
    async with FaultyIntelligence() as api:
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            put(state_dir, good(1))
            report = await drain.run_pass()
            assert report.spooled == 0
        assert sum(api.stored_event_ids.values()) == 1
    assert len(list(state_dir.spool.iterdir())) == 4


@pytest.mark.parametrize("end", ["abort", "exit"])
@pytest.mark.parametrize("place", [0, 5, 10], ids=["first", "middle", "last"])
async def test_file_that_takes_the_process_down_is_set_aside_after_three_restarts(
    end, place, state_dir
):
    payloads = [good(number) for number in range(10)]
    deadly = write_payload(f"x = {MARKER!r}\n", path="/home/u/p/deadly.py")
    for order, payload in enumerate([*payloads[:place], deadly, *payloads[place:]]):
        put(state_dir, payload, mtime=1_749_999_000.0 + order)

    async with FaultyIntelligence() as api:
        codes = [await _deadly_pass(state_dir, api.url, end) for _ in range(4)]
        assert_arrived(api, payloads)

    assert codes[-1] == 0
    assert codes.count(0) == 1
    assert waiting(state_dir) == 0
    ((cause, name),) = quarantined(state_dir)
    assert cause == "crashed-parser"
    assert json.loads((state_dir.quarantine / name).read_bytes()) == deadly
    assert not state_dir.ingest_journal.exists()


async def test_two_deadly_files_are_both_set_aside(state_dir):
    payloads = [good(number) for number in range(6)]
    deadly = [
        write_payload(f"x = {MARKER!r}  # {n}\n", path=f"/home/u/p/deadly{n}.py") for n in range(2)
    ]
    mixed = [*payloads[:2], deadly[0], *payloads[2:4], deadly[1], *payloads[4:]]
    for order, payload in enumerate(mixed):
        put(state_dir, payload, mtime=1_749_999_000.0 + order)

    async with FaultyIntelligence() as api:
        codes = [await _deadly_pass(state_dir, api.url, "exit") for _ in range(6)]
        assert_arrived(api, payloads)

    assert codes[-1] == 0
    assert [cause for cause, _ in quarantined(state_dir)] == ["crashed-parser"] * 2


async def _deadly_pass(state_dir, url, end):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        DEADLY_PASS,
        str(state_dir.root),
        url,
        end,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()
