from __future__ import annotations

import asyncio
import sys

import pytest

from pattern_tracker import embedded_api
from pattern_tracker.embedded_api import EmbeddedApi, is_serving, serving
from pattern_tracker.errors import EmbeddedApiError
from tests.core import make_state_dir


@pytest.fixture
def state_dir(tmp_path):
    return make_state_dir(tmp_path / "state")


def stand_in(tmp_path, monkeypatch, script):
    """Something else in place of the child; `sys.executable` is all that is asked for."""
    program = tmp_path / "child"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


async def test_api_serves_while_it_runs_and_is_gone_afterwards(state_dir):
    assert not await is_serving(state_dir)
    async with EmbeddedApi(state_dir) as api:
        assert api.pid is not None
        assert await is_serving(state_dir)
    assert api.pid is None
    assert not await is_serving(state_dir)


async def test_socket_left_over_is_not_taken_for_a_service(state_dir):
    server = await asyncio.start_unix_server(lambda *_: None, str(state_dir.intelligence_socket))
    server.close()
    await server.wait_closed()
    assert not await is_serving(state_dir)


async def test_child_that_ends_at_once_is_an_error_with_its_words(state_dir, tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "echo 'address taken'; echo 'set another'; exit 3")
    api = EmbeddedApi(state_dir)
    with pytest.raises(EmbeddedApiError, match=r"address taken\s+set another\. Run `pattern-in"):
        await api.start()
    assert api.pid is None


async def test_child_that_never_gets_ready_is_ended(state_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded_api, "START_TIMEOUT_SECONDS", 0.2)
    stand_in(tmp_path, monkeypatch, "exec sleep 60")
    with pytest.raises(EmbeddedApiError, match="not ready after"):
        await EmbeddedApi(state_dir).start()


async def test_child_that_ignores_requests_to_end_is_killed(state_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded_api, "STOP_TIMEOUT_SECONDS", 0.2)
    stand_in(
        tmp_path,
        monkeypatch,
        "trap '' TERM; echo 'listening on x'; while :; do read -r x || :; done",
    )
    api = await EmbeddedApi(state_dir).start()
    await api.stop()
    await api.stop()
    assert api.pid is None


async def test_what_the_child_prints_is_passed_on(state_dir, tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "echo 'listening on x'; echo one; echo two; read -r x")
    said: asyncio.Queue[str] = asyncio.Queue()
    async with EmbeddedApi(state_dir, log=said.put_nowait):
        assert [await said.get(), await said.get()] == ["one", "two"]


async def test_api_that_another_process_started_at_the_same_moment_is_used(
    state_dir, tmp_path, monkeypatch
):
    stand_in(
        tmp_path,
        monkeypatch,
        f"cd '{tmp_path}' && touch began && until [ -e go ]; do sleep 0.01; done; exit 1",
    )

    async def use():
        async with serving(state_dir):
            assert await is_serving(state_dir)

    using = asyncio.create_task(use())
    while not (tmp_path / "began").exists():  # noqa: ASYNC110 - it is another process that does it
        await asyncio.sleep(0.01)
    server = await asyncio.start_unix_server(
        lambda _, writer: writer.close(), str(state_dir.intelligence_socket)
    )
    (tmp_path / "go").touch()
    await using
    server.close()
    await server.wait_closed()


async def test_api_that_never_starts_is_an_error_after_some_attempts(
    state_dir, tmp_path, monkeypatch
):
    stand_in(tmp_path, monkeypatch, f"echo x >>'{tmp_path}/attempts'; echo no; exit 1")
    with pytest.raises(EmbeddedApiError, match="did not start: no"):
        async with serving(state_dir):
            pass
    assert (tmp_path / "attempts").read_text() == "x\n" * embedded_api.START_ATTEMPTS
