"""The process: durability under kill -9, its address, its token, and how it ends."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.intelligence_process import (
    BATCH,
    ServedApi,
    pattern_event,
    served,
    started,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCHES = 60
EVENTS_PER_BATCH = 20


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Private, and with a name short enough for a socket."""
    path = tmp_path_factory.mktemp("i")
    path.chmod(0o700)
    return path


def on_socket(folder: Path) -> tuple[str | Path, ...]:
    return "--socket", folder / "s", "--database", folder / "db"


def batch(number: int) -> dict[str, Any]:
    names = [f"{number}-{place}" for place in range(EVENTS_PER_BATCH)]
    events = [pattern_event("created", names[0], event_id=f"e{names[0]}")]
    for parent, name in itertools.pairwise(names):
        events.append(
            pattern_event("modified", name, parent_pattern_ids=[parent], event_id=f"e{name}")
        )
    return {"events": events}


async def send(api: ServedApi, numbers: list[int], acknowledged: set[str]) -> None:
    """Send batches until all are answered or the process is gone."""
    async with api.session() as client:
        for number in numbers:
            try:
                async with client.post(BATCH, json=batch(number)) as answer:
                    body = await answer.json()
            except (aiohttp.ClientError, OSError):
                return
            assert body["success"], body
            acknowledged |= {result["data"]["event_id"] for result in body["successful_results"]}


def stored_events(folder: Path) -> list[str]:
    connection = sqlite3.connect(folder / "db")
    try:
        return [event_id for (event_id,) in connection.execute("SELECT event_id FROM events")]
    finally:
        connection.close()


