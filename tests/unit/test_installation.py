"""The installer's steps, each on its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from pattern_tracker.claude_code.hook_merge import merge
from pattern_tracker.claude_code.registration import HOOK_SCRIPTS, registered_hooks
from pattern_tracker.config_file import read_config, write_config_values
from pattern_tracker.errors import SettingsError
from pattern_tracker.hook_payload import capture_key, decode
from pattern_tracker.installation import program_files
from pattern_tracker.installation.command import main
from pattern_tracker.installation.configuration import take_over_environment
from pattern_tracker.installation.places import InstallationError, Places, find_places
from pattern_tracker.installation.self_test import (
    registered_command,
    run_hook,
    sample_payload,
    wait_until_delivered,
)
from pattern_tracker.installation.steps import Steps
from pattern_tracker.state_dir import StateDir
from tests.fake_clock import FakeClock


@pytest.fixture
def places(tmp_path):
    home = tmp_path / "home"
    return Places(
        data=home / "data" / "pattern-tracker",
        home=home,
        claude_settings=home / ".claude" / "settings.json",
    )


@pytest.fixture
def steps():
    return Steps()


def identity(path):
    """What changes when a file is written or replaced; reading moves only its access time."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


def make_link(places, name, target):
    places.links.mkdir(parents=True, exist_ok=True)
    (places.links / name).symlink_to(target)


def test_places_need_a_home():
    with pytest.raises(InstallationError, match="HOME"):
        find_places({}, None)
    with pytest.raises(InstallationError, match="HOME"):
        find_places({"HOME": "relative"}, None)


def test_hook_scripts_are_copied_once_and_executable(places, steps, capsys):
    program_files.install_hook_scripts(places, steps)
    script = places.hooks / "capture.sh"
    assert script.stat().st_mode & 0o777 == 0o700
    before = identity(script)
    program_files.install_hook_scripts(places, steps)
    assert identity(script) == before
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "done",
        "unchanged",
    ]
    assert {path.name for path in places.hooks.iterdir()} == set(HOOK_SCRIPTS)


def test_changed_hook_script_is_replaced_not_rewritten(places, steps):
    program_files.install_hook_scripts(places, steps)
    script = places.hooks / "capture.sh"
    inode = script.stat().st_ino
    script.write_text("old")
    with script.open() as running:
        program_files.install_hook_scripts(places, steps)
        assert running.read() == "old"
    assert script.stat().st_ino != inode


def test_links_replace_ours_and_leave_others(places, steps, capsys):
    make_link(places, "pattern-tracker", "/old/pattern-tracker/venv/bin/pattern-tracker")
    make_link(places, "pattern-daemon", "/usr/bin/true")
    program_files.install_links(places, {"PATH": str(places.links)}, steps)
    assert (places.links / "pattern-tracker").readlink() == places.program("pattern-tracker")
    assert (places.links / "pattern-daemon").readlink() == Path("/usr/bin/true")
    said = capsys.readouterr().out
    assert "pattern-daemon is not ours" in said
    assert "not on PATH" not in said
    program_files.remove_links(places, steps)
    assert [path.name for path in places.links.iterdir()] == ["pattern-daemon"]


def test_links_say_when_the_folder_is_not_on_path(places, steps, capsys):
    program_files.install_links(places, {"PATH": "/usr/bin"}, steps)
    assert f'export PATH="{places.links}:$PATH"' in capsys.readouterr().out


