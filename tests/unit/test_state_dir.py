from __future__ import annotations

import os

import pytest

from pattern_tracker.errors import StateDirError
from pattern_tracker.state_dir import SOCKET_PATH_LIMIT_BYTES, StateDir
from tests.core import make_state_dir


def test_prepare_makes_everything_private_and_is_repeatable(tmp_path):
    state_dir = make_state_dir(tmp_path / "deep" / "state")
    state_dir.root.chmod(0o755)
    state_dir.prepare()
    for directory in (state_dir.root, state_dir.spool, state_dir.quarantine):
        assert directory.stat().st_mode & 0o777 == 0o700
    assert state_dir.turned_away.stat().st_mode & 0o777 == 0o600


def test_turned_away_payloads_are_bytes_after_the_first(tmp_path):
    state_dir = StateDir(root=tmp_path / "state")
    assert state_dir.turned_away_count() == 0
    state_dir.prepare()
    assert state_dir.turned_away_count() == 0
    with state_dir.turned_away.open("ab") as file:
        file.write(b"..")
    state_dir.prepare()
    assert state_dir.turned_away_count() == 2


def test_state_directory_that_is_a_file_is_an_error_that_names_it(tmp_path):
    (tmp_path / "state").touch()
    with pytest.raises(StateDirError, match="state: a file lies where a directory must be"):
        make_state_dir(tmp_path / "state")


def test_parents_are_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        make_state_dir(tmp_path / "a" / "b" / "state")
    finally:
        os.umask(before)
    for parent in (tmp_path / "a", tmp_path / "a" / "b"):
        assert parent.stat().st_mode & 0o777 == 0o700


def test_link_where_anyone_may_create_names_is_refused_and_its_target_left_alone(tmp_path):
    target, shared = tmp_path / "target", tmp_path / "shared"
    target.mkdir()
    target.chmod(0o755)
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "state").symlink_to(target)
    with pytest.raises(StateDirError, match="sudo rm -r"):
        make_state_dir(shared / "state")
    assert target.stat().st_mode & 0o777 == 0o755
    assert list(target.iterdir()) == []


def test_state_directory_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(StateDirError, match="belongs to user"):
        make_state_dir(tmp_path / "state")


def test_socket_path_too_long_for_an_address_moves_to_a_private_short_one(tmp_path):
    long = StateDir(root=tmp_path / ("x" * 120))
    assert len(os.fsencode(long.intelligence_socket)) <= SOCKET_PATH_LIMIT_BYTES
    assert long.intelligence_socket == StateDir(root=long.root).intelligence_socket
    assert long.intelligence_socket != StateDir(root=tmp_path / ("y" * 120)).intelligence_socket
    short = StateDir(root=tmp_path / "s")
    assert short.intelligence_socket.parent == short.root
