"""The client against a real server that fails in every way, over real sockets."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from pattern_tracker.client import connections
from pattern_tracker.client.answers import AnswerKind, SentEvent, Verdict
from pattern_tracker.client.transport import IntelligenceClient
from pattern_tracker.client.wire import as_orphan, encode_event
from pattern_tracker.clock import SystemClock
from pattern_tracker.errors import SettingsError
from pattern_tracker.version import __version__
from tests.intelligence_faults import Fault, FaultyIntelligence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TOKEN = "very-secret-token"


def client_of(url: str | None, **options: Any) -> IntelligenceClient:
    defaults: dict[str, Any] = {
        "base_url": url,
        "socket_path": None,
        "token": None,
        "ca_file": None,
        "timeout_seconds": 10.0,
        "health_timeout_seconds": 10.0,
        "clock": SystemClock(),
    }
    return IntelligenceClient(**{**defaults, **options})


def event(number: int = 0, **fields: Any) -> bytes:
    defaults: dict[str, Any] = {
        "event_id": f"event-{number}",
        "session_id": "s",
        "occurred_at": "2026-01-31T12:00:00.000Z",
        "event_type": "pattern_created",
        "pattern_id": f"pattern-{number}",
    }
    return encode_event(**{**defaults, **fields})


def sent(body: bytes) -> SentEvent:
    fields = json.loads(body)
    return SentEvent(fields["event_id"], fields["pattern_id"])


async def deliver(client: IntelligenceClient, *bodies: bytes) -> Any:
    return await client.send_batch(bodies, [sent(body) for body in bodies])


async def deliver_alone(client: IntelligenceClient, body: bytes) -> Any:
    return await client.send_single(body, sent(body))


def verdicts(answer: Any) -> list[Verdict]:
    return [event.verdict for event in answer.events]


@pytest.fixture
async def api() -> AsyncIterator[FaultyIntelligence]:
    async with FaultyIntelligence() as running:
        yield running


async def test_batch_and_single_are_stored_and_named(api: FaultyIntelligence):
    async with client_of(api.url) as client:
        answer = await deliver(client, event(1), event(2))
        alone = await deliver_alone(client, event(3))
        again = await deliver_alone(client, event(3))
    assert verdicts(answer) == [Verdict.STORED] * 2
    assert verdicts(alone) == verdicts(again) == [Verdict.STORED]
    assert api.stored_event_ids == {"event-1": 1, "event-2": 1, "event-3": 2}


async def test_parent_and_child_fit_into_one_batch(api: FaultyIntelligence):
    child = event(2, event_type="pattern_modified", parent_pattern_ids=["pattern-1"])
    async with client_of(api.url) as client:
        answer = await deliver(client, event(1), child)
    assert verdicts(answer) == [Verdict.STORED] * 2


async def test_unknown_parent_is_told_and_the_orphan_is_stored(api: FaultyIntelligence):
    child = event(2, event_type="pattern_modified", parent_pattern_ids=["my-database-x"])
    async with client_of(api.url) as client:
        assert verdicts(await deliver(client, child, event(3)))[0] is Verdict.MISSING_PARENT
        assert verdicts(await deliver_alone(client, child)) == [Verdict.MISSING_PARENT]
        orphan = as_orphan(child, ["my-database-x"])
        assert verdicts(await deliver_alone(client, orphan)) == [Verdict.STORED]


FAULTS = {
    Fault.DISCONNECT: (AnswerKind.FAILURE, "connection closed before an answer"),
    Fault.HEADERS_ONLY: (AnswerKind.FAILURE, "answer cut off"),
    Fault.CUT: (AnswerKind.FAILURE, "answer cut off"),
    Fault.GARBAGE: (AnswerKind.FAILURE, "not an HTTP answer"),
    Fault.ANSWER_LOST: (AnswerKind.FAILURE, "connection closed before an answer"),
    Fault.CAPTIVE_PORTAL: (AnswerKind.FAILURE, "not an answer of the intelligence API"),
    Fault.REDIRECT: (AnswerKind.FAILURE, "redirected to http://login.test;"),
    Fault.TRUNCATED_JSON: (AnswerKind.FAILURE, "not an answer of the intelligence API"),
    Fault.WRONG_TYPES: (AnswerKind.FAILURE, "not an answer of the intelligence API"),
    Fault.DB_DOWN: (AnswerKind.FAILURE, "ConnectionRefusedError"),
    Fault.DB_NEVER_UP: (AnswerKind.FAILURE, "not available"),
    Fault.RATE_LIMITED: (AnswerKind.HOLD, "too many requests"),
    Fault.RETRY_AFTER: (AnswerKind.HOLD, "too many requests"),
    Fault.RETRY_AFTER_DATE: (AnswerKind.HOLD, "too many requests"),
    Fault.UNAVAILABLE_RETRY_AFTER: (AnswerKind.HOLD, "not available"),
    Fault.STATUS_400: (AnswerKind.REJECTED, "refused"),
    Fault.STATUS_401: (AnswerKind.DENIED, "token"),
    Fault.STATUS_402: (AnswerKind.DENIED, "payment"),
    Fault.STATUS_403: (AnswerKind.DENIED, "access denied"),
    Fault.STATUS_404: (AnswerKind.NO_ENDPOINT, "no such endpoint"),
    Fault.STATUS_405: (AnswerKind.NO_ENDPOINT, "no such endpoint"),
    Fault.STATUS_408: (AnswerKind.FAILURE, "HTTP 408"),
    Fault.STATUS_413: (AnswerKind.REJECTED, "too large"),
    Fault.STATUS_418: (AnswerKind.FAILURE, "HTTP 418"),
    Fault.STATUS_422: (AnswerKind.REJECTED, "refused"),
    Fault.STATUS_500: (AnswerKind.FAILURE, "server error"),
    Fault.STATUS_502: (AnswerKind.FAILURE, "gateway"),
    Fault.STATUS_503: (AnswerKind.FAILURE, "not available"),
    Fault.STATUS_504: (AnswerKind.FAILURE, "took too long"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_fault_has_its_kind_and_a_fresh_event_gets_through_afterwards(
    api: FaultyIntelligence, fault: Fault
):
    kind, words = FAULTS[fault]
    async with client_of(api.url) as client:
        api.script.extend([fault, fault])
        for answer in (await deliver(client, event(1)), await deliver_alone(client, event(1))):
            assert answer.kind is kind
            assert words in answer.reason
            assert Verdict.STORED not in verdicts(answer)
        assert verdicts(await deliver(client, event(2))) == [Verdict.STORED]


@pytest.mark.parametrize("fault", [Fault.HANGING, Fault.SLOW_DRIP])
async def test_silence_and_dripping_end_at_the_deadline(api: FaultyIntelligence, fault: Fault):
    api.mode = fault
    async with client_of(api.url, timeout_seconds=0.3) as client:
        answer = await deliver(client, event(1))
    assert (answer.kind, answer.reason) == (AnswerKind.FAILURE, "timed out after 0.3 s")


async def test_endless_answer_is_cut_at_the_bound(
    api: FaultyIntelligence, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connections, "MAX_ANSWER_BYTES", 1024 * 1024)
    api.mode = Fault.ENDLESS
    async with client_of(api.url) as client:
        answer = await deliver(client, event(1))
    assert (answer.kind, answer.reason) == (AnswerKind.FAILURE, "the answer is longer than 1 MB")


async def test_retry_after_is_told_in_seconds(api: FaultyIntelligence):
    async with client_of(api.url) as client:
        api.script.extend([Fault.RETRY_AFTER, Fault.RETRY_AFTER_DATE])
        assert (await deliver(client, event(1))).retry_after == 7.0
        assert (await deliver(client, event(1))).retry_after == pytest.approx(120, abs=2)


async def test_refused_connection_then_recovery(api: FaultyIntelligence):
    async with client_of(api.url) as client:
        await deliver(client, event(1))
        await api.go_down()
        answer = await deliver(client, event(2))
        assert (answer.kind, answer.reason) == (AnswerKind.FAILURE, "connection refused")
        assert (await client.check_health()).healthy is False
        await api.come_back()
        assert verdicts(await deliver(client, event(2))) == [Verdict.STORED]
    assert api.stored_event_ids["event-2"] == 1


async def test_kept_connection_that_died_meanwhile_is_replaced(api: FaultyIntelligence):
    async with client_of(api.url) as client:
        await deliver(client, event(1))
        api.mode = Fault.STALE
        answer = await deliver(client, event(2))
    assert verdicts(answer) == [Verdict.STORED]
    assert len(api.tracking_requests()) == 3


async def test_connection_that_dies_on_its_first_request_is_not_tried_again(
    api: FaultyIntelligence,
):
    api.mode = Fault.DISCONNECT
    async with client_of(api.url) as client:
        await deliver(client, event(1))
    assert len(api.tracking_requests()) == 1


async def test_poison_rejects_the_batch_and_only_itself_alone(api: FaultyIntelligence):
    api.service.poison.add("pattern-1")
    async with client_of(api.url) as client:
        assert (await deliver(client, event(1), event(2))).kind is AnswerKind.REJECTED
        assert (await deliver_alone(client, event(1))).kind is AnswerKind.REJECTED
        assert verdicts(await deliver_alone(client, event(2))) == [Verdict.STORED]


async def test_each_event_gets_its_own_verdict(api: FaultyIntelligence):
    api.service.refuse = {
        "pattern-1": ("StringDataRightTruncationError", "value too long"),
        "pattern-2": ("NobodyKnowsError", "?"),
    }
    api.service.forget.add("pattern-3")
    api.service.conflicts["pattern-4"] = 1
    bodies = [event(number) for number in range(5)]
    async with client_of(api.url) as client:
        answer = await deliver(client, *bodies)
        again = await deliver_alone(client, bodies[4])
    assert verdicts(answer) == [
        Verdict.STORED,
        Verdict.REJECTED,
        Verdict.UNKNOWN,
        Verdict.OUTAGE,
        Verdict.CONFLICT,
    ]
    assert verdicts(again) == [Verdict.STORED]


async def test_batch_of_more_than_a_megabyte_goes_through(api: FaultyIntelligence):
    bodies = [event(number, code="x" * 200_000) for number in range(7)]
    async with client_of(api.url) as client:
        answer = await deliver(client, *bodies)
    assert verdicts(answer) == [Verdict.STORED] * 7


async def test_unix_socket(tmp_path: Path):
    path = tmp_path / "api.sock"
    async with client_of(None, socket_path=path, token=TOKEN) as client:
        answer = await deliver(client, event(1))
        assert answer.reason == "no such socket; the API is not running there"
        async with FaultyIntelligence(socket_path=path) as api:
            assert verdicts(await deliver(client, event(1))) == [Verdict.STORED]
            assert (await client.check_health()).healthy is True
            assert api.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
        assert (await deliver(client, event(1))).kind is AnswerKind.FAILURE


async def test_request_carries_who_sends_it_and_no_more(
    api: FaultyIntelligence, private_home: Path
):
    netrc = private_home / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    async with client_of(api.url) as client:
        await deliver(client, event(1))
    headers = api.requests[0].headers
    assert headers["user-agent"] == f"pattern-tracker/{__version__}"
    assert headers["content-type"] == "application/json"
    assert headers.keys().isdisjoint({"authorization", "cookie"})


async def test_base_url_with_the_api_path_is_understood(api: FaultyIntelligence):
    async with client_of(f"{api.url}/api/pattern-traceability/") as client:
        assert verdicts(await deliver(client, event(1))) == [Verdict.STORED]


async def test_token_is_in_no_repr_and_no_reason(api: FaultyIntelligence):
    api.service.refuse["pattern-1"] = ("OddError", f"you sent Bearer {TOKEN}")
    async with client_of(api.url, token=TOKEN) as client:
        answer = await deliver_alone(client, event(1))
        assert TOKEN not in f"{client!r} {client._destination!r} {answer!r}"
    assert api.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


async def test_token_is_not_sent_over_plain_http_to_another_machine():
    async with client_of("http://intelligence.test", token=TOKEN) as client:
        answer = await deliver(client, event(1))
        health = await client.check_health()
    assert answer.kind is AnswerKind.DENIED
    assert "plain http" in answer.reason
    assert health.healthy is None


@pytest.mark.parametrize("token", ["a\nb", "a\r\nHost: x", "tökén", ""])
async def test_token_that_is_no_header_is_refused_without_being_shown(
    api: FaultyIntelligence, token: str
):
    async with client_of(api.url, token=token) as client:
        answer = await deliver(client, event(1))
    assert answer.kind is AnswerKind.DENIED
    assert not token or token not in answer.reason
    assert not api.requests


@pytest.mark.parametrize(
    "url",
    ["ftp://x", "x", "http://", "https://user:secret@x", "http://[::1", "http://x:99999", None],
)
def test_unusable_destination_is_an_error_without_its_password(url: str | None):
    with pytest.raises(SettingsError) as caught:
        client_of(url)
    assert "secret" not in str(caught.value)


async def test_unknown_host_name_is_an_outage():
    async with client_of("http://no-such-host.invalid") as client:
        answer = await deliver(client, event(1))
    assert answer.kind is AnswerKind.FAILURE
    assert answer.reason.startswith("DNS: ")


async def test_cancellation_passes(api: FaultyIntelligence):
    api.mode = Fault.HANGING
    async with client_of(api.url) as client:
        task = asyncio.ensure_future(deliver(client, event(1)))
        await api.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("fault", "healthy"),
    [
        (Fault.OK, True),
        (Fault.DB_DOWN, True),  # the public service does not notice
        (Fault.DB_NEVER_UP, False),
        (Fault.STATUS_500, False),
        (Fault.CAPTIVE_PORTAL, False),
        (Fault.GARBAGE, False),
        (Fault.CUT, False),
        (Fault.STATUS_401, None),
        (Fault.STATUS_404, None),
    ],
)
async def test_health(api: FaultyIntelligence, fault: Fault, healthy: bool | None):
    api.mode = fault
    async with client_of(api.url) as client:
        answer = await client.check_health()
    assert answer.healthy is healthy
    assert answer.reason or healthy


async def test_health_falls_back_to_the_application(api: FaultyIntelligence):
    api.missing_paths.add("/api/pattern-traceability/health")
    async with client_of(api.url) as client:
        assert (await client.check_health()).healthy is True
    assert [request.path for request in api.requests][-1] == "/health"


async def test_hanging_health_check_has_its_own_deadline(api: FaultyIntelligence):
    api.mode = Fault.HANGING
    async with client_of(api.url, health_timeout_seconds=0.2) as client:
        answer = await client.check_health()
    assert (answer.healthy, answer.reason) == (False, "timed out after 0.2 s")


def test_server_in_a_thread_serves_synchronous_code():
    async def once(url: str) -> Any:
        async with client_of(url) as client:
            return await deliver(client, event(1))

    with FaultyIntelligence.in_thread() as api:
        assert verdicts(asyncio.run(once(api.url))) == [Verdict.STORED]
        api.go_down_now()
        assert asyncio.run(once(api.url)).reason == "connection refused"
        api.come_back_now()
        assert verdicts(asyncio.run(once(api.url))) == [Verdict.STORED]
        assert json.loads(api.requests[0].body)["processing_mode"] == "sequential"