def test_launcher_hands_on_nothing_but_what_was_known_at_installation(tmp_path, monkeypatch, steps):
    odd = tmp_path / "it's a=b $HOME `x`"
    interpreter = odd / "python"
    odd.mkdir()
    interpreter.write_text('#!/bin/sh\n/usr/bin/env >&2\nfor a; do printf "%s\\n" "$a"; done\n')
    interpreter.chmod(0o700)
    monkeypatch.setattr(program_files, "daemon_entry", lambda: (interpreter, odd / "ensure.py"))
    places = Places(data=odd, home=odd, claude_settings=odd)
    state_dir = StateDir(root=odd / "state")
    environ = {"XDG_STATE_HOME": str(odd), "XDG_CACHE_HOME": "relative", "LD_PRELOAD": "x"}
    program_files.install_launcher(places, state_dir, odd / "config.toml", environ, steps)
    assert state_dir.launcher.stat().st_mode & 0o777 == 0o700
    done = subprocess.run(
        ["/bin/sh", state_dir.launcher],
        env={"EVIL": "1", "XDG_CONFIG_HOME": "/evil"},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = ["-I", "-S", odd / "ensure.py", state_dir.root, odd / "config.toml"]
    assert done.stdout.splitlines() == [str(word) for word in expected]
    names = {line.partition("=")[0] for line in done.stderr.splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"HOME", "PATH", "LANG", "XDG_STATE_HOME"}


def test_environment_is_taken_over_into_the_file(tmp_path, steps, capsys):
    config = tmp_path / "config.toml"
    environ = {
        "INTELLIGENCE_SERVICE_URL": "https://h/",
        "INTELLIGENCE_API_TOKEN": "s3cret",
        "PATTERN_CACHE_DIR": "~/patterns",
        "HEALTH_CHECK_TIMEOUT": "3",
    }
    settings = take_over_environment(environ, config, steps)
    assert read_config(config) == {
        "service.url": "https://h",
        "service.token": "s3cret",
        "cache.dir": str(Path.home() / "patterns"),
    }
    assert settings.state_dir == Path.home() / "patterns"
    take_over_environment(environ, config, steps)
    said = capsys.readouterr().out
    assert "s3cret" not in said
    assert [line.split()[0] for line in said.splitlines()] == ["done", "unchanged"]


def test_nothing_to_take_over_writes_no_file(tmp_path, steps, capsys):
    config = tmp_path / "config.toml"
    take_over_environment({"PATH": "/bin"}, config, steps)
    assert not config.exists()
    assert capsys.readouterr().out == ""


def test_token_in_the_environment_replaces_a_token_file(tmp_path, steps):
    secret = tmp_path / "token"
    secret.write_text("old")
    secret.chmod(0o600)
    config = tmp_path / "config.toml"
    write_config_values(config, {"service.token_file": str(secret)})
    take_over_environment({"INTELLIGENCE_API_TOKEN": "new"}, config, steps)
    assert read_config(config) == {"service.token": "new"}


def test_new_url_does_not_inherit_the_token_of_the_old_one(tmp_path, steps):
    config = tmp_path / "config.toml"
    write_config_values(config, {"service.url": "https://old", "service.token": "abc"})
    before = config.read_bytes()
    with pytest.raises(SettingsError, match="was given for another service"):
        take_over_environment({"INTELLIGENCE_SERVICE_URL": "https://new"}, config, steps)
    assert config.read_bytes() == before


def test_self_test_uses_the_string_in_the_settings(places, tmp_path):
    entries = registered_hooks(places.hooks, tmp_path / "state")
    places.claude_settings.parent.mkdir(parents=True)
    with pytest.raises(InstallationError, match="lost the hooks"):
        registered_command(places.claude_settings)
    places.claude_settings.write_text(json.dumps(merge({}, entries)))
    assert registered_command(places.claude_settings) == entries[2].command


def test_self_test_payload_goes_through_the_registered_hook(places, tmp_path, steps):
    state_dir = StateDir(root=tmp_path / "state")
    state_dir.prepare()
    program_files.install_hook_scripts(places, steps)
    command = registered_hooks(places.hooks, state_dir.root)[2].command
    payload = sample_payload("abc")
    run_hook(command, payload, {"PATH": "/usr/bin:/bin"})
    (stored,) = state_dir.spool.iterdir()
    assert stored.name.startswith("selftest-abc.")
    assert json.loads(stored.read_bytes()) == payload
    assert isinstance(capture_key(decode(stored.read_bytes()), name="", mtime_ns=0), UUID)


def test_self_test_hook_that_speaks_is_an_error():
    with pytest.raises(InstallationError, match="status 3"):
        run_hook("echo oops; exit 3", sample_payload("abc"), {})


async def test_wait_until_delivered_follows_every_event():
    answers = iter([None, {}, {"a": "waiting", "b": "delivered"}, {"a": "delivered"}])
    assert await wait_until_delivered(lambda: next(answers), clock=FakeClock())


async def test_wait_until_delivered_gives_up_in_time():
    clock = FakeClock()
    started = clock.monotonic()
    assert not await wait_until_delivered(
        lambda: {"a": "waiting"}, clock=clock, timeout_seconds=5.0
    )
    assert 5.0 <= clock.monotonic() - started < 6.0


def test_dry_run_changes_nothing(private_home, capsys):
    assert main(["install", "--dry-run"]) == 0
    assert main(["uninstall", "--dry-run"]) == 0
    assert list(private_home.iterdir()) == []
    assert "would" in capsys.readouterr().out


def test_invalid_settings_json_is_an_error_that_says_where(private_home, capsys):
    settings = private_home / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{"a": }')
    assert main(["install", "--no-daemon"]) == 1
    assert "line 1, column 7" in capsys.readouterr().err
    assert [path.name for path in private_home.iterdir()] == [".claude"]


def test_uninstall_keeps_state_and_says_how_much_is_undelivered(private_home, capsys):
    state_dir = StateDir(root=private_home / ".local" / "state" / "pattern-tracker")
    state_dir.prepare()
    (state_dir.spool / "s.1.json").write_text("{}")
    data = private_home / ".local" / "share" / "pattern-tracker"
    (data / "hooks").mkdir(parents=True)
    (data / "venv").mkdir()
    assert main(["uninstall"]) == 0
    assert not data.exists()
    assert (state_dir.spool / "s.1.json").exists()
    assert f"kept {state_dir.root} (0 events and 1 payloads undelivered)" in capsys.readouterr().out


def test_uninstall_removes_the_short_directory_of_a_long_socket_path(private_home, monkeypatch):
    root = private_home / ("x" * 120)
    monkeypatch.setenv("XDG_STATE_HOME", str(root))
    state_dir = StateDir(root=root / "pattern-tracker")
    state_dir.prepare()
    short = state_dir.intelligence_socket.parent
    assert short.is_dir()
    assert short.parent != state_dir.root.parent
    assert main(["uninstall"]) == 0
    assert not short.exists()
    assert state_dir.spool.is_dir()


def test_reader_who_leaves_does_not_stop_the_steps():
    # A pipe that nobody reads: every write fails.
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "pattern_tracker.installation", "uninstall", "--dry-run"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=50,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
