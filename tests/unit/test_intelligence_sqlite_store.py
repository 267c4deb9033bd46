"""The SQLite store: identity, lineage, retention, and what it refuses to open."""

from __future__ import annotations

import itertools
import json
import sqlite3
import stat
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from pattern_intelligence.answers import Tracked
from pattern_intelligence.contract import parse_event
from pattern_intelligence.errors import (
    EventRefusedError,
    StoreTooNewError,
    StoreUnavailableError,
    StoreUnusableError,
)
from pattern_intelligence.retention import forget_expired
from pattern_intelligence.sqlite_store import SqliteStore
from tests.fake_clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DAY = 86_400


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "intelligence.sqlite3"


@pytest.fixture
async def store(path: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    opened = open_store(path, clock)
    yield opened
    await opened.close()


def open_store(path: Path, clock: FakeClock, **options: Any) -> SqliteStore:
    numbers = itertools.count(1)
    return SqliteStore(path, clock=clock, new_id=lambda: f"made-{next(numbers)}", **options)


async def track(store: SqliteStore, kind: str, pattern: str, **fields: Any) -> Any:
    (outcome,) = await store.track([event(kind, pattern, **fields)])
    return outcome


def event(kind: str, pattern: str, **fields: Any) -> Any:
    body = {
        "event_type": f"pattern_{kind}",
        "pattern_id": pattern,
        "pattern_data": {"code": f"code of {pattern}"},
    }
    return parse_event(json.dumps(body | fields).encode())


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def remove(path: Path) -> None:
    path.unlink()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_known_event_id_stores_nothing_and_says_so(store: SqliteStore, path: Path) -> None:
    first = await track(store, "created", "a", event_id="e1")
    again = await track(store, "created", "a", event_id="e1", reason="other")
    assert (first.status, again.status) == (None, "already_exists")
    assert first.event_id == again.event_id == "e1"
    assert first.pattern_node_id == again.pattern_node_id
    assert rows(path, "SELECT event_id, reason FROM events") == [("e1", None)]


async def test_known_event_id_twice_in_one_batch_is_stored_once(
    store: SqliteStore, path: Path
) -> None:
    outcomes = await store.track([event("created", "a", event_id="e1") for _ in range(2)])
    assert [getattr(outcome, "status", None) for outcome in outcomes] == [None, "already_exists"]
    assert rows(path, "SELECT count(*) FROM events") == [(1,)]


async def test_event_without_id_gets_one_and_is_stored_each_time(
    store: SqliteStore, path: Path
) -> None:
    await track(store, "created", "a")
    again = await track(store, "created", "a")
    assert (again.event_id, again.status) == ("made-2", "already_exists")
    assert rows(path, "SELECT count(*) FROM events") == [(2,)]


async def test_nothing_of_an_event_is_dropped(store: SqliteStore, path: Path) -> None:
    await track(store, "created", "parent")
    await track(
        store,
        "modified",
        "a",
        event_id="e1",
        session_id="s1",
        occurred_at=12.5,
        metadata={"k": [1]},
        reason="why",
        tool_name="Edit",
        file_path="/f",
        triggered_by="test",
        parent_pattern_ids=["parent", "unknown-second"],
        pattern_data={"code": "π", "lines": 3, "big": 10**30},
    )
    found = rows(
        path,
        "SELECT session_id, occurred_at, metadata, reason, tool_name, file_path, triggered_by,"
        " parent_pattern_ids, pattern_data, deflated, size_bytes"
        " FROM events JOIN bodies ON bodies.id = body_id WHERE event_id = 'e1'",
    )
    *plain, parents, data, deflated, size = found[0]
    assert plain == ["s1", 12.5, '{"k":[1]}', "why", "Edit", "/f", "test"]
    assert json.loads(parents) == ["parent", "unknown-second"]
    assert json.loads(data) == {"lines": 3, "big": 10**30}
    assert (zlib.decompress(deflated).decode(), size) == ("π", 2)


async def test_equal_code_is_stored_once(store: SqliteStore, path: Path) -> None:
    for pattern in "abc":
        await track(store, "created", pattern, pattern_data={"code": "same"})
    assert rows(path, "SELECT count(*) FROM bodies") == [(1,)]


async def test_edge_comes_from_the_newest_node_of_the_parent(store: SqliteStore) -> None:
    await track(store, "created", "a", pattern_version="1.0.0")
    newer = await track(store, "created", "a", pattern_version="1.0.1")
    child = await track(store, "modified", "b", parent_pattern_ids=["a"])
    assert child.parent_node_ids == [newer.pattern_node_id]
    assert child.generation == 2


async def test_lineage_that_returns_terminates_in_every_question(store: SqliteStore) -> None:
    await track(store, "created", "a")
    await track(store, "modified", "b", parent_pattern_ids=["a"])
    back = await track(store, "modified", "a", parent_pattern_ids=["b"])
    assert isinstance(back, Tracked)
    ancestry = await store.ancestry("a")
    descendants = await store.descendants("a")
    evolution = await store.evolution("a")
    assert ancestry is not None
    assert descendants is not None
    assert evolution is not None
    assert [ancestor.ancestor_pattern_id for ancestor in ancestry.ancestors] == ["a", "b"]
    assert [found.descendant_pattern_id for found in descendants.descendants] == ["b"]
    assert (evolution.total_versions, len(evolution.evolution_edges)) == (2, 2)


async def test_lineage_that_returns_as_a_new_version_is_followed(store: SqliteStore) -> None:
    await track(store, "created", "a", pattern_version="1.0.0")
    await track(store, "modified", "b", pattern_version="1.0.1", parent_pattern_ids=["a"])
    await track(store, "modified", "a", pattern_version="1.0.2", parent_pattern_ids=["b"])
    ancestry = await store.ancestry("a")
    assert ancestry is not None
    assert [found.ancestor_pattern_id for found in ancestry.ancestors] == ["a", "b", "a"]
    assert [found.generation for found in ancestry.ancestors] == [0, 1, 2]


async def test_pattern_modified_from_itself_is_stored_without_an_edge(
    store: SqliteStore, path: Path
) -> None:
    await track(store, "created", "a")
    outcome = await track(store, "modified", "a", parent_pattern_ids=["a"])
    assert isinstance(outcome, Tracked)
    assert rows(path, "SELECT count(*) FROM edges") == [(0,)]
    assert rows(path, "SELECT count(*) FROM events") == [(2,)]


async def test_deep_lineage_is_answered_whole(store: SqliteStore) -> None:
    await store.track(
        [event("created", "0")]
        + [event("modified", str(n), parent_pattern_ids=[str(n - 1)]) for n in range(1, 1500)]
    )
    ancestry = await store.ancestry("1499")
    descendants = await store.descendants("0")
    assert ancestry is not None
    assert descendants is not None
    assert (ancestry.ancestry_depth, ancestry.total_ancestors) == (1499, 1500)
    assert descendants.descendants[-1].depth == 1499
    assert not ancestry.truncated


async def test_lineage_over_the_limit_is_cut_and_says_so(path: Path, clock: FakeClock) -> None:
    store = open_store(path, clock, max_lineage_nodes=3)
    await store.track(
        [event("created", "0")]
        + [event("modified", str(n), parent_pattern_ids=[str(n - 1)]) for n in range(1, 9)]
    )
    ancestry = await store.ancestry("8")
    descendants = await store.descendants("0")
    evolution = await store.evolution("4")
    await store.close()
    assert ancestry is not None
    assert [found.ancestor_pattern_id for found in ancestry.ancestors] == ["8", "7", "6"]
    assert descendants is not None
    assert [found.descendant_pattern_id for found in descendants.descendants] == ["1", "2", "3"]
    assert evolution is not None
    assert evolution.total_versions == 3
    assert ancestry.truncated
    assert descendants.truncated
    assert evolution.truncated


async def test_exactly_the_limit_is_not_called_cut(path: Path, clock: FakeClock) -> None:
    store = open_store(path, clock, max_lineage_nodes=2)
    await track(store, "created", "a")
    await track(store, "modified", "b", parent_pattern_ids=["a"])
    ancestry = await store.ancestry("b")
    await store.close()
    assert ancestry is not None
    assert (ancestry.total_ancestors, ancestry.truncated) == (2, False)


async def test_crowd_of_children_is_cut_and_says_so(path: Path, clock: FakeClock) -> None:
    store = open_store(path, clock, max_lineage_nodes=2)
    await track(store, "created", "a")
    await store.track([event("modified", f"child{n}", parent_pattern_ids=["a"]) for n in range(50)])
    descendants = await store.descendants("a")
    evolution = await store.evolution("a")
    await store.close()
    assert descendants is not None
    assert (descendants.total_descendants, descendants.truncated) == (2, True)
    assert evolution is not None
    assert (evolution.total_versions, evolution.truncated) == (2, True)


async def test_merge_joins_all_parents(store: SqliteStore) -> None:
    await track(store, "created", "a")
    await track(store, "created", "b")
    merged = await track(store, "merged", "m", parent_pattern_ids=["a", "b"])
    ancestry = await store.ancestry("m")
    assert merged.parent_count == 2
    assert ancestry is not None
    assert {found.ancestor_pattern_id for found in ancestry.ancestors} == {"m", "a", "b"}
    assert ancestry.ancestors[1].edge_type == "merged_from"


@pytest.mark.parametrize(
    ("kind", "fields", "error"),
    [
        ("modified", {"parent_pattern_ids": ["nobody"]}, "Parent pattern not found: nobody"),
        ("forked", {"parent_pattern_ids": ["nobody"]}, "Parent pattern not found: nobody"),
        ("merged", {"parent_pattern_ids": ["a", "nobody"]}, "Parent pattern not found: nobody"),
        ("applied", {}, "Pattern not found: x"),
        ("deprecated", {}, "Pattern not found: x"),
    ],
)
async def test_unknown_pattern_is_refused_and_nothing_written(
    store: SqliteStore, path: Path, kind: str, fields: dict[str, Any], error: str
) -> None:
    await track(store, "created", "a")
    outcome = await track(store, kind, "x", **fields)
    assert isinstance(outcome, EventRefusedError)
    assert (outcome.error, outcome.error_type) == (error, "validation_error")
    for table in ("events", "nodes", "bodies"):
        assert rows(path, f"SELECT count(*) FROM {table}") == [(1,)]


async def test_unknown_pattern_is_answered_with_none(store: SqliteStore) -> None:
    assert await store.ancestry("x") is None
    assert await store.descendants("x") is None
    assert await store.evolution("x") is None


async def test_retention_forgets_events_and_code_and_keeps_lineage(
    store: SqliteStore, path: Path, clock: FakeClock
) -> None:
    await store.track([event("created", f"old{n}") for n in range(1200)])
    clock.advance(91 * DAY)
    assert await forget_expired(store, clock=clock, days=90) == 2400
    assert rows(path, "SELECT count(*) FROM events") == [(0,)]
    assert rows(path, "SELECT count(*) FROM bodies") == [(0,)]
    child = await track(store, "modified", "new", parent_pattern_ids=["old7"])
    assert isinstance(child, Tracked)
    evolution = await store.evolution("old7")
    assert evolution is not None
    assert evolution.evolution_nodes[0].code_sha256 is None


async def test_retention_keeps_code_that_a_younger_event_uses(
    store: SqliteStore, path: Path, clock: FakeClock
) -> None:
    await track(store, "created", "a", pattern_data={"code": "shared"})
    clock.advance(60 * DAY)
    await track(store, "created", "b", pattern_data={"code": "shared"})
    clock.advance(60 * DAY)
    assert await forget_expired(store, clock=clock, days=90) == 1
    assert rows(path, "SELECT count(*) FROM events JOIN bodies ON bodies.id = body_id") == [(1,)]


async def test_failed_batch_leaves_nothing_and_the_store_goes_on(
    store: SqliteStore, path: Path
) -> None:
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 20}")
    with pytest.raises(StoreUnavailableError) as failed:
        await store.track([event("created", f"p{n}", reason="x" * 5000) for n in range(200)])
    assert failed.value.error_type == "store_full"
    assert rows(path, "SELECT count(*) FROM nodes") == [(0,)]
    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert isinstance(await track(store, "created", "a"), Tracked)


