"""A ledger that is damaged is set aside and never overwritten; a newer one is left alone."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest

from pattern_tracker.errors import LedgerTooNewError
from tests.core import make_drain, make_settings, make_state_dir, put, tally, write_payload
from tests.fake_clock import FakeClock
from tests.intelligence_faults import Fault, FaultyIntelligence
from tests.oracle import Expected, assert_fresh_event_arrives, run_dry, waiting

RANDOM_DAMAGES = 40


@pytest.fixture
def state_dir(tmp_path):
    return make_state_dir(tmp_path / "state")


def payload_of(number):
    code = f"def f{number}():\n    return '{'x' * 300}{number}'\n"
    return write_payload(code, path=f"/home/u/p/f{number}.py")


async def make_used_ledger(state_dir, api, clock):
    """Delivered, waiting and filtered rows, in enough pages that their middle is data."""
    async with make_drain(make_settings(state_dir, api.url), clock) as drain:
        for number in range(30):
            put(state_dir, payload_of(number))
        await run_dry(drain, clock, state_dir)
        api.mode = Fault.STATUS_500
        for number in range(30, 60):
            put(state_dir, payload_of(number))
        await drain.run_pass()
        api.mode = Fault.OK
    assert waiting(state_dir) == 30


def truncated(content, _):
    return content[: len(content) // 2 + 100]


def cut_to_a_few_bytes(content, _):
    return content[:50]


def zero_filled(content, _):
    return bytes(len(content))


def zero_filled_middle(content, _):
    middle = len(content) // 2 // 4096 * 4096
    return content[:middle] + bytes(8192) + content[middle + 8192 :]


def not_a_database(_, random_):
    return random_.randbytes(20_000)


def text(_content, _random):
    return b"this is no ledger\n" * 1000


def first_page_gone(content, random_):
    return content[:100] + random_.randbytes(3996) + content[4096:]


def every_page_but_the_first_gone(content, random_):
    return content[:4096] + random_.randbytes(len(content) - 4096)


def renamed_column(content, _):
    assert b"settled_at" in content
    return content.replace(b"settled_at", b"settled_ad")


CERTAIN = [
    renamed_column,
    truncated,
    cut_to_a_few_bytes,
    zero_filled,
    not_a_database,
    text,
    first_page_gone,
    every_page_but_the_first_gone,
]


@pytest.mark.parametrize("damage", CERTAIN, ids=lambda damage: damage.__name__)
async def test_damaged_ledger_is_set_aside_as_it_is_and_the_spool_drained(damage, state_dir):
    clock = FakeClock()
    async with FaultyIntelligence() as api:
        await make_used_ledger(state_dir, api, clock)
        damaged = damage(state_dir.ledger.read_bytes(), random.Random(3))
        state_dir.ledger.write_bytes(damaged)
        spooled = payload_of(100)
        put(state_dir, spooled)
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            report = await drain.run_pass()
            assert report.damaged is not None
            assert report.damaged.read_bytes() == damaged
            assert report.more
            await run_dry(drain, clock, state_dir)
            assert set(Expected.of([spooled]).codes) <= set(api.stored_event_ids)
            await assert_fresh_event_arrives(api, drain, clock, state_dir)
    assert tally(state_dir) == {("captures", "ingested"): 2, ("events", "delivered"): 2}


async def test_second_damage_within_a_second_overwrites_nothing(state_dir):
    clock = FakeClock()
    async with FaultyIntelligence() as api:
        kept = []
        for number in range(3):
            content = f"damage number {number} ".encode() * 500
            state_dir.ledger.write_bytes(content)
            async with make_drain(make_settings(state_dir, api.url), clock) as drain:
                report = await drain.run_pass()
            kept.append((report.damaged, content))
    assert len({path for path, _ in kept}) == 3
    assert all(path.read_bytes() == content for path, content in kept)


@pytest.mark.parametrize("seed", range(RANDOM_DAMAGES))
async def test_random_damage_wedges_nothing(seed, state_dir):
    """Whether SQLite notices or not: passes go on, and a fresh event gets through."""
    clock, random_ = FakeClock(), random.Random(seed)
    async with FaultyIntelligence() as api:
        await make_used_ledger(state_dir, api, clock)
        content = bytearray(state_dir.ledger.read_bytes())
        for _ in range(random_.choice([1, 3, 30])):
            # Behind the header, whose version number can only be taken at its word.
            at = random_.randrange(100, len(content) - 64)
            length = random_.choice([1, 16, 64])
            content[at : at + length] = random_.randbytes(length)
        state_dir.ledger.write_bytes(content)
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            # What was entered before the damage is noticed goes with the damaged ledger.
            for number in range(100, 104):
                put(state_dir, fresh := payload_of(number))
                for _ in range(8):
                    await drain.run_pass()
                    clock.advance(30)
        assert set(Expected.of([fresh]).codes) <= set(api.stored_event_ids)
    assert list(state_dir.spool.iterdir()) == []


async def test_log_left_over_from_a_ledger_that_is_gone_is_not_applied_to_a_new_one(state_dir):
    """As after a kill in the middle of setting it aside."""
    clock = FakeClock()
    async with FaultyIntelligence() as api:
        await make_used_ledger(state_dir, api, clock)
        log = state_dir.ledger.with_name(state_dir.ledger.name + "-wal")
        with closing(sqlite3.connect(state_dir.ledger)) as connection:
            connection.execute("UPDATE destinations SET url = 'http://old.test'")
            connection.commit()
            left_over = log.read_bytes()
        assert left_over
        state_dir.ledger.unlink()
        log.write_bytes(left_over)
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            await drain.run_pass()
            await assert_fresh_event_arrives(api, drain, clock, state_dir)
    assert tally(state_dir) == {("captures", "ingested"): 1, ("events", "delivered"): 1}


async def test_newer_ledger_is_refused_and_not_a_byte_is_changed(state_dir):
    clock = FakeClock()
    async with FaultyIntelligence() as api:
        await make_used_ledger(state_dir, api, clock)
        with closing(sqlite3.connect(state_dir.ledger)) as connection:
            connection.execute("PRAGMA user_version = 99")
        content = state_dir.ledger.read_bytes()
        file = put(state_dir, payload_of(100))
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            for _ in range(3):
                with pytest.raises(LedgerTooNewError) as raised:
                    await drain.run_pass()

    assert (raised.value.found, raised.value.supported) == (99, 1)
    assert state_dir.ledger.read_bytes() == content
    assert file.exists()
    assert [path.name for path in state_dir.root.glob("ledger*")] == ["ledger.sqlite3"]
