"""Builds what the drainer works on: state directories, payloads, and passes over them."""

from __future__ import annotations

import itertools
import json
import os
import random
from typing import TYPE_CHECKING, Any

from pattern_tracker.drain import Drain
from pattern_tracker.events import CaptureState, EventState
from pattern_tracker.ledger.schema import count_all, open_for_reading
from pattern_tracker.settings import Settings
from pattern_tracker.state_dir import StateDir

if TYPE_CHECKING:
    from pathlib import Path

    from pattern_tracker.clock import Clock
    from pattern_tracker.drain import PassReport

SESSION = "3b0d1f52-9f0e-4a57-8c2e-5d5a6e0f1c2b"

_numbers = itertools.count(1)


def make_state_dir(root: Path) -> StateDir:
    state_dir = StateDir(root=root)
    state_dir.prepare()
    return state_dir


def make_settings(state_dir: StateDir, url: str | None = None, **values: Any) -> Settings:
    return Settings(state_dir=state_dir.root, service_url=url, **values)


def write_payload(
    content: str,
    *,
    path: str = "/home/user/project/a.py",
    before: str | None = None,
    tool_use_id: str | None = None,
    event: str = "PostToolUse",
) -> dict[str, Any]:
    """A payload of the Write tool, as Claude Code sends it."""
    return {
        "session_id": SESSION,
        "cwd": "/home/user/project",
        "hook_event_name": event,
        "tool_name": "Write",
        "tool_input": {"file_path": path, "content": content},
        "tool_response": {
            "type": "create" if before is None else "update",
            "filePath": path,
            "content": content,
            "structuredPatch": [],
            "originalFile": before,
            "userModified": False,
        },
        "tool_use_id": tool_use_id or f"toolu_{next(_numbers):012d}",
        "duration_ms": 3,
    }


def put(
    state_dir: StateDir,
    payload: dict[str, Any] | bytes,
    *,
    name: str | None = None,
    mtime: float | None = None,
) -> Path:
    """Put a file into the spool, as the hook would."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    file = state_dir.spool / (name or f"{SESSION}.{next(_numbers):08d}.json")
    file.write_bytes(raw)
    if mtime is not None:
        os.utime(file, (mtime, mtime))
    return file


def make_drain(settings: Settings, clock: Clock) -> Drain:
    return Drain(load_settings=lambda: settings, clock=clock, rng=random.Random(7))


async def one_pass(settings: Settings, clock: Clock, *, forced: bool = False) -> PassReport:
    async with make_drain(settings, clock) as drain:
        return await drain.run_pass(forced=forced)


def tally(state_dir: StateDir) -> dict[tuple[str, str], int]:
    """(book, state) -> how many; also proves that the kept sums equal the counted rows."""
    connection = open_for_reading(state_dir.ledger)
    if connection is None:
        return {}
    try:
        rows = connection.execute("SELECT * FROM tally").fetchall()
        counted = count_all(connection)
    finally:
        connection.close()
    assert {(b, s, c): (n, size) for b, s, c, n, size in rows if n or size} == counted
    sums: dict[tuple[str, str], int] = {}
    for (book, state, _), (n, _) in counted.items():
        assert state in {*CaptureState, *EventState}
        sums[book, state] = sums.get((book, state), 0) + n
    return sums


def event_states(state_dir: StateDir) -> list[tuple[str, str]]:
    """(event type, state) of every event, in the order in which they were entered."""
    connection = open_for_reading(state_dir.ledger)
    assert connection is not None
    try:
        return connection.execute("SELECT event_type, state FROM events ORDER BY seq").fetchall()
    finally:
        connection.close()
