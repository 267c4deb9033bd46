"""A real server that speaks the public contract, and breaks it on demand.

    async with FaultyIntelligence() as api: ...            # in the test's event loop
    with FaultyIntelligence.in_thread() as api: ...        # for synchronous tests and processes

`api.mode` is what happens to every tracking request; `api.script` is used up first, one
fault for each.  `api.service` holds what was stored, as an oracle.  Raw asyncio streams,
since most faults are about bytes that no HTTP library would send.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from tests.intelligence_contract import PublicService

if TYPE_CHECKING:
    import ssl
    from collections import Counter
    from collections.abc import Callable, Iterator
    from pathlib import Path

TRACK = "/api/pattern-traceability/lineage/track"
BATCH = f"{TRACK}/batch"
HEALTH = "/api/pattern-traceability/health"


class Fault(StrEnum):
    """What happens to a request."""

    OK = "ok"
    # nothing comes, or not all of it
    HANGING = "hanging"
    DISCONNECT = "disconnect"  # closes without a byte
    STALE = "stale"  # the same, but only on a connection that was used before
    HEADERS_ONLY = "headers-only"
    CUT = "cut"  # stored, then half of the body
    SLOW_DRIP = "slow-drip"  # stored, then byte by byte
    ENDLESS = "endless"
    GARBAGE = "garbage"
    ANSWER_LOST = "answer-lost"  # stored, then closes without a byte
    # answers that are no answers
    CAPTIVE_PORTAL = "captive-portal"
    REDIRECT = "redirect"
    TRUNCATED_JSON = "truncated-json"
    WRONG_TYPES = "wrong-types"
    SUCCESS_FALSE = "success-false"
    # the service
    DB_DOWN = "db-down"  # after the pool was once made
    DB_NEVER_UP = "db-never-up"
    RATE_LIMITED = "rate-limited"
    RETRY_AFTER = "retry-after"
    RETRY_AFTER_DATE = "retry-after-date"
    UNAVAILABLE_RETRY_AFTER = "unavailable-retry-after"
    STATUS_400 = "400"
    STATUS_401 = "401"
    STATUS_402 = "402"
    STATUS_403 = "403"
    STATUS_404 = "404"
    STATUS_405 = "405"
    STATUS_408 = "408"
    STATUS_413 = "413"
    STATUS_418 = "418"
    STATUS_422 = "422"
    STATUS_500 = "500"
    STATUS_502 = "502"
    STATUS_503 = "503"
    STATUS_504 = "504"


# Of these only tracking suffers: the service reports that all is well.
_HEALTHY_THROUGHOUT = {Fault.DB_DOWN, Fault.ANSWER_LOST, Fault.SUCCESS_FALSE, Fault.WRONG_TYPES}

# The client cannot know that these were: the ambiguous cases.
_STORED_FIRST = {Fault.ANSWER_LOST, Fault.CUT, Fault.SLOW_DRIP}

_DETAILS = {400: "refused", 404: "Not Found", 405: "Method Not Allowed", 429: "Rate limit exceeded"}


@dataclass(frozen=True)
class Request:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """An answer as it goes out."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    def encode(self, *, body_bytes: int | None = None) -> bytes:
        """The bytes on the wire, with only so much of the body."""
        named = {"Content-Type": "application/json", **self.headers}
        lines = [f"HTTP/1.1 {self.status} Because"]
        lines += [f"{name}: {value}" for name, value in named.items()]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode() + self.body[:body_bytes]


