"""TLS with a certificate authority of our own, and proxies named by the environment."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from pattern_tracker.client.answers import AnswerKind, Verdict
from pattern_tracker.client.transport import IntelligenceClient
from pattern_tracker.client.wire import SentEvent, encode_event
from pattern_tracker.clock import SystemClock
from tests.intelligence_faults import FaultyIntelligence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BODY = encode_event(
    event_id="e",
    session_id="s",
    occurred_at="2026-01-31T12:00:00.000Z",
    event_type="pattern_created",
    pattern_id="p",
)
SENT = SentEvent("e", "p")
HOST = "intelligence.test"  # resolves nowhere: only a proxy can reach it


async def deliver(url: str, **options: Any) -> Any:
    client = IntelligenceClient(
        base_url=url,
        socket_path=None,
        token=options.pop("token", None),
        ca_file=options.pop("ca_file", None),
        timeout_seconds=10.0,
        health_timeout_seconds=10.0,
        clock=SystemClock(),
        **options,
    )
    async with client:
        return await client.send_batch([BODY], [SENT])


def is_stored(answer: Any) -> bool:
    return [event.verdict for event in answer.events] == [Verdict.STORED]


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, and server.pem and server.key for loopback and HOST."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is not installed")
    folder = tmp_path_factory.mktemp("authority")
    key = ("-newkey", "rsa:2048", "-nodes")
    openssl(
        folder,
        *("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2"),
        *("-subj", "/CN=Test authority", "-addext", "keyUsage=critical,keyCertSign"),
    )
    openssl(folder, "req", *key, "-keyout", "server.key", "-out", "s.csr", "-subj", "/CN=api")
    (folder / "names").write_text(f"subjectAltName=IP:127.0.0.1,DNS:{HOST}\n")
    openssl(
        folder,
        *("x509", "-req", "-in", "s.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
        *("-CAcreateserial", "-out", "server.pem", "-days", "2", "-extfile", "names"),
    )
    return folder


@pytest.fixture
async def secure_api(authority: Path) -> AsyncIterator[FaultyIntelligence]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    async with FaultyIntelligence(tls=context) as api:
        yield api


async def test_own_authority_is_trusted_when_named(secure_api: FaultyIntelligence, authority: Path):
    assert is_stored(await deliver(secure_api.url, ca_file=authority / "ca.pem", token="t"))


async def test_unknown_authority_is_a_failure_that_names_the_setting(
    secure_api: FaultyIntelligence,
):
    answer = await deliver(secure_api.url, token="t")
    assert answer.kind is AnswerKind.FAILURE
    assert answer.reason.startswith("TLS: certificate not trusted (set service.ca_file)")
    assert not secure_api.requests


async def test_certificate_for_another_name_is_told(
    secure_api: FaultyIntelligence, authority: Path
):
    url = f"https://localhost:{secure_api.port}"
    answer = await deliver(url, ca_file=authority / "ca.pem")
    assert answer.reason == "TLS: the certificate is for another host name"


async def test_plain_server_behind_an_https_address_is_told():
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    answer = await deliver(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    server.close()
    assert answer.kind is AnswerKind.FAILURE
    assert answer.reason == "TLS: no secure connection; is this really an https address?"


async def test_ca_file_that_is_missing_or_no_certificate_is_told(tmp_path: Path):
    missing = await deliver("https://127.0.0.1:1", ca_file=tmp_path / "missing.pem")
    assert missing.reason.endswith("missing.pem cannot be used: No such file or directory")
    (tmp_path / "text.pem").write_text("hello")
    text = await deliver("https://127.0.0.1:1", ca_file=tmp_path / "text.pem")
    assert text.reason.endswith("text.pem cannot be used: it holds no certificate")


class Proxy:
    """Sends whatever it is asked for to one port on loopback; `asked` are the first lines."""

    def __init__(self, target_port: int) -> None:
        self.asked: list[str] = []
        self.credentials: list[bool] = []
        self.url = ""
        self._target_port = target_port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, _, rest = head.decode("latin-1").partition("\r\n")
        self.asked.append(first)
        self.credentials.append("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=" in rest)
        method, address, version = first.split(" ")
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            path = "/" + address.split("/", 3)[3]
            far_writer.write(f"{method} {path} {version}\r\n{rest}".encode("latin-1"))
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def proxy_to(port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield proxy
    server.close()


async def test_http_goes_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    async with FaultyIntelligence() as api, proxy_to(api.port) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removeprefix("http://"))
        assert is_stored(await deliver(f"http://{HOST}:8053"))
        assert proxy.asked[0].startswith(f"POST http://{HOST}:8053/api/")


async def test_https_is_tunnelled_so_that_the_proxy_sees_no_token(
    secure_api: FaultyIntelligence, authority: Path, monkeypatch: pytest.MonkeyPatch
):
    async with proxy_to(secure_api.port) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        answer = await deliver(f"https://{HOST}", ca_file=authority / "ca.pem", token="t")
        assert is_stored(answer)
        assert proxy.asked == [f"CONNECT {HOST}:443 HTTP/1.1"]
    assert secure_api.requests[0].headers["authorization"] == "Bearer t"


@pytest.mark.parametrize("no_proxy", [HOST, f"{HOST}:8053", ".test", "*"])
async def test_no_proxy_is_honoured(no_proxy: str, monkeypatch: pytest.MonkeyPatch):
    async with FaultyIntelligence() as api, proxy_to(api.port) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", no_proxy)
        answer = await deliver(f"http://{HOST}:8053")
        assert answer.reason.startswith("DNS: ")
        assert not proxy.asked


async def test_loopback_is_never_asked_of_a_proxy(monkeypatch: pytest.MonkeyPatch):
    async with FaultyIntelligence() as api, proxy_to(1) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert is_stored(await deliver(api.url))
        assert not proxy.asked


async def test_proxy_gets_the_credentials_that_its_url_holds(monkeypatch: pytest.MonkeyPatch):
    async with FaultyIntelligence() as api, proxy_to(api.port) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("://", "://user:secret@"))
        assert is_stored(await deliver(f"http://{HOST}:8053"))
        assert proxy.credentials == [True]


async def test_tunnel_that_the_proxy_refuses_is_told(monkeypatch: pytest.MonkeyPatch):
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    monkeypatch.setenv("https_proxy", address)
    answer = await deliver(f"https://{HOST}")
    server.close()
    assert answer.reason == "the proxy refused to connect (HTTP 407)"


async def test_proxy_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:1")
    answer = await deliver(f"http://{HOST}:8053")
    assert answer.kind is AnswerKind.FAILURE
    assert answer.reason == "proxy 127.0.0.1:1: connection refused"


@pytest.mark.parametrize(
    "proxy", ["http://me:hunter2@h:port", "http://me:hunter2@[::1", "http://me:hunter2@"]
)
async def test_proxy_that_is_no_url_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, proxy: str
):
    monkeypatch.setenv("http_proxy", proxy)
    answer = await deliver(f"http://{HOST}")
    assert answer.kind is AnswerKind.FAILURE
    assert "hunter2" not in repr(answer)
    assert "proxy" in answer.reason


async def test_name_below_localhost_is_not_taken_for_this_machine():
    answer = await deliver("http://api.localhost:1", token="t")
    assert answer.kind is AnswerKind.DENIED
    assert "plain http" in answer.reason


async def test_token_goes_over_plain_http_only_where_the_user_says_so(
    monkeypatch: pytest.MonkeyPatch,
):
    async with FaultyIntelligence() as api, proxy_to(api.port) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        answer = await deliver(f"http://{HOST}", token="t", token_over_plain_http=True)
        assert is_stored(answer)
    assert api.requests[0].headers["authorization"] == "Bearer t"
