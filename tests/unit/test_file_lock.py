from __future__ import annotations

import fcntl
import os

import pytest

from pattern_tracker.errors import LockBusyError
from pattern_tracker.file_lock import FileLock, is_held
from tests.fake_clock import FakeClock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.lock"


def test_lock_is_held_until_released(path):
    with FileLock(path) as lock:
        assert lock.try_acquire()
        assert is_held(path)
        assert not FileLock(path).try_acquire()
    assert not is_held(path)
    assert FileLock(path).try_acquire()


def test_lock_file_is_private_and_stays(path):
    lock = FileLock(path)
    lock.try_acquire()
    lock.release()
    lock.release()
    assert path.stat().st_mode & 0o777 == 0o600


def test_lock_without_a_file_is_not_held_and_not_created(path):
    assert not is_held(path)
    assert not path.exists()


def test_those_who_ask_at_the_same_time_do_not_take_each_other_for_the_holder(path):
    path.touch()
    other = os.open(path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_SH)  # in the middle of `is_held`
    assert not is_held(path)
    os.close(other)


def test_left_over_content_means_nothing(path):
    path.write_text("pid 1")
    assert not is_held(path)
    assert FileLock(path).try_acquire()


async def test_busy_lock_is_waited_for_and_then_reported(path):
    clock = FakeClock()
    holder = FileLock(path)
    holder.try_acquire()
    with pytest.raises(LockBusyError, match=r"draining: another process .*waited 3 s") as raised:
        await FileLock(path).acquire(clock=clock, wait_seconds=3, doing="draining")
    assert raised.value.waited_seconds >= 3
    holder.release()
    with await FileLock(path).acquire(clock=clock, wait_seconds=0, doing="draining"):
        assert is_held(path)
