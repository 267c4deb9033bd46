"""The client: sends events to the intelligence API and says what became of them.

What this module refuses to do: decide whether to send, retry an answer, raise for
trouble of network or server, or name the token in anything that it returns.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from pattern_tracker.client.answers import (
    Answer,
    AnswerKind,
    SentEvent,
    classify_batch,
    classify_single,
    failure,
)
from pattern_tracker.client.destination import API_PATH, Destination
from pattern_tracker.client.health import HealthAnswer, classify_health
from pattern_tracker.client.wire import batch_body
from pattern_tracker.redact import default_redactor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from pattern_tracker.client.connections import Connections, Response
    from pattern_tracker.clock import Clock

SINGLE_PATH: Final = f"{API_PATH}/lineage/track"
BATCH_PATH: Final = f"{API_PATH}/lineage/track/batch"
HEALTH_PATH: Final = f"{API_PATH}/health"
APPLICATION_HEALTH_PATH: Final = "/health"


class IntelligenceClient:
    """A client of one destination; an asynchronous context manager.

    Args:
        base_url: Of a service over TCP, or None with `socket_path`.
        socket_path: Of a service on this machine, or None with `base_url`.
        token: Bearer token, or None.
        ca_file: Certificates (PEM) to trust in addition to the system's.
        timeout_seconds: For a whole request and its answer.
        health_timeout_seconds: For a whole health check.
        clock: For latencies and dated Retry-After headers.
        token_over_plain_http: Send the token over http to other machines as well.
        proxy_url: Instead of the proxy that the environment names.

    Raises:
        SettingsError: the destination cannot be used.
    """

    def __init__(
        self,
        *,
        base_url: str | None,
        socket_path: Path | None,
        token: str | None,
        ca_file: Path | None,
        timeout_seconds: float,
        health_timeout_seconds: float,
        clock: Clock,
        token_over_plain_http: bool = False,
        proxy_url: str | None = None,
    ) -> None:
        self._destination = Destination(
            base_url=base_url,
            socket_path=socket_path,
            token=token,
            token_over_plain_http=token_over_plain_http,
            proxy_url=proxy_url,
        )
        self._ca_file = ca_file
        self._timeout_seconds = timeout_seconds
        self._health_timeout_seconds = health_timeout_seconds
        self._clock = clock
        # Between __aenter__ and __aexit__: the open connections, or why there are none.
        self._connections: Connections | None = None
        self._unusable = ""

    def __repr__(self) -> str:
        place = self._destination.socket_path or self._destination.root
        token = "with" if self._destination.token else "without"
        return f"<IntelligenceClient of {place}, {token} a token>"

    async def __aenter__(self) -> Self:
        # 150 ms of imports that only a process with something to send should pay for.
        from pattern_tracker.client import connections  # noqa: PLC0415

        self._unusable = ""
        tls = connections.tls_context(self._ca_file) if self._destination.is_tls else None
        if isinstance(tls, str):
            self._unusable, tls = tls, None
        self._connections = connections.Connections(self._destination, tls)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connections is not None:
            await self._connections.close()
            self._connections = None

    async def send_batch(self, bodies: Sequence[bytes], sent: Sequence[SentEvent]) -> Answer:
        """Send encoded events in one request; `sent` names them in the same order."""
        response = await self._send(BATCH_PATH, batch_body(bodies))
        if isinstance(response, Answer):
            return response
        status, headers, body = response.status, response.headers, response.body
        return self._scrubbed(classify_batch(status, headers, body, sent, now=self._clock.now()))

    async def send_single(self, body: bytes, sent: SentEvent) -> Answer:
        """Send one encoded event to the endpoint for single ones."""
        response = await self._send(SINGLE_PATH, body)
        if isinstance(response, Answer):
            return response
        status, headers, body = response.status, response.headers, response.body
        return self._scrubbed(classify_single(status, headers, body, sent, now=self._clock.now()))

    async def check_health(self) -> HealthAnswer:
        """Ask the destination how it is; `/health` where the API has no endpoint for it."""
        if refusal := self._refusal():
            return HealthAnswer(healthy=None, reason=refusal.reason)
        began = self._clock.monotonic()
        response = await self._ask(HEALTH_PATH)
        if not isinstance(response, str) and response.status in {404, 405}:
            response = await self._ask(APPLICATION_HEALTH_PATH)
        if isinstance(response, str):
            return HealthAnswer(healthy=False, reason=self._without_secrets(response))
        latency_ms = (self._clock.monotonic() - began) * 1000
        answer = classify_health(response.status, response.body, latency_ms)
        return replace(answer, reason=self._without_secrets(answer.reason))

    async def _send(self, path: str, body: bytes) -> Response | Answer:
        if refusal := self._refusal():
            return refusal
        response = await self._opened().request(
            "POST", path, body, timeout_seconds=self._timeout_seconds
        )
        return failure(self._without_secrets(response)) if isinstance(response, str) else response

    async def _ask(self, path: str) -> Response | str:
        return await self._opened().request(
            "GET", path, None, timeout_seconds=self._health_timeout_seconds
        )

    def _opened(self) -> Connections:
        if self._connections is None:
            raise RuntimeError("use `async with` around the client")
        return self._connections

    def _refusal(self) -> Answer | None:
        """Why nothing can be sent at all, as an answer."""
        if reason := self._destination.refusal:
            return Answer(kind=AnswerKind.DENIED, reason=reason)
        return failure(self._unusable) if self._unusable else None

    def _scrubbed(self, answer: Answer) -> Answer:
        """Without the token and other secrets, should a server echo them."""
        if all(event.detail == "" for event in answer.events) and not answer.reason:
            return answer
        events = tuple(replace(e, detail=self._without_secrets(e.detail)) for e in answer.events)
        return replace(answer, reason=self._without_secrets(answer.reason), events=events)

    def _without_secrets(self, text: str) -> str:
        """A server's words, which may echo what it was sent."""
        return default_redactor().redact_text(self._destination.without_token(text)).text