@pytest.mark.parametrize("seed", range(5))
async def test_kill_in_the_middle_of_batches_keeps_each_acknowledged_event_once(
    folder: Path, seed: int
) -> None:
    acknowledged: set[str] = set()
    everything = list(range(BATCHES))
    with served(*on_socket(folder)) as api:
        sending = asyncio.create_task(send(api, everything, acknowledged))
        # At a random instant, but not before anything was acknowledged.
        target = random.Random(seed).randrange(EVENTS_PER_BATCH, BATCHES * EVENTS_PER_BATCH // 2)
        while len(acknowledged) < target:  # noqa: ASYNC110 - each turn of the loop is an instant
            await asyncio.sleep(0)
        api.send_signal(signal.SIGKILL)
        await sending
    assert acknowledged <= set(stored_events(folder))
    with served(*on_socket(folder)) as api:
        await send(api, everything, acknowledged)
    stored = stored_events(folder)
    assert len(stored) == len(set(stored)) == BATCHES * EVENTS_PER_BATCH
    assert acknowledged == set(stored)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_cleanly_and_removes_the_socket(
    folder: Path, number: signal.Signals
) -> None:
    with served(*on_socket(folder)) as api:
        assert (folder / "s").is_socket()
        api.send_signal(number)
        assert api.finish() == (0, "")
    assert not (folder / "s").exists()
    assert not (folder / "db-wal").exists()


async def test_request_in_hand_is_finished_before_the_end(folder: Path) -> None:
    with served(*on_socket(folder)) as api:
        arrived = asyncio.Event()

        async def slow_body() -> Any:
            yield b'{"events": ['
            arrived.set()
            await asyncio.to_thread(wait_until, lambda: not accepts(folder / "s"), what="closing")
            yield b"]}"

        async with api.session() as client:
            request = asyncio.create_task(post_raw(client, slow_body()))
            await arrived.wait()
            # The head must have been read, or there is no request in hand yet.
            async with client.get("/health") as health:
                assert health.status == 200
            api.send_signal(signal.SIGTERM)
            assert await request == 200
        assert api.finish()[0] == 0


async def post_raw(client: aiohttp.ClientSession, body: Any) -> int:
    async with client.post(BATCH, data=body) as answer:
        return answer.status


def accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def test_end_of_stdin_ends_it_where_asked_for(folder: Path) -> None:
    with served(*on_socket(folder), "--until-stdin-closes") as api:
        api.close_stdin()
        assert api.finish()[0] == 0
    assert not (folder / "s").exists()


async def test_end_of_stdin_is_ignored_otherwise(folder: Path) -> None:
    with served(*on_socket(folder)) as api:
        api.close_stdin()
        async with api.session() as client, client.get("/health") as answer:
            assert answer.status == 200


def test_socket_and_database_are_private(folder: Path) -> None:
    with served(*on_socket(folder)):
        for name in ("s", "s.lock", "db", "db-wal", "db.lock"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name


def test_taken_socket_is_refused_naming_it_and_the_setting(folder: Path) -> None:
    with served(*on_socket(folder)):
        arguments = ("--socket", folder / "s", "--database", folder / "other")
        with started(*arguments) as second:
            code, errors = second.finish()
        assert code == 2
        assert f"unix:{folder / 's'} is already in use" in errors
        assert "--socket" in errors
        assert accepts(folder / "s")


def test_socket_of_a_stranger_is_not_taken_over(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(folder / "s"))
        stranger.listen()
        with started(*on_socket(folder)) as api:
            code, errors = api.finish()
        assert (code, "--socket" in errors) == (2, True)
        assert accepts(folder / "s")


def test_stale_socket_of_a_killed_process_is_replaced(folder: Path) -> None:
    with served(*on_socket(folder)) as api:
        api.send_signal(signal.SIGKILL)
        api.finish()
    assert (folder / "s").is_socket()
    with served(*on_socket(folder)):
        assert accepts(folder / "s")


def test_successor_waits_for_a_predecessor_that_is_going(folder: Path) -> None:
    with served(*on_socket(folder)) as first, started(*on_socket(folder)) as second:
        first.send_signal(signal.SIGTERM)
        second.wait_ready()
        assert accepts(folder / "s")


def test_file_where_the_socket_should_be_is_left_alone(folder: Path) -> None:
    (folder / "s").write_text("precious")
    with started(*on_socket(folder)) as api:
        code, errors = api.finish()
    assert (code, "not a socket" in errors) == (1, True)
    assert (folder / "s").read_text() == "precious"


def test_directory_that_others_can_enter_is_refused_and_not_changed(folder: Path) -> None:
    folder.chmod(0o755)
    with started(*on_socket(folder)) as api:
        code, errors = api.finish()
    assert (code, "chmod 700" in errors) == (1, True)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_database_in_use_is_refused_naming_it_and_the_setting(folder: Path) -> None:
    with (
        served(*on_socket(folder)),
        started("--socket", folder / "s2", "--database", folder / "db") as second,
    ):
        code, errors = second.finish()
    assert code == 2
    assert f"{folder / 'db'} is already in use" in errors
    assert "--database" in errors


def test_taken_port_is_refused_naming_it_and_the_setting(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        arguments = ("--port", str(port), "--database", folder / "db")
        with started(*arguments, INTELLIGENCE_API_TOKEN="t") as api:
            code, errors = api.finish()
    assert code == 2
    assert f"http://127.0.0.1:{port} is already in use" in errors
    assert "--port" in errors


def test_tcp_without_a_token_is_refused(folder: Path) -> None:
    with started("--port", "0", "--database", folder / "db") as api:
        code, errors = api.finish()
    assert (code, "INTELLIGENCE_API_TOKEN" in errors) == (1, True)
    assert not (folder / "db").exists()


def test_token_file_that_others_can_read_is_refused(folder: Path) -> None:
    path = folder / "token"
    path.write_text("t")
    path.chmod(0o644)
    with started("--port", "0", "--token-file", path, "--database", folder / "db") as api:
        code, errors = api.finish()
    assert (code, "chmod 600" in errors) == (1, True)


async def test_token_file_is_what_tcp_asks_for(folder: Path) -> None:
    path = folder / "token"
    path.touch(mode=0o600)
    path.write_text("secret\n")
    with served("--port", "0", "--token-file", path, "--database", folder / "db") as api:
        headers = {"Authorization": "Bearer secret"}
        async with api.session(headers=headers) as client, client.get("/health") as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    "arguments",
    [
        ("--socket", "s", "--port", "1"),
        ("--socket", "s", "--token-file", "t"),
        ("--port", "70000"),
        ("--retention-days", "-1"),
    ],
)
def test_options_that_contradict_are_a_usage_error(arguments: tuple[str, ...]) -> None:
    with started(*arguments) as api:
        code, errors = api.finish()
    assert (code, "usage:" in errors) == (2, True)


def test_defaults_lie_in_the_state_directory(private_home: Path) -> None:
    with served() as api:
        path = Path(api.address.removeprefix("unix:"))
        assert path.is_socket()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        found = list(private_home.rglob("intelligence.sqlite3"))
    assert len(found) == 1
    assert found[0].parent.name == "pattern-tracker"


def test_full_disk_is_not_acknowledged_and_space_heals_it(folder: Path) -> None:
    """A file size limit stands in for the full disk: the write fails in the same place."""
    with served(*on_socket(folder)) as api:
        asyncio.run(fill(api))


async def fill(api: ServedApi) -> None:
    import resource  # noqa: PLC0415

    if not hasattr(resource, "prlimit"):
        pytest.skip("limits of a running process can be changed on Linux only")
    pid = api.process.pid
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    async with api.session() as client:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, unlimited[1]))
        async with client.post(BATCH, json=batch(1)) as answer:
            body = await answer.json()
        assert (answer.status, body["success"]) == (503, False)
        async with client.get("/health") as health:
            assert health.status == 503
        resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        async with client.post(BATCH, json=batch(1)) as answer:
            body = await answer.json()
        assert (answer.status, body["success"]) == (200, True)
        assert body["batch_summary"]["handled_duplicates"] == 0


async def test_retention_is_applied_when_it_starts(folder: Path) -> None:
    with served(*on_socket(folder)) as api:
        await send(api, [1], set())
    make_older(folder, days=3)
    with served(*on_socket(folder), "--retention-days", "5"):
        pass
    assert len(stored_events(folder)) == EVENTS_PER_BATCH
    with served(*on_socket(folder), "--retention-days", "2"):
        await asyncio.to_thread(wait_until, lambda: not stored_events(folder), what="retention")


def make_older(folder: Path, *, days: int) -> None:
    connection = sqlite3.connect(folder / "db")
    connection.execute("UPDATE events SET received_at = received_at - ?", (days * 86_400,))
    connection.commit()
    connection.close()


def test_help_imports_no_web_server() -> None:
    program = (
        "import sys; from pattern_intelligence.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('aiohttp' in sys.modules or 'asyncio' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env=os.environ, check=False
    )
    assert ended.returncode == 0, ended.stderr
