"""The HTTP contract, asked of the real process over its socket."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yarl

from tests.intelligence_process import BATCH, PREFIX, TRACK, ServedApi, pattern_event, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import aiohttp


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="intelligence-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def api(folder: Path) -> Iterator[ServedApi]:
    with served("--socket", folder / "s", "--database", folder / "db") as running:
        yield running


@pytest.fixture
async def client(api: ServedApi) -> AsyncIterator[aiohttp.ClientSession]:
    async with api.session() as session:
        yield session


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex[:16]


async def post(client: aiohttp.ClientSession, path: str, body: Any) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    # As a stream: aiohttp warns about large bodies in one piece.
    async with client.post(path, data=io.BytesIO(data)) as answer:
        assert answer.content_type == "application/json"
        return answer.status, await answer.json()


async def get(client: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with client.get(path) as answer:
        assert answer.content_type == "application/json"
        return answer.status, await answer.json()


async def test_created_event_is_answered_with_its_node_and_id(
    client: aiohttp.ClientSession, name: str
) -> None:
    event = pattern_event("created", name, pattern_name="n", event_id=f"e-{name}")
    status, answer = await post(client, TRACK, event)
    assert (status, answer["success"]) == (200, True)
    data, metadata = answer["data"], answer["metadata"]
    assert set(data) == {
        "lineage_id",
        "pattern_node_id",
        "event_id",
        "pattern_id",
        "pattern_name",
        "created_at",
    }
    assert (data["event_id"], data["pattern_id"]) == (f"e-{name}", name)
    assert set(metadata) == {
        "correlation_id",
        "operation",
        "duration_ms",
        "pattern_id",
        "processing_time_ms",
    }


async def test_repeated_event_is_a_success_that_says_already_exists(
    client: aiohttp.ClientSession, name: str
) -> None:
    event = pattern_event("created", name, event_id=f"e-{name}")
    await post(client, TRACK, event)
    status, answer = await post(client, TRACK, event)
    assert (status, answer["success"]) == (200, True)
    assert (answer["data"]["status"], answer["data"]["event_id"]) == ("already_exists", f"e-{name}")


async def test_every_kind_of_event_is_stored_and_named(
    client: aiohttp.ClientSession, name: str
) -> None:
    a, b = f"{name}a", f"{name}b"
    events = [
        pattern_event("created", a),
        pattern_event("validated", b),
        pattern_event("modified", f"{name}c", parent_pattern_ids=[a]),
        pattern_event("forked", f"{name}d", parent_pattern_ids=[a]),
        pattern_event("merged", f"{name}e", parent_pattern_ids=[a, b]),
        pattern_event("applied", a),
        pattern_event("deprecated", a),
    ]
    for number, event in enumerate(events):
        event["event_id"] = f"{name}-{number}"
    status, answer = await post(client, BATCH, {"events": events})
    results = [result["data"] for result in answer["successful_results"]]
    assert (status, answer["success"], answer["failed_results"]) == (200, True, None)
    assert [data["event_id"] for data in results] == [event["event_id"] for event in events]
    assert [data.get("generation") for data in results] == [None, None, 2, 2, 2, None, None]
    assert results[4]["parent_count"] == 2
    assert "timestamp" in results[5]
    assert results[6]["deprecated"] is True


async def test_bad_events_in_a_batch_are_named_and_sink_no_other(
    client: aiohttp.ClientSession, name: str
) -> None:
    good = pattern_event("created", name)
    child = pattern_event("modified", f"{name}2", parent_pattern_ids=[name])
    bad = [
        pattern_event("boom", name),
        pattern_event("created", 7),  # type: ignore[arg-type]
        pattern_event("modified", "m"),
        pattern_event("modified", "m", parent_pattern_ids=["nobody"]),
        pattern_event("applied", f"nobody-{name}"),
        pattern_event("created", "nul", reason="\0"),
        pattern_event("created", "half", reason="\ud83d"),
        None,
    ]
    status, answer = await post(client, BATCH, {"events": [*bad, good, child]})
    assert (status, answer["success"]) == (200, False)
    failed = answer["failed_results"]
    assert [failure["event_index"] for failure in failed] == list(range(8))
    assert [failure["metadata"]["error_type"] for failure in failed] == [
        "validation_error",
        "schema_error",
        "validation_error",
        "validation_error",
        "validation_error",
        "validation_error",
        "schema_error",
        "schema_error",
    ]
    assert failed[3]["error"] == "Parent pattern not found: nobody"
    assert [result["event_index"] for result in answer["successful_results"]] == [8, 9]
    assert answer["batch_summary"] == {
        "total_events": 10,
        "successful_events": 2,
        "failed_events": 8,
        "handled_duplicates": 0,
        "processing_mode": "sequential",
        "requested_processing_mode": "sequential",
    }


async def test_repeated_batch_counts_its_duplicates(
    client: aiohttp.ClientSession, name: str
) -> None:
    batch = {"events": [pattern_event("created", name, event_id=name)]}
    await post(client, BATCH, batch)
    status, answer = await post(client, BATCH, batch | {"processing_mode": "parallel"})
    assert (status, answer["success"]) == (200, True)
    assert answer["batch_summary"]["handled_duplicates"] == 1
    assert answer["batch_summary"]["processing_mode"] == "sequential"
    assert answer["batch_summary"]["requested_processing_mode"] == "parallel"


async def test_empty_batch_succeeds_with_zero_counts(client: aiohttp.ClientSession) -> None:
    status, answer = await post(client, BATCH, {"events": []})
    assert (status, answer["success"]) == (200, True)
    assert answer["batch_summary"]["total_events"] == 0
    assert (answer["successful_results"], answer["failed_results"]) == ([], None)


@pytest.mark.parametrize(
    ("path", "body", "status", "error_type"),
    [
        (TRACK, b"not json", 422, "schema_error"),
        (TRACK, {}, 422, "schema_error"),
        (TRACK, pattern_event("created", "x", reason="\ud800"), 422, "schema_error"),
        (TRACK, pattern_event("boom", "x"), 400, "validation_error"),
        (TRACK, pattern_event("created", "x", reason="\0"), 400, "validation_error"),
        (
            TRACK,
            pattern_event("modified", "x", parent_pattern_ids=["nobody"]),
            400,
            "validation_error",
        ),
        (BATCH, b"not json", 422, "schema_error"),
        (BATCH, {"events": {}}, 422, "schema_error"),
        (BATCH, {"events": [{}] * 1001}, 413, "batch_too_large"),
        (f"{PREFIX}/lineage/query", {}, 405, "method_not_allowed"),
        (f"{PREFIX}/search", {}, 404, "no_such_endpoint"),
    ],
)
async def test_refusals_have_one_shape(
    client: aiohttp.ClientSession, path: str, body: Any, status: int, error_type: str
) -> None:
    found, answer = await post(client, path, body)
    assert (found, answer["success"]) == (status, False)
    assert answer["metadata"]["error_type"] == error_type
    assert answer["error"] == answer["detail"]


MEGABYTE = 1024 * 1024
CHUNK = b"%x\r\n%b\r\n" % (MEGABYTE, b" " * MEGABYTE)


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b"Content-Length: %d" % (9 * MEGABYTE), b""),  # refused before it is sent
        (b"Transfer-Encoding: chunked", 9 * CHUNK + b"0\r\n\r\n"),
    ],
    ids=["announced", "unannounced"],
)
async def test_body_over_eight_megabytes_is_refused_clearly(
    api: ServedApi, header: bytes, body: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(api.address.removeprefix("unix:"))
    request = b"POST %b HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % (BATCH.encode(), header)
    writer.write(request + body)
    head = await reader.readuntil(b"\r\n\r\n")
    answer = await reader.readuntil(b"}}")
    writer.close()
    await writer.wait_closed()
    assert head.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer)["metadata"]["error_type"] == "body_too_large"


async def test_body_just_under_the_limit_is_stored(
    client: aiohttp.ClientSession, name: str
) -> None:
    event = pattern_event("created", name, pattern_data={"code": "x" * (8 * 1024 * 1024 - 500)})
    status, _ = await post(client, TRACK, event)
    assert status == 200


async def test_lineage_is_answered_in_both_directions(
    client: aiohttp.ClientSession, name: str
) -> None:
    a, b, c = (f"{name}{letter}" for letter in "abc")
    events = [
        pattern_event("created", a),
        pattern_event("modified", b, parent_pattern_ids=[a], transformation_type="bugfix"),
        pattern_event("modified", c, parent_pattern_ids=[b]),
        pattern_event("modified", a, parent_pattern_ids=[c]),
    ]
    await post(client, BATCH, {"events": events})
    _, up = await get(client, f"{PREFIX}/lineage/{c}")
    _, down = await get(client, f"{PREFIX}/lineage/{a}?query_type=descendants")
    _, whole = await get(client, f"{PREFIX}/lineage/{b}/evolution")
    ancestors = up["data"]["ancestors"]
    assert [found["ancestor_pattern_id"] for found in ancestors] == [c, b, a]
    assert ancestors[0]["edge_type"] is None
    assert (up["data"]["ancestry_depth"], up["data"]["total_ancestors"]) == (2, 3)
    assert up["metadata"]["query_type"] == "ancestry"
    descendants = down["data"]["descendants"]
    assert [found["descendant_pattern_id"] for found in descendants] == [b, c]
    assert descendants[0]["transformation_type"] == "bugfix"
    assert whole["data"]["total_versions"] == len(whole["data"]["evolution_nodes"]) == 3
    assert len(whole["data"]["evolution_edges"]) == 3


@pytest.mark.parametrize("question", ["", "?query_type=descendants", "/evolution"])
async def test_unknown_pattern_is_404(client: aiohttp.ClientSession, question: str) -> None:
    status, answer = await get(client, f"{PREFIX}/lineage/nobody{question}")
    assert (status, answer["error"]) == (404, "Pattern not found: nobody")


async def test_pattern_with_a_slash_can_be_asked_for(
    client: aiohttp.ClientSession, name: str
) -> None:
    await post(client, TRACK, pattern_event("created", f"{name}/x"))
    url = yarl.URL(f"{PREFIX}/lineage/{name}%2Fx", encoded=True)
    async with client.get(url) as answer:
        assert answer.status == 200


async def test_unknown_query_type_is_refused(client: aiohttp.ClientSession) -> None:
    status, answer = await get(client, f"{PREFIX}/lineage/x?query_type=sideways")
    assert status == 400
    assert "descendants" in answer["error"]


async def test_health_is_well_while_the_store_is(client: aiohttp.ClientSession) -> None:
    status, service = await get(client, f"{PREFIX}/health")
    assert (status, service["status"]) == (200, "healthy")
    assert service["components"]["lineage_tracker"] == "operational"
    status, process = await get(client, "/health")
    assert (status, process["status"], process["error"]) == (200, "healthy", None)


async def test_lost_store_is_503_everywhere_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    with served("--socket", private(tmp_path) / "s", "--database", tmp_path / "db") as api:
        remove_database(tmp_path)
        async with api.session() as client:
            for path, body in (
                (TRACK, pattern_event("created", "x")),
                (BATCH, {"events": [pattern_event("created", "x")]}),
            ):
                status, answer = await post(client, path, body)
                assert (status, answer["success"]) == (503, False)
                assert answer["metadata"]["error_type"] == "store_missing"
            for path in ("/health", f"{PREFIX}/health"):
                status, answer = await get(client, path)
                assert (status, answer["status"]) == (503, "unhealthy")


async def test_rate_limit_is_429_with_retry_after_and_spares_health(tmp_path: Path) -> None:
    arguments = ("--socket", private(tmp_path) / "s", "--database", tmp_path / "db")
    with served(*arguments, "--requests-per-minute", "2") as api:
        async with api.session() as client:
            statuses = [(await post(client, BATCH, {"events": []}))[0] for _ in range(3)]
            async with client.get(f"{PREFIX}/lineage/x") as limited:
                retry_after = int(limited.headers["Retry-After"])
            health, _ = await get(client, "/health")
    assert statuses == [200, 200, 429]
    assert limited.status == 429
    assert 1 <= retry_after <= 30
    assert health == 200


async def test_tcp_wants_the_token_for_everything(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--database", tmp_path / "db")
    with served(*arguments, INTELLIGENCE_API_TOKEN="right") as api:
        for token in (None, "Bearer wrong", "Bearer rightx", "Basic right", "right"):
            headers = {"Authorization": token} if token else {}
            async with api.session(headers=headers) as client:
                status, answer = await get(client, "/health")
                assert (status, answer["metadata"]["error_type"]) == (401, "unauthorized")
        async with api.session(headers={"Authorization": "Bearer right"}) as client:
            assert (await get(client, "/health"))[0] == 200
            assert (await post(client, BATCH, {"events": []}))[0] == 200


def private(path: Path) -> Path:
    path.chmod(0o700)
    return path


def remove_database(folder: Path) -> None:
    for path in folder.glob("db*"):
        path.unlink()
