from __future__ import annotations

import os

import pytest

from pattern_tracker.errors import StateDirError
from pattern_tracker.spool import TORN_AFTER_SECONDS, Spool, TornFileWatch
from tests.core import make_state_dir, put
from tests.fake_clock import FakeClock


@pytest.fixture
def state_dir(tmp_path):
    return make_state_dir(tmp_path / "state")


@pytest.fixture
def spool(state_dir):
    with Spool(state_dir.spool) as opened:
        yield opened


def names(spool, **options):
    return [file.name for file in spool.scan(**options)]


def test_spool_that_is_missing_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(StateDirError, match="pattern-daemon start"):
        Spool(tmp_path / "none")


def test_scan_orders_by_time_then_name(state_dir, spool):
    for name, mtime in (("b.json", 2), ("a.json", 2), ("z.json", 1)):
        put(state_dir, b"{}", name=name, mtime=mtime)
    assert names(spool) == ["z.json", "a.json", "b.json"]


def test_scan_takes_the_oldest_up_to_its_limit(state_dir, spool):
    for n in range(5):
        put(state_dir, b"{}", name=f"{n}.json", mtime=10 - n)
    assert names(spool, limit=2) == ["4.json", "3.json"]


def test_scan_sees_regular_json_files_only(state_dir, spool):
    secret = state_dir.root / "secret"
    secret.write_bytes(b"{}")
    (state_dir.spool / "link.json").symlink_to(secret)
    (state_dir.spool / "dangling.json").symlink_to("nowhere")
    (state_dir.spool / "folder.json").mkdir()
    os.mkfifo(state_dir.spool / "pipe.json")
    put(state_dir, b"{}", name="notes.txt")
    put(state_dir, b"{}", name="good.json")
    assert names(spool) == ["good.json"]
    assert spool.usage().count == 1


def test_scan_copes_with_names_that_are_no_text(state_dir, spool):
    put(state_dir, b"{}", name=os.fsdecode(b"\xff\n'.json"))
    (found,) = spool.scan()
    assert spool.read(found) == b"{}"
    spool.remove(found)
    assert spool.scan() == []


def test_usage_tells_count_blocks_and_greatest_age(state_dir, spool):
    assert spool.usage().oldest_mtime_ns is None
    put(state_dir, b"x" * 5000, mtime=0)
    put(state_dir, b"x", mtime=9)
    usage = spool.usage()
    assert usage.count == 2
    assert usage.allocated_bytes >= 5001
    assert usage.oldest_mtime_ns == 0


def test_read_takes_what_a_growing_file_holds_by_now(state_dir, spool):
    path = put(state_dir, b'{"a":')
    (file,) = spool.scan()
    path.write_bytes(b'{"a": 1}')
    assert spool.read(file) == b'{"a": 1}'


def test_read_of_a_file_that_shrank_or_is_empty(state_dir, spool):
    path = put(state_dir, b'{"a": 1}')
    (file,) = spool.scan()
    path.write_bytes(b"")
    assert spool.read(file) == b""


def test_read_of_a_vanished_file_is_none(state_dir, spool):
    path = put(state_dir, b"{}")
    (file,) = spool.scan()
    path.unlink()
    assert spool.read(file) is None
    spool.remove(file)
    spool.move_to(state_dir.quarantine, file, "x.json")


@pytest.mark.parametrize(
    "swap", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo, lambda path: path.mkdir()]
)
def test_read_of_a_file_swapped_for_something_else_is_none(state_dir, spool, swap):
    path = put(state_dir, b"{}")
    (file,) = spool.scan()
    path.unlink()
    swap(path)
    assert spool.read(file) is None


def test_torn_watch_gives_up_only_after_its_time_unchanged(state_dir, spool):
    clock = FakeClock()
    watch = TornFileWatch(clock)
    put(state_dir, b"{")
    (file,) = spool.scan()
    assert not watch.is_pending(file)
    assert not watch.gives_up(file)
    clock.advance(TORN_AFTER_SECONDS - 1)
    assert watch.is_pending(file)
    clock.advance(1)
    assert not watch.is_pending(file)
    assert watch.gives_up(file)


def test_torn_watch_begins_anew_when_the_file_grows(state_dir, spool):
    clock = FakeClock()
    watch = TornFileWatch(clock)
    path = put(state_dir, b"{", mtime=1)
    watch.gives_up(*spool.scan())
    clock.advance(TORN_AFTER_SECONDS)
    path.write_bytes(b'{"')
    os.utime(path, (1, 1))
    (grown,) = spool.scan()
    watch.keep_only({grown})
    assert not watch.is_pending(grown)
    assert not watch.gives_up(grown)


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0, 1e9])
def test_torn_watch_does_not_look_at_the_wall_clock(state_dir, spool, jump):
    clock = FakeClock()
    watch = TornFileWatch(clock)
    put(state_dir, b"{", mtime=4e9)
    (file,) = spool.scan()
    watch.gives_up(file)
    clock.jump(jump)
    assert watch.is_pending(file)
    assert not watch.gives_up(file)
    clock.advance(TORN_AFTER_SECONDS)
    assert watch.gives_up(file)
