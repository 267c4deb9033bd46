"""`ensure`, as the launcher runs it at the start of every session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pattern_daemon import ensure
from tests.daemon_process import DaemonHome, streams_of, wait_until, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL_AT_ONCE = 500
# As many processes as a small machine can hold without swapping.
TOGETHER = 100


@pytest.fixture
def home() -> Iterator[DaemonHome]:
    made = DaemonHome()
    yield made
    made.close()


def launch(home: DaemonHome) -> list[str]:
    return [sys.executable, "-I", "-S", ensure.__file__, str(home.state.root), str(home.config)]


def test_ensure_starts_a_daemon_that_delivers(home: DaemonHome) -> None:
    home.state.prepare()
    home.drop()
    done = subprocess.run(launch(home), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    wait_until(lambda: home.delivered() == 1, what="delivery")
    assert home.status()[0] == 0


def test_ensure_beside_a_running_daemon_changes_nothing(home: DaemonHome) -> None:
    record = home.start()
    assert subprocess.run(launch(home), check=False).returncode == 0
    assert home.run("ensure").returncode == 0
    assert home.record().process == record.process


def test_ensure_without_a_state_directory_creates_nothing(home: DaemonHome) -> None:
    done = subprocess.run(launch(home), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not home.state.root.exists()

    typed = home.run("ensure")
    assert typed.returncode == 1
    assert f"{home.state.root}: does not exist" in typed.stderr


def test_500_at_once_make_exactly_one_daemon(home: DaemonHome) -> None:
    home.state.prepare()
    for _ in range(ALL_AT_ONCE // TOGETHER):
        with ExitStack() as stack:
            batch = [
                stack.enter_context(
                    subprocess.Popen(launch(home), stdin=subprocess.DEVNULL, close_fds=False)
                )
                for _ in range(TOGETHER)
            ]
        assert [process.returncode for process in batch] == [0] * TOGETHER

    home.wait_ready()
    assert len(home.logged("started")) == 1
    assert len(daemons_of(home)) == 1


def test_ensure_lets_go_of_everything_that_it_inherited(home: DaemonHome) -> None:
    """Claude Code waits until every copy of a hook's streams is closed."""
    home.state.prepare()
    read, write = os.pipe()
    os.set_inheritable(write, True)
    with subprocess.Popen(
        launch(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, close_fds=False
    ) as process:
        # Both streams end although the daemon lives.
        assert process.communicate(timeout=30) == (b"", b"")
    os.close(write)
    assert os.read(read, 1) == b""
    os.close(read)

    pid = home.wait_ready().pid
    assert home.held()
    assert os.getsid(pid) == pid


def test_ensure_with_its_streams_closed_keeps_its_lock(home: DaemonHome) -> None:
    home.state.prepare()
    script = 'exec "$@" <&- >&- 2>&-'
    done = subprocess.run(["/bin/sh", "-c", script, "sh", *launch(home)], check=False)
    assert done.returncode == 0
    pid = home.wait_ready().pid
    assert streams_of(pid) == [os.devnull] * 3
    assert home.held()


def test_daemon_of_a_background_job_can_be_stopped(home: DaemonHome) -> None:
    home.state.prepare()
    # A shell without job control ignores SIGINT and SIGQUIT for what it runs with `&`.
    script = '"$@" </dev/null >/dev/null 2>&1 & wait'
    subprocess.run(["/bin/sh", "-c", script, "sh", *launch(home)], check=True)
    pid = home.wait_ready().pid
    os.kill(pid, signal.SIGINT)
    wait_until(lambda: not home.held(), what="the daemon's end")


def test_ensure_after_a_kill_starts_anew(home: DaemonHome) -> None:
    first = home.start()
    home.kill()
    subprocess.run(launch(home), check=True)
    wait_until(lambda: (found := home.maybe_record()) and found.ready, what="ready")
    assert home.record().pid != first.pid


def test_ensure_beside_a_daemon_imports_nothing_that_a_bare_interpreter_does_not(
    home: DaemonHome,
) -> None:
    home.start()
    bare = imported("-c", "import os, fcntl, sys")
    assert imported(*launch(home)[3:]) - bare == set()


def imported(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def daemons_of(home: DaemonHome) -> list[int]:
    """The processes that run with this state directory on their command line."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    wanted = {"run", str(home.state.root)}
    return [pid for pid in pids if wanted <= set(words_of(pid, "cmdline"))]
