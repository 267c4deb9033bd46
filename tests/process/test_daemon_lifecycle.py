"""Starting, stopping and looking at a real daemon, with everything that may be left over."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from pattern_daemon import lifecycle
from pattern_daemon.identity import ProcessIdentity, identity_of
from pattern_daemon.lock import DaemonLock
from pattern_daemon.record import DaemonRecord, write_record
from tests.daemon_process import DaemonHome, is_alive, link_of, streams_of, wait_until, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def home() -> Iterator[DaemonHome]:
    made = DaemonHome()
    yield made
    made.close()


@pytest.fixture
def innocent() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any of this."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_start_status_start_stop_status(home: DaemonHome) -> None:
    started = home.run("start")
    pid = home.record().pid
    assert (started.returncode, started.stdout) == (0, f"started (pid {pid})\n")

    code, status = home.status()
    assert (code, status["condition"], status["pid"]) == (0, "running", pid)
    assert status["api"]["pid"] == home.record().api.pid

    again = home.run("start")
    assert (again.returncode, again.stdout) == (0, f"already running (pid {pid})\n")

    stopped = home.run("stop")
    assert stopped.returncode == 0
    assert stopped.stdout.splitlines() == [
        f"waiting up to 10 s for pid {pid} to finish its batch",
        f"stopped (pid {pid})",
    ]
    assert home.status()[0] == 3
    assert not is_alive(pid)
    assert not home.state.daemon_record.exists()


def test_restart_gives_another_process(home: DaemonHome) -> None:
    before = home.start()
    done = home.run("restart")
    assert done.returncode == 0, done.stderr
    assert home.record().pid != before.pid


def test_restart_and_stop_without_a_daemon_succeed(home: DaemonHome) -> None:
    stopped = home.run("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "not running\n")
    assert home.run("restart").returncode == 0


def test_looking_creates_nothing(home: DaemonHome) -> None:
    assert home.run("status").returncode == 3
    assert home.run("stop").returncode == 0
    assert home.run("logs").returncode == 0
    assert not home.state.root.exists()


def test_everything_is_private(home: DaemonHome) -> None:
    home.start()
    assert home.state.root.stat().st_mode & 0o777 == 0o700
    for path in home.state.root.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_daemon_is_detached_from_its_starter(home: DaemonHome) -> None:
    record = home.start()
    assert os.getsid(record.pid) == record.pid
    assert link_of(record.pid, "cwd") == "/"
    assert streams_of(record.pid) == [os.devnull] * 3


def test_daemon_keeps_only_what_it_needs_of_the_environment(
    home: DaemonHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTELLIGENCE_SERVICE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LD_LIBRARY_PATH_OF_A_PROJECT", "x")
    done = home.run("start")
    assert done.returncode == 0
    assert "INTELLIGENCE_SERVICE_URL of this shell does not reach the daemon" in done.stderr

    names = {word.partition("=")[0] for word in words_of(home.record().pid, "environ") if word}
    assert names <= {"HOME", "PATH", "LANG", "TMPDIR", "LC_CTYPE"}
    assert home.record().api is not None


def test_second_run_says_who_runs_and_fails(home: DaemonHome) -> None:
    pid = home.start().pid
    second = home.run("run")
    assert second.returncode == 1
    assert f"already running (pid {pid})" in second.stderr
    assert home.status()[0] == 0


def test_killed_daemon_leaves_no_orphan_and_can_be_started_again(home: DaemonHome) -> None:
    record = home.start()
    api = record.api.pid
    home.kill()
    wait_until(lambda: not is_alive(api), what="the end of the API")
    assert home.status()[0] == 3

    assert home.start().pid != record.pid
    assert home.status()[0] == 0


def test_left_over_record_with_the_pid_of_another_process_harms_nobody(
    home: DaemonHome, innocent: subprocess.Popen[bytes]
) -> None:
    home.state.prepare()
    write_record(home.state.daemon_record, record_of(innocent.pid))
    assert home.run("stop").stdout == "not running\n"
    home.start()
    home.run("stop")
    assert innocent.poll() is None


@pytest.mark.parametrize(
    "change",
    [{"boot_id": "another"}, {"host": "another"}, {"pid_namespace": "p"}, {"start_time": "1"}],
    ids=lambda change: next(iter(change)),
)
def test_stop_never_signals_a_process_that_is_not_the_recorded_one(
    home: DaemonHome, innocent: subprocess.Popen[bytes], change: dict[str, str]
) -> None:
    home.state.prepare()
    lock = DaemonLock.take(home.state.daemon_lock)
    write_record(home.state.daemon_record, record_of(innocent.pid, **change))
    stopped = home.run("stop")
    assert stopped.returncode == 1
    assert "nothing was signalled" in stopped.stderr
    assert innocent.poll() is None
    lock.release()


def test_stop_is_done_when_its_daemon_has_ended_and_a_successor_holds_the_lock(
    home: DaemonHome, innocent: subprocess.Popen[bytes]
) -> None:
    home.state.prepare()
    successor = DaemonLock.take(home.state.daemon_lock)
    write_record(home.state.daemon_record, record_of(innocent.pid))
    said: list[str] = []
    lifecycle.stop(home.state, say=said.append)
    assert said[1:] == [f"stopped (pid {innocent.pid})"]
    assert innocent.wait() == -signal.SIGTERM
    successor.release()


def test_stop_without_pidfd_compares_before_it_signals(
    home: DaemonHome, innocent: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    home.state.prepare()
    lock = DaemonLock.take(home.state.daemon_lock)
    write_record(home.state.daemon_record, record_of(innocent.pid, start_time="1"))
    with pytest.raises(lifecycle.LifecycleError, match="another start time"):
        lifecycle.stop(home.state, say=lambda _: None)
    assert innocent.poll() is None
    lock.release()

    home.start()
    lifecycle.stop(home.state, say=lambda _: None)
    assert home.status()[0] == 3


def test_holder_of_the_lock_that_does_not_say_who_it_is_is_left_alone(
    home: DaemonHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "RECORD_SECONDS", 0)
    home.state.prepare()
    lock = DaemonLock.take(home.state.daemon_lock)
    for command in (
        lambda: lifecycle.stop(home.state, say=print),
        lambda: lifecycle.start(home.state, home.config, say=print),
    ):
        with pytest.raises(lifecycle.LifecycleError, match="fuser"):
            command()
    lock.release()


def test_daemon_that_does_not_listen_is_killed(
    home: DaemonHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = home.start()
    os.kill(record.pid, signal.SIGSTOP)
    monkeypatch.setattr(lifecycle, "STOP_SECONDS", 1)
    said: list[str] = []
    lifecycle.stop(home.state, say=said.append)
    assert said[-1] == f"stopped (pid {record.pid})"
    assert "killing it" in said[1]
    wait_until(lambda: not is_alive(record.api.pid), what="the end of the API")


def test_interrupt_ends_a_daemon_that_was_started_with_it_ignored(home: DaemonHome) -> None:
    def ignore() -> None:
        for number in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    # No other thread runs in this test.
    with subprocess.Popen(home.command("run"), preexec_fn=ignore) as process:  # noqa: PLW1509
        try:
            home.wait_ready()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_hangup_is_not_fatal(home: DaemonHome) -> None:
    record = home.start()
    before = record.last_pass_at
    os.kill(record.pid, signal.SIGHUP)
    os.kill(record.pid, signal.SIGHUP)
    home.drop()
    wait_until(lambda: home.delivered() == 1, what="delivery")
    assert home.status()[0] == 0
    assert before is None or home.record().last_pass_at >= before


def test_state_directory_that_cannot_be_made_is_named(home: DaemonHome) -> None:
    home.state.root.write_text("not a directory")
    for command in ("start", "run"):
        done = home.run(command)
        assert done.returncode == 1
        assert str(home.state.root) in done.stderr
        assert "Traceback" not in done.stderr


def test_log_that_cannot_be_opened_is_named(home: DaemonHome) -> None:
    home.state.prepare()
    home.state.daemon_log.mkdir()
    done = home.run("start")
    assert done.returncode == 1
    assert str(home.state.daemon_log) in done.stderr


def test_ledger_of_a_newer_version_is_refused_clearly(home: DaemonHome) -> None:
    home.start()
    home.run("stop")
    connection = sqlite3.connect(home.state.ledger)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    done = home.run("start")
    assert done.returncode == 1
    assert "newer version (schema 99" in done.stderr
    code, status = home.status()
    assert code == 3
    assert "newer version" in status["problems"][0]


def test_ledger_that_becomes_newer_ends_the_running_daemon(home: DaemonHome) -> None:
    home.start()
    connection = sqlite3.connect(home.state.ledger)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    home.drop()
    wait_until(lambda: not home.held(), what="the daemon's end")
    assert "newer version" in home.logged("ended")[0]["reason"]


def test_removed_state_directory_ends_the_daemon_and_is_not_made_again(home: DaemonHome) -> None:
    record = home.start()
    home.state.root.rename(home.root / "away")
    wait_until(lambda: not is_alive(record.pid), what="the daemon's end")
    assert not home.state.root.exists()


def record_of(pid: int, **change: str) -> DaemonRecord:
    found = identity_of(pid)
    assert found is not None
    fields = msgspec.structs.asdict(found) | change
    return DaemonRecord(process=ProcessIdentity(**fields), version="0", since=0.0, ready=True)


@pytest.mark.parametrize("variable", [True, False])
def test_daemon_is_found_and_stopped_with_a_broken_configuration(
    private_home: Path, variable: bool
) -> None:
    config = private_home / ".config" / "pattern-tracker" / "config.toml"
    config.parent.mkdir(parents=True)
    state = private_home / "s" if variable else private_home / ".local/state/pattern-tracker"
    environ = {**os.environ, **({"PATTERN_CACHE_DIR": str(state)} if variable else {})}

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-m", "pattern_daemon", command],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )

    assert run("start").returncode == 0
    config.write_text("[cache")
    looked = run("status")
    assert looked.returncode == 4
    assert looked.stdout.startswith("daemon       degraded (pid ")
    assert str(config) in looked.stdout
    assert looked.stdout.count("not valid TOML") == 1
    assert run("logs").returncode == 0
    assert run("start").returncode == 1
    assert run("stop").returncode == 0
    assert run("status").returncode == 3
