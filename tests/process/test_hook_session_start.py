"""SessionStart: captures like any hook, then starts the daemon without letting Claude Code wait."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.hook_runner import SHELLS, Hook, assert_harmless, make_hook, make_state_dir, poll

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHELL_OWN = {"PWD", "OLDPWD", "SHLVL", "_"}
"""What a shell may put into its own environment."""

LAUNCH = """#!/bin/sh
here=${0%/*}
pwd >"$here/cwd"
/usr/bin/env >"$here/environment"
/bin/ls -l /proc/$$/fd >"$here/descriptors" 2>&1
echo $$ >"$here/pid.new"
/bin/mv "$here/pid.new" "$here/pid"
exec /bin/sleep 60
"""


@pytest.fixture(params=SHELLS)
def hook(request: pytest.FixtureRequest, tmp_path: Path) -> Hook:
    made = make_hook(request.param, tmp_path)
    return made or pytest.skip(f"{request.param} is not installed")


class Launched:
    """A launch-daemon that notes what it was given and then stays."""

    def __init__(self, hook: Hook) -> None:
        self.state = hook.state
        path = hook.state / "launch-daemon"
        path.write_text(LAUNCH)
        path.chmod(0o700)

    def started(self) -> bool:
        return poll((self.state / "pid").exists)

    def pid(self) -> int:
        return int((self.state / "pid").read_text())

    def environment(self) -> dict[str, str]:
        lines = (self.state / "environment").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def end(self) -> None:
        if (self.state / "pid").exists():
            os.kill(self.pid(), signal.SIGKILL)


@pytest.fixture
def launched(hook: Hook) -> Iterator[Launched]:
    made = Launched(hook)
    yield made
    made.end()


def test_session_start_stores_the_payload_without_a_launcher(hook: Hook) -> None:
    assert_harmless(hook.run(b'{"source":"startup"}\n', "session_start.sh"))

    assert hook.stored() == [b'{"source":"startup"}\n']


def test_session_start_is_over_for_its_reader_while_the_daemon_lives(
    hook: Hook, launched: Launched
) -> None:
    # run() reads both streams to their end, which would come after the 60 s of the child.
    assert_harmless(hook.run(b"{}\n", "session_start.sh"))

    assert launched.started()
    os.kill(launched.pid(), 0)
    assert hook.stored() == [b"{}\n"]
    descriptors = (hook.state / "descriptors").read_text()
    assert "socket:" not in descriptors
    assert "pipe:" not in descriptors


def test_daemon_holds_neither_stream_even_without_the_registered_redirection(
    hook: Hook, launched: Launched
) -> None:
    script = str(hook.scripts / "session_start.sh")
    command = [str(hook.shell), script, str(hook.state)]

    done = subprocess.run(
        command, input=b"{}\n", capture_output=True, env=dict(hook.env), timeout=30, check=False
    )

    assert (done.returncode, done.stdout) == (0, b"")
    assert launched.started()
    os.kill(launched.pid(), 0)


def test_daemon_starts_in_root_with_three_variables(hook: Hook, launched: Launched) -> None:
    hostile = hook.with_env(
        LANG="C.UTF-8",
        PATH="/nonexistent",
        IFS="/h",
        CDPATH="/usr:/tmp",
        ENV="/nonexistent",
        PYTHONPATH="/nonexistent",
        PYTHONSTARTUP="/nonexistent",
        LD_LIBRARY_PATH="/nonexistent",
        INTELLIGENCE_SERVICE_URL="http://127.0.0.1:1",
        INTELLIGENCE_API_TOKEN="stolen",
        PATTERN_CACHE_DIR="/nonexistent",
        ANTHROPIC_API_KEY="sk-ant-dummy",
        **{"BASH_FUNC_cd%%": "() { :; }", "BASH_FUNC_env%%": "() { :; }"},
    )

    assert_harmless(hostile.run(b"{}\n", "session_start.sh"))

    assert launched.started()
    environment = launched.environment()
    assert {key: environment.pop(key) for key in ("HOME", "PATH", "LANG")} == {
        "HOME": hook.env["HOME"],
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
    }
    assert set(environment) <= SHELL_OWN
    assert (hook.state / "cwd").read_text() == "/\n"


def test_preloaded_library_does_not_reach_the_daemon(hook: Hook, launched: Launched) -> None:
    preloading = hook.with_env(LD_PRELOAD="/nonexistent.so", LD_AUDIT="/nonexistent.so")

    # The loader itself complains, before the first shell reads its command.
    assert preloading.run(b"{}\n", "session_start.sh").returncode == 0

    assert launched.started()
    assert set(launched.environment()) <= SHELL_OWN | {"HOME", "PATH"}
    assert hook.stored() == [b"{}\n"]


def test_startup_files_named_by_variables_are_not_read(
    hook: Hook, launched: Launched, tmp_path: Path
) -> None:
    if hook.shell.name == "bash":
        pytest.skip("bash under its own name reads BASH_ENV before any command; Claude runs sh")
    (tmp_path / "evil").write_text(f"/bin/touch '{tmp_path}/pwned'\n")
    hostile = hook.with_env(BASH_ENV=str(tmp_path / "evil"), ENV=str(tmp_path / "evil"))

    assert_harmless(hostile.run(b"{}\n", "session_start.sh"))

    assert launched.started()
    assert not (tmp_path / "pwned").exists()


def test_unset_home_and_lang_stay_unset(hook: Hook, launched: Launched) -> None:
    assert_harmless(hook.run(b"{}\n", "session_start.sh", env={}))

    assert launched.started()
    assert set(launched.environment()) <= SHELL_OWN | {"PATH"}


@pytest.mark.parametrize("name", ["with space", "a=b", "it's", "new\nline", "*", "$(exit 2)"])
def test_launcher_is_found_whatever_the_directory_is_called(
    hook: Hook, tmp_path: Path, name: str
) -> None:
    moved = hook.at(make_state_dir(tmp_path / "states" / name))
    launched = Launched(moved)

    assert_harmless(moved.run(b"{}\n", "session_start.sh"))

    assert launched.started()
    launched.end()


@pytest.mark.parametrize("flag", ["full", "turned-away"])
def test_daemon_is_started_even_when_nothing_can_be_stored(
    hook: Hook, launched: Launched, flag: str
) -> None:
    (hook.state / flag).touch()

    assert_harmless(hook.run(b"", "session_start.sh"))

    assert launched.started()
    assert hook.turned_away() == 1


def starts_nobody(hook: Hook) -> bool:
    """Whether no process outlives the hook: each one would hold the write end of a pipe."""
    reader, writer = os.pipe()
    result = hook.run(b"{}\n", "session_start.sh", pass_fds=[writer])
    os.close(writer)
    assert_harmless(result)
    ended, _, _ = select.select([reader], [], [], 5)
    os.close(reader)
    return bool(ended)


def test_disabled_file_starts_nothing(hook: Hook, launched: Launched) -> None:
    (hook.state / "disabled").touch()

    assert starts_nobody(hook)
    assert hook.files() == []


def test_switched_off_by_variable_starts_nothing(hook: Hook, launched: Launched) -> None:
    off = hook.with_env(PATTERN_TRACKING_ENABLED="False")

    assert starts_nobody(off)
    assert hook.files() == []


def test_launcher_without_run_bit_is_not_started(hook: Hook, launched: Launched) -> None:
    (hook.state / "launch-daemon").chmod(0o600)

    assert starts_nobody(hook)
    assert hook.stored() == [b"{}\n"]


def test_launcher_that_is_a_directory_is_silent(hook: Hook) -> None:
    (hook.state / "launch-daemon").mkdir()

    assert_harmless(hook.run(b"{}\n", "session_start.sh"))


def test_launcher_that_fails_is_silent(hook: Hook) -> None:
    path = hook.state / "launch-daemon"
    path.write_text("#!/bin/sh\necho noise; echo noise >&2; exit 2\n")
    path.chmod(0o700)

    assert_harmless(hook.run(b"{}\n", "session_start.sh"))

    assert hook.stored() == [b"{}\n"]