async def test_removed_database_is_noticed_before_anything_is_acknowledged(
    store: SqliteStore, path: Path
) -> None:
    remove(path)
    with pytest.raises(StoreUnavailableError) as failed:
        await track(store, "created", "a")
    assert failed.value.error_type == "store_missing"
    with pytest.raises(StoreUnavailableError):
        await store.check()


async def test_commits_are_synced_and_the_file_is_private(store: SqliteStore, path: Path) -> None:
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert mode(path) == 0o600


async def test_reopened_store_remembers(path: Path, clock: FakeClock) -> None:
    store = open_store(path, clock)
    await track(store, "created", "a", event_id="e1")
    await store.close()
    store = open_store(path, clock)
    assert (await track(store, "created", "a", event_id="e1")).known_event
    await store.close()


def test_newer_schema_is_refused_and_untouched(path: Path, clock: FakeClock) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreTooNewError, match="Update this program"):
        open_store(path, clock)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all, but long enough" * 50])
def test_file_that_is_no_database_is_refused_and_untouched(
    path: Path, clock: FakeClock, content: bytes
) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreUnusableError, match="--database"):
        open_store(path, clock)
    assert path.read_bytes() == content


def test_database_of_something_else_is_refused(path: Path, clock: FakeClock) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(StoreUnusableError, match="something else"):
        open_store(path, clock)
