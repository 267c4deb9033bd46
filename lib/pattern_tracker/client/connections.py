"""One HTTP request and its answer, over TCP or a unix socket.

The only module that speaks aiohttp.  Every request has one deadline, from looking up
the name to the last byte of the answer, so that neither a frozen database nor an answer
that drips can hold a pass.  Answers are read up to a bound.  Redirects are not followed
and cookies not kept: both are signs of a login page, to which events and token must
not go.

A kept-alive connection that the server closed meanwhile is replaced and the request
sent again, as the server may have done its part already: harmless, since events are
delivered at least once and recognised by their id.
"""

from __future__ import annotations

import asyncio
import io
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from pattern_tracker.client.failures import OversizedAnswerError, is_broken_connection, reason_of
from pattern_tracker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pattern_tracker.client.destination import Destination

# An answer to 100 events takes some 50 KB.
MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
# A pass sends one request at a time; the other is for a health check beside it.
_CONNECTIONS: Final = 2


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connections:
    """The open connections to one destination, bound to the running event loop."""

    def __init__(self, destination: Destination, tls: ssl.SSLContext | None) -> None:
        self._root = destination.root
        self._proxy = destination.proxy()
        # Owns the connections that are kept alive between requests.
        self._session = _session(destination, tls)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def request(
        self, method: str, path: str, body: bytes | None, *, timeout_seconds: float
    ) -> Response | str:
        """The answer, or in words why there is none."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._until_alive(method, path, body)
        # Whatever a peer can make aiohttp raise (ValueError and LookupError have been seen
        # for bad headers) must end as an outage of that peer, not of the pass.
        except Exception as error:  # noqa: BLE001
            return reason_of(error, timeout_seconds=timeout_seconds)

    async def _until_alive(self, method: str, path: str, body: bytes | None) -> Response:
        """Again as long as it meets kept connections that were dead already."""
        for _ in range(_CONNECTIONS):
            trace: dict[str, bool] = {}
            try:
                return await self._once(method, path, body, trace)
            except Exception as error:
                if not (trace.get("reused") and is_broken_connection(error)):
                    raise
        return await self._once(method, path, body, {})

    async def _once(
        self, method: str, path: str, body: bytes | None, trace: dict[str, bool]
    ) -> Response:
        async with self._session.request(
            method,
            self._root + path,
            # As a stream: aiohttp warns of bodies over 1 MB in one piece.
            data=None if body is None else io.BytesIO(body),
            headers=None if body is None else {"Content-Type": "application/json"},
            proxy=self._proxy,
            allow_redirects=False,
            trace_request_ctx=trace,
        ) as response:
            return Response(response.status, response.headers, await _bounded_body(response))


def tls_context(ca_file: Path | None) -> ssl.SSLContext | str:
    """Trusts the system's certificates and those in `ca_file` (PEM); in words if it cannot."""
    context = ssl.create_default_context()
    try:
        if ca_file is not None:
            context.load_verify_locations(cafile=str(ca_file))
    except OSError as error:
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        return f"TLS: service.ca_file {ca_file} cannot be used: {why}"
    return context


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    chunks = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            response.close()
            raise OversizedAnswerError(MAX_ANSWER_BYTES)
        chunks.append(chunk)
    return b"".join(chunks)


def _session(destination: Destination, tls: ssl.SSLContext | None) -> aiohttp.ClientSession:
    headers = {
        "User-Agent": f"pattern-tracker/{__version__}",
        "Accept": "application/json",
        # What is not compressed cannot unpack into gigabytes.
        "Accept-Encoding": "identity",
    }
    if destination.token and not destination.refusal:
        headers["Authorization"] = f"Bearer {destination.token}"
    connector: aiohttp.BaseConnector
    if destination.socket_path is not None:
        connector = aiohttp.UnixConnector(str(destination.socket_path), limit=_CONNECTIONS)
    else:
        connector = aiohttp.TCPConnector(ssl=tls if tls is not None else True, limit=_CONNECTIONS)
    return aiohttp.ClientSession(
        connector=connector,
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        # One deadline of our own covers all of a request, retries included.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
        # Off, because it would also send what ~/.netrc says; proxies come from `Destination`.
        trust_env=False,
        trace_configs=[_trace_reuse()],
    )


def _trace_reuse() -> aiohttp.TraceConfig:
    async def note(_session: aiohttp.ClientSession, context: Any, _params: Any) -> None:
        context.trace_request_ctx["reused"] = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(note)
    return trace
