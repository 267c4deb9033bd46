"""What must have come of the payloads that were captured, worked out apart from the program.

Three questions, after any mishap: did everything that was captured arrive, does each thing
that arrived match what was captured, and does a fresh event still get through.  Identities
are derived here a second time, so that a change of theirs (every known capture would look
new) fails a test.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
import zlib
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pattern_tracker.ledger.schema import open_for_reading
from tests.core import put, tally, write_payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pattern_tracker.drain import Drain, PassReport
    from pattern_tracker.state_dir import StateDir
    from tests.fake_clock import FakeClock
    from tests.intelligence_faults import FaultyIntelligence

_CAPTURES = uuid.UUID("6e0c7f0a-53a1-5f0b-9a8e-2f6f3a1d7c55")

# A pause is tried every ten minutes, a stated hold lasts an hour at most, a puzzling answer
# is asked about for a few hours: this many passes see the end of each.
_PASSES = 400


def capture_key(payload: dict[str, Any]) -> uuid.UUID:
    """The key of a payload whose tool-use id Claude made itself."""
    identity = ["tool", payload["tool_use_id"], payload["hook_event_name"]]
    return uuid.uuid5(_CAPTURES, json.dumps(identity, separators=(",", ":")))


@dataclass
class Expected:
    """The events that payloads of the Write tool are worth, in the order given."""

    codes: dict[str, str] = field(default_factory=dict)  # event id -> code
    keys: set[bytes] = field(default_factory=set)
    _known: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, payloads: Iterable[dict[str, Any]]) -> Expected:
        expected = cls()
        for payload in payloads:
            expected.add(payload)
        return expected

    def add(self, payload: dict[str, Any]) -> None:
        key = capture_key(payload)
        if key.bytes in self.keys:
            return
        self.keys.add(key.bytes)
        path = payload["tool_input"]["file_path"]
        before, after = payload["tool_response"]["originalFile"], payload["tool_input"]["content"]
        if before is not None and before not in self._known:
            self.codes[str(uuid.uuid5(key, f"{path}#before"))] = before
        self.codes[str(uuid.uuid5(key, f"{path}#after"))] = after
        self._known |= {before, after}


def assert_arrived(api: FaultyIntelligence, payloads: Iterable[dict[str, Any]]) -> None:
    """Everything captured is stored, as it was captured, and nothing else is.

    The public service adds a row for each repeat; its nodes show that in effect each
    event counted once.
    """
    expected = Expected.of(payloads)
    stored = {
        event["pattern_data"]["event_id"]: event["pattern_data"].get("code")
        for event in api.service.events
    }
    missing = {key: code for key, code in expected.codes.items() if stored.get(key) != code}
    unexpected = stored.items() - expected.codes.items()
    assert (missing, unexpected) == ({}, set()), (missing, unexpected)
    assert {node["pattern_data"]["event_id"] for node in api.nodes.values()} <= set(expected.codes)


def assert_books(state_dir: StateDir, payloads: Iterable[dict[str, Any]]) -> None:
    """Each payload is in the books, with its events, and nothing waits anywhere."""
    expected = Expected.of(payloads)
    sums = tally(state_dir)
    assert sums["captures", "ingested"] == len(expected.keys), sums
    assert sums["events", "delivered"] == len(expected.codes), sums
    assert ("events", "waiting") not in sums, sums
    assert capture_keys(state_dir, state="ingested") == expected.keys
    assert list(state_dir.spool.iterdir()) == []


def capture_keys(state_dir: StateDir, *, state: str) -> set[bytes]:
    """The keys of the captures in one state."""
    connection = open_for_reading(state_dir.ledger)
    assert connection is not None
    with closing(connection):
        rows = connection.execute("SELECT key FROM captures WHERE state = ?", (state,))
        return {key for (key,) in rows}


def stored_by_embedded_api(state_dir: StateDir) -> dict[str, str]:
    """What the embedded API's database holds: event id -> code; each id once, or it fails."""
    path = state_dir.intelligence_database
    if not path.exists():
        return {}
    query = (
        "SELECT e.event_id, b.deflated FROM events e JOIN nodes n ON n.id = e.node_id"
        " LEFT JOIN bodies b ON b.id = coalesce(e.body_id, n.body_id)"
    )
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(query).fetchall()
    stored = {event: zlib.decompress(code).decode() if code else "" for event, code in rows}
    assert len(stored) == len(rows), "an event was stored twice"
    return stored


def waiting(state_dir: StateDir) -> int:
    """How many events wait, plus how many files are in the spool."""
    return tally(state_dir).get(("events", "waiting"), 0) + len(list(state_dir.spool.iterdir()))


async def run_dry(drain: Drain, clock: FakeClock, state_dir: StateDir) -> list[PassReport]:
    """Run passes, each when the one before says that it is of use, until nothing waits."""
    reports = []
    for _ in range(_PASSES):
        reports.append(await drain.run_pass())
        if not waiting(state_dir):
            return reports
        next_at = reports[-1].delivery.next_try_at
        ahead = 0.0 if next_at is None else next_at - clock.now()
        clock.advance(ahead if ahead > 0 else 15.0)
    raise AssertionError(f"{waiting(state_dir)} still wait: {reports[-1]}")


async def assert_fresh_event_arrives(
    api: FaultyIntelligence, drain: Drain, clock: FakeClock, state_dir: StateDir
) -> dict[str, Any]:
    """The third question; returns the payload that was used."""
    payload = write_payload("def fresh():\n    return 'fresh'\n", path="/home/user/project/f.py")
    put(state_dir, payload)
    await run_dry(drain, clock, state_dir)
    assert set(Expected.of([payload]).codes) <= set(api.stored_event_ids)
    return payload


def batch_sizes(requests: Sequence[Any]) -> list[int]:
    """How many events each tracking request carried."""
    bodies = [json.loads(request.body) for request in requests]
    return [len(body["events"]) if "events" in body else 1 for body in bodies]