class FaultyIntelligence:
    """The server; on a loopback port, or on a unix socket if `socket_path` is given."""

    def __init__(
        self, *, socket_path: Path | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.socket_path = socket_path
        self.service = PublicService()
        self.mode = Fault.OK
        self.health_mode: Fault | None = None  # None: suffers what tracking suffers
        self.script: deque[Fault] = deque()
        self.missing_paths: set[str] = set()
        self.retry_after = "7"
        self.requests: list[Request] = []
        self.arrived = asyncio.Event()  # set by the first request; for the server's own loop
        self._tls = tls
        self._port = 0
        # Set while it runs: the loop that it runs in, the listener, open connections.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The address for a client over TCP."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """The port on loopback; stays the same over `go_down` and `come_back`."""
        return self._port

    @property
    def stored_event_ids(self) -> Counter[str]:
        """How often each event was stored, by the id in its `pattern_data`."""
        return self.service.stored_event_ids

    @property
    def nodes(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The patterns, by id and version."""
        return self.service.nodes

    def tracking_requests(self) -> list[Request]:
        """What came to the two tracking endpoints."""
        return [request for request in self.requests if request.path.startswith(TRACK)]

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._shut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @classmethod
    @contextmanager
    def in_thread(cls, **options: Any) -> Iterator[Self]:
        """The server in a thread of its own."""
        api = cls(**options)
        ready, finish = threading.Event(), threading.Event()
        failed: list[BaseException] = []

        async def serve() -> None:
            async with api:
                ready.set()
                await asyncio.to_thread(finish.wait)

        def run() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                failed.append(error)
            finally:
                ready.set()

        thread = threading.Thread(target=run, name="faulty-intelligence")
        thread.start()
        ready.wait()
        try:
            if failed:
                raise failed[0]
            yield api
        finally:
            finish.set()
            thread.join()

    async def go_down(self) -> None:
        """Refuse connections from now on, and drop those that are open."""
        self._shut()

    async def come_back(self) -> None:
        """Listen again, at the same address."""
        await self._listen()

    def go_down_now(self) -> None:
        """As `go_down`, from another thread."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self.go_down(), self._loop).result()

    def come_back_now(self) -> None:
        """As `come_back`, from another thread."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self.come_back(), self._loop).result()

    async def _listen(self) -> None:
        if self.socket_path is not None:
            self.socket_path.unlink(missing_ok=True)
            self._listener = await asyncio.start_unix_server(self._accept, self.socket_path)
            return
        listening = socket.create_server(("127.0.0.1", self._port), backlog=256)
        self._port = listening.getsockname()[1]
        self._listener = await asyncio.start_server(self._accept, sock=listening, ssl=self._tls)

    def _shut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                used = False
                while await self._serve(reader, writer, used=used):
                    used = True
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, used: bool
    ) -> bool:
        """One request; whether the connection stays open."""
        request = await _read(reader)
        self.requests.append(request)
        self.arrived.set()
        fault = self._fault_for(request.path)
        if fault is Fault.STALE and not used:
            fault = Fault.OK
        if fault in _BYTES:
            served = Fault.OK if fault in _STORED_FIRST else Fault.CAPTIVE_PORTAL
            await _BYTES[fault](writer, self._reply(request, served))
            return False
        writer.write(self._reply(request, fault).encode())
        await writer.drain()
        return True

    def _fault_for(self, path: str) -> Fault:
        if path.startswith(TRACK):
            return self.script.popleft() if self.script else self.mode
        if self.health_mode is not None:
            return self.health_mode
        return Fault.OK if self.mode in _HEALTHY_THROUGHOUT else self.mode

    def _reply(self, request: Request, fault: Fault) -> Reply:
        if request.path in self.missing_paths:
            return _json(404, {"detail": "Not Found"})
        if fault.value.isdigit():
            status = int(fault.value)
            return _json(status, {"detail": _DETAILS.get(status, "no")})
        if special := self._special(fault):
            return special
        if request.path.endswith("/health"):
            return _json(200, _health(down=fault is Fault.DB_NEVER_UP))
        if request.path not in {TRACK, BATCH}:
            return _json(404, {"detail": "Not Found"})
        try:
            document = json.loads(request.body)
        except ValueError:
            return _json(422, {"detail": [{"type": "json_invalid", "loc": ["body"], "msg": "no"}]})
        self.service.database_down = fault is Fault.DB_DOWN
        answer = self.service.track if request.path == TRACK else self.service.track_batch
        return _json(*answer(document))

    def _special(self, fault: Fault) -> Reply | None:
        limited = {"detail": "Rate limit exceeded"}
        no_database = {"detail": "Database connection not available"}
        match fault:
            case Fault.CAPTIVE_PORTAL:
                page = b"<html><body>Welcome to the Hotel. Please log in.</body></html>"
                return Reply(200, page, {"Content-Type": "text/html"})
            case Fault.REDIRECT:
                return Reply(302, b"", {"Location": "http://login.test/?secret=1"})
            case Fault.TRUNCATED_JSON:
                return Reply(200, b'{"success": true, "successful_results": [{"event_in')
            case Fault.WRONG_TYPES:
                return _json(200, {"success": "yes", "successful_results": {"0": 1}, "data": []})
            case Fault.SUCCESS_FALSE:
                return _json(200, {"success": False, "error": "something went wrong"})
            case Fault.RATE_LIMITED:
                return _json(429, limited)
            case Fault.RETRY_AFTER:
                return _json(429, limited, {"Retry-After": self.retry_after})
            case Fault.RETRY_AFTER_DATE:
                date = formatdate(time.time() + 120, usegmt=True)
                return _json(429, limited, {"Retry-After": date, "Date": formatdate(usegmt=True)})
            case Fault.UNAVAILABLE_RETRY_AFTER:
                return _json(503, no_database, {"Retry-After": self.retry_after})
            case Fault.DB_NEVER_UP:
                return _json(503, no_database)
            case _:
                return None


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


def _json(status: int, document: object, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(document).encode(), headers or {})


def _health(*, down: bool) -> dict[str, Any]:
    tracker = "database_unavailable" if down else "operational"
    pool = {} if down else {"database_pool": {"min_size": 5, "max_size": 50, "pool_size": 5}}
    return {
        "status": "degraded" if down else "healthy",
        "components": {"lineage_tracker": tracker, "usage_analytics": "operational"},
        "performance": pool,
        "response_time_ms": 0.1,
    }


async def _hang(_writer: asyncio.StreamWriter, _reply: Reply) -> None:
    await asyncio.Event().wait()


async def _disconnect(_writer: asyncio.StreamWriter, _reply: Reply) -> None:
    return


async def _headers_only(writer: asyncio.StreamWriter, reply: Reply) -> None:
    writer.write(reply.encode(body_bytes=0))
    await writer.drain()


async def _cut(writer: asyncio.StreamWriter, reply: Reply) -> None:
    writer.write(reply.encode(body_bytes=len(reply.body) // 2))
    await writer.drain()


async def _drip(writer: asyncio.StreamWriter, reply: Reply) -> None:
    # A byte at a time, always soon enough for a timeout between two reads.
    for byte in reply.encode() + b" " * 100_000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.02)


async def _endless(writer: asyncio.StreamWriter, _reply: Reply) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        writer.write(b"[" * 65_536)
        await writer.drain()


async def _garbage(writer: asyncio.StreamWriter, _reply: Reply) -> None:
    writer.write(bytes(range(256)) * 8 + b"\r\n\r\n")
    await writer.drain()


_BYTES: dict[Fault, Callable[[asyncio.StreamWriter, Reply], Any]] = {
    Fault.HANGING: _hang,
    Fault.DISCONNECT: _disconnect,
    Fault.STALE: _disconnect,
    Fault.ANSWER_LOST: _disconnect,
    Fault.HEADERS_ONLY: _headers_only,
    Fault.CUT: _cut,
    Fault.SLOW_DRIP: _drip,
    Fault.ENDLESS: _endless,
    Fault.GARBAGE: _garbage,
}
