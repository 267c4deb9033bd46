"""A real daemon at its work: payloads in the spool come out as delivered events, whatever fails."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pattern_tracker.ledger.schema import count_all, open_for_reading
from tests.daemon_process import PAYLOADS, DaemonHome, is_alive, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSING = "http://127.0.0.1:9"


@pytest.fixture
def home() -> Iterator[DaemonHome]:
    made = DaemonHome()
    yield made
    made.close()


@contextmanager
def hanging_server() -> Iterator[tuple[str, threading.Event]]:
    """Well, but it never answers an event; its address, and whether one has come."""
    asked, over = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status": "healthy"}')

        def do_POST(self) -> None:
            asked.set()
            over.wait(30)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_recorded_payloads_end_as_delivered_events(home: DaemonHome) -> None:
    home.start()
    for payload in PAYLOADS.glob("*.json"):
        shutil.copy(payload, home.state.spool)
    wait_until(lambda: not list(home.state.spool.iterdir()), what="an empty spool")
    wait_until(lambda: home.delivered() and not home.summary().waiting, what="delivery")

    assert set(home.summary().tally["events"]) == {"delivered"}
    assert "quarantined" not in home.summary().tally["captures"]
    connection = sqlite3.connect(home.state.intelligence_database)
    ids = {row[0] for row in connection.execute("SELECT event_id FROM events")}
    connection.close()
    assert len(ids) == home.delivered()


def test_payloads_that_waited_for_the_daemon_are_delivered(home: DaemonHome) -> None:
    home.state.prepare()
    for _ in range(20):
        home.drop()
    home.start()
    wait_until(lambda: home.delivered() == 20, what="delivery")


def test_payload_that_is_still_being_written_is_taken_when_whole(home: DaemonHome) -> None:
    home.start()
    whole = json.dumps({"session_id": "s", "hook_event_name": "Stop"})
    with (home.state.spool / "slow.json").open("w") as stream:
        stream.write(whole[:20])
        stream.flush()
        home.drop()
        wait_until(lambda: home.delivered() == 1, what="the good one behind it")
        stream.write(whole[20:])
    wait_until(lambda: not list(home.state.spool.iterdir()), what="an empty spool")
    assert "quarantined" not in home.summary().tally["captures"]


def test_killed_api_comes_back_and_delivery_goes_on(home: DaemonHome) -> None:
    api = home.start().api
    home.kill_api()
    home.drop()
    wait_until(lambda: home.delivered() == 1, what="delivery")
    after = home.record().api
    assert after.pid not in {None, api.pid}
    assert after.restarts == 1
    assert home.status()[0] == 0


def test_api_that_cannot_start_is_told_and_payloads_are_kept(home: DaemonHome) -> None:
    home.state.prepare()
    home.state.intelligence_socket.write_text("not a socket")
    started = home.run("start")
    assert started.returncode == 1
    assert "is not a socket" in started.stderr

    home.drop()
    wait_until(lambda: sum(home.summary().waiting.values()) == 1, what="the payload taken in")
    code, status = home.status()
    assert code == 4
    assert any("embedded API is down" in problem for problem in status["problems"])

    home.state.intelligence_socket.unlink()
    wait_until(lambda: home.delivered() == 1, what="delivery")
    wait_until(lambda: home.status()[0] == 0, what="all is well")


def test_api_stops_when_a_service_is_configured_and_returns(home: DaemonHome) -> None:
    api = home.start().api
    home.configure(f'[service]\nurl = "{REFUSING}"\n')
    wait_until(lambda: not is_alive(api.pid), what="the end of the API")
    wait_until(lambda: home.record().api is None, what="the record")

    home.configure("")
    wait_until(lambda: (found := home.record().api) and found.pid, what="the API")
    home.drop()
    wait_until(lambda: home.delivered() == 1, what="delivery")


def test_service_that_refuses_degrades_and_keeps_everything(home: DaemonHome) -> None:
    home.configure(f'[service]\nurl = "{REFUSING}"\n[breaker]\nfailure_threshold = 1\n')
    assert home.run("start").returncode == 0
    assert home.status()[0] == 0
    for _ in range(5):
        home.drop()
    wait_until(lambda: home.summary().waiting.get(REFUSING) == 5, what="five waiting events")
    wait_until(lambda: home.status()[0] == 4, what="degraded")
    _, status = home.status()
    assert status["backlog"]["events"] == 5
    assert status["gate"]["state"] in {"waiting", "probing"}
    assert status["gate"]["reason"]
    assert status["gate"]["retry_at"]
    lines = home.run("status").stdout
    assert "degraded" in lines
    assert "problem" in lines
    assert len(home.logged("not sending")) < 4


def test_bad_setting_degrades_until_it_is_repaired(home: DaemonHome) -> None:
    home.start()
    home.configure("[cache]\nmax_size_mb = -1\n")
    wait_until(lambda: home.status()[0] == 4, what="degraded")
    wait_until(lambda: home.record().problem, what="the problem recorded")
    _, status = home.status()
    assert any("max_size_mb" in problem for problem in status["problems"])

    home.drop()
    home.configure("")
    wait_until(lambda: home.delivered() == 1, what="delivery")
    wait_until(lambda: home.status()[0] == 0, what="all is well")
    assert len(home.logged("pass failed")) == 1
    assert len(home.logged("passes work again")) == 1


def test_bad_setting_at_the_start_is_told_by_start(home: DaemonHome) -> None:
    home.configure("[cache]\nmax_size_mb = -1\n")
    done = home.run("start")
    assert done.returncode == 1
    assert "max_size_mb" in done.stderr


def test_damaged_ledger_is_set_aside_and_told(home: DaemonHome) -> None:
    home.state.prepare()
    home.state.ledger.write_bytes(b"this is not a database" * 100)
    home.drop()
    home.start()
    wait_until(lambda: home.delivered() == 1, what="delivery")
    wait_until(lambda: home.record().damaged_ledger, what="the record")
    assert Path(home.record().damaged_ledger).read_bytes().startswith(b"this is not a database")
    code, status = home.status()
    assert code == 0
    assert any("damaged" in note for note in status["notes"])


def test_terminate_while_a_request_hangs_ends_in_time_and_loses_nothing(home: DaemonHome) -> None:
    with hanging_server() as (url, asked):
        home.configure(f'[service]\nurl = "{url}"\ntimeout = 60\n')
        process = home.run_in_foreground()
        home.wait_ready()
        home.drop()
        assert asked.wait(20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(8) == 0
    assert home.summary().waiting == {url: 1}
    assert not home.state.daemon_record.exists()


def test_second_interrupt_does_not_wait_for_the_pass(home: DaemonHome) -> None:
    with hanging_server() as (url, asked):
        home.configure(f'[service]\nurl = "{url}"\ntimeout = 60\n')
        process = home.run_in_foreground()
        home.wait_ready()
        home.drop()
        assert asked.wait(20)
        process.send_signal(signal.SIGINT)
        wait_until(lambda: home.logged("stopping"), what="the first signal")
        process.send_signal(signal.SIGINT)
        assert process.wait(8) == 0


@pytest.mark.parametrize("victim", ["daemon", "api"])
def test_kills_in_mid_backlog_lose_and_double_nothing(home: DaemonHome, victim: str) -> None:
    home.state.prepare()
    total = 300
    for _ in range(total):
        home.drop()
    for _ in range(3):
        home.start()
        if victim == "daemon":
            home.kill()
        else:
            home.kill_api()
    home.start()
    wait_until(lambda: home.delivered() == total, what="delivery")

    connection = open_for_reading(home.state.ledger)
    assert connection is not None
    assert count_all(connection)["events", "delivered", ""] == (total, 0)
    connection.close()
    connection = sqlite3.connect(home.state.intelligence_database)
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (total,)
    connection.close()


def test_following_the_log_ends_with_an_interrupt(home: DaemonHome) -> None:
    home.start()
    with subprocess.Popen(
        home.command("logs", "-f"), stdout=subprocess.PIPE, text=True
    ) as follower:
        try:
            assert follower.stdout is not None
            assert json.loads(follower.stdout.readline())["event"] == "started"
            follower.send_signal(signal.SIGINT)
            assert follower.wait(20) == 0
        finally:
            follower.kill()


def test_logs_ends_quietly_when_its_reader_has_enough(home: DaemonHome) -> None:
    home.state.prepare()
    home.state.daemon_log.write_text('{"event":"x"}\n' * 50_000)
    command = ["/bin/sh", "-c", '"$@" | head -n 1', "sh", *home.command("logs")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ('{"event":"x"}\n', "")


@contextmanager
def small_disk(home: DaemonHome) -> Iterator[Path]:
    """Put the state directory on a tmpfs of 2 MB that only the daemon's commands see.

    The path given is for files; SQLite would resolve it to what everybody else sees.
    """
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("needs Linux mount namespaces")
    home.state.prepare()
    script = 'mount -t tmpfs -o size=2m,mode=700 tmpfs "$1" && echo ready && read -r _'
    holder = ["unshare", "--mount", "--map-root-user", "/bin/sh", "-c", script, "sh"]
    with subprocess.Popen(
        [*holder, str(home.state.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            if process.stdout.readline() != b"ready\n":
                pytest.skip("not permitted to mount a tmpfs")
            enter = ["nsenter", "--user", "--mount", "--preserve-credentials", "--target"]
            home.prefix = [*enter, str(process.pid)]
            yield Path(f"/proc/{process.pid}/root{home.state.root}")
        finally:
            process.stdin.close()


def test_full_disk_degrades_and_goes_on_when_there_is_room(home: DaemonHome) -> None:
    def waiting() -> int:
        return home.status()[1]["backlog"]["events"]

    def passes_fail() -> bool:
        code, status = home.status()
        return code == 4 and any("passes fail" in problem for problem in status["problems"])

    with small_disk(home) as disk:
        home.configure(f'[service]\nurl = "{REFUSING}"\n')
        assert home.run("start").returncode == 0
        try:
            for _ in range(3):
                home.drop(spool=disk / "spool")
            wait_until(lambda: waiting() == 3, what="three taken in")
            assert not passes_fail()

            home.drop(spool=disk)
            (fourth,) = set(disk.glob("*.json")) - {disk / "daemon.json"}
            filler = disk / "filler"
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            fourth.rename(disk / "spool" / fourth.name)
            wait_until(passes_fail, what="degraded")

            filler.unlink()
            wait_until(lambda: waiting() == 4, what="the fourth taken in")
            wait_until(lambda: not passes_fail(), what="passes that work again")
        finally:
            assert home.run("stop").returncode == 0
