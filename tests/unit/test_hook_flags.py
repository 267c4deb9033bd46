from __future__ import annotations

import pytest

from pattern_tracker.hook_flags import set_hook_flags
from tests.core import make_settings, make_state_dir


@pytest.fixture
def state_dir(tmp_path):
    return make_state_dir(tmp_path / "state")


def test_full_flag_goes_up_over_the_cap_and_down_only_with_room(state_dir):
    settings = make_settings(state_dir, max_size_mb=1)
    flags = []
    for held in (1_000_000, 1_000_001, 950_000, 900_001, 900_000, 950_000):
        set_hook_flags(settings, state_dir, held_bytes=held)
        flags.append(state_dir.full_flag.exists())
    assert flags == [False, True, True, True, False, False]


def test_full_flag_is_private(state_dir):
    set_hook_flags(make_settings(state_dir, max_size_mb=1), state_dir, held_bytes=2_000_000)
    assert state_dir.full_flag.stat().st_mode & 0o777 == 0o600


def test_cap_is_told_to_the_hooks_in_kib(state_dir):
    set_hook_flags(make_settings(state_dir, max_size_mb=1.024), state_dir, held_bytes=0)
    assert state_dir.cap_file.read_text() == "1000\n"


def test_disabled_flag_follows_the_configuration(state_dir):
    set_hook_flags(make_settings(state_dir, tracking_enabled=False), state_dir, held_bytes=0)
    assert state_dir.disabled_flag.exists()
    set_hook_flags(make_settings(state_dir), state_dir, held_bytes=0)
    assert not state_dir.disabled_flag.exists()


@pytest.mark.parametrize("content", [b"", b"not today", b"\xff"])
def test_disabled_flag_of_a_person_stays(state_dir, content):
    state_dir.disabled_flag.write_bytes(content)
    for enabled in (True, False, True):
        settings = make_settings(state_dir, tracking_enabled=enabled)
        set_hook_flags(settings, state_dir, held_bytes=0)
    assert state_dir.disabled_flag.read_bytes() == content
