"""From an exception of the network to a reason that a user understands.

The one place where errors of aiohttp, ssl and the operating system are mapped.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from pattern_tracker.client.answers import one_line

_BY_ERRNO: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection closed before an answer",
    errno.ECONNABORTED: "connection closed before an answer",
    errno.EPIPE: "connection closed before an answer",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "the network is unreachable",
    errno.ETIMEDOUT: "timed out while connecting",
    errno.ENOENT: "no such socket; the API is not running there",
    errno.EACCES: "permission denied",
    errno.EMFILE: "too many open files",
}

# X509_V_ERR_*, as OpenSSL numbers them.
_CERTIFICATE_EXPIRED: Final = 10
_CERTIFICATE_FOR_ANOTHER_HOST: Final = frozenset({62, 64})


class OversizedAnswerError(Exception):
    """An answer that goes on beyond the bound; stays within this package."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__(f"the answer is longer than {limit_bytes // 1024 // 1024} MB")


def is_broken_connection(error: Exception) -> bool:
    """Whether an established connection ended before the answer began."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return False
    return isinstance(
        error,
        aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | ConnectionError,
    )


def reason_of(error: Exception, *, timeout_seconds: float) -> str:
    """What happened, in words for `pattern-tracker stats`; never holds a request's headers."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"timed out after {timeout_seconds:g} s"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _while_connecting(error)
    match error:
        case OversizedAnswerError():
            return str(error)
        case aiohttp.ClientHttpProxyError():
            return f"the proxy refused to connect (HTTP {error.status})"
        case aiohttp.ClientPayloadError() | EOFError():
            return "answer cut off"
        case aiohttp.ServerDisconnectedError():
            return "connection closed before an answer"
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return "not an HTTP answer"
        case aiohttp.InvalidURL():
            return "service.url or the proxy is not a URL that can be used"
        case OSError():
            return _of_system(error)
        case _:
            # Not its text, which may quote what was sent, or a proxy's password.
            return f"no usable answer ({type(error).__name__})"


def _while_connecting(error: aiohttp.ClientConnectorError) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return _certificate(error.certificate_error)
        case aiohttp.ClientProxyConnectionError():
            return f"proxy {error.host}:{error.port}: {_of_system(error.os_error)}"
        case aiohttp.ClientConnectorDNSError():
            return _dns(error)
        case _:
            return _of_system(error.os_error)


def _certificate(error: Exception) -> str:
    code = getattr(error, "verify_code", None)
    if code == _CERTIFICATE_EXPIRED:
        return "TLS: the certificate has expired"
    if code in _CERTIFICATE_FOR_ANOTHER_HOST:
        return "TLS: the certificate is for another host name"
    said = one_line(str(getattr(error, "verify_message", "")))
    return "TLS: certificate not trusted (set service.ca_file)" + (f": {said}" if said else "")


def _dns(error: aiohttp.ClientConnectorDNSError) -> str:
    if error.os_error.errno == socket.EAI_AGAIN:
        return f"DNS: no answer about {error.host}"
    return f"DNS: name not known: {error.host}"


def _of_system(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "TLS: no secure connection; is this really an https address?"
    if error.errno in _BY_ERRNO:
        return _BY_ERRNO[error.errno]
    # asyncio joins the failures of several addresses into one text without a number.
    if "Connect call failed" in str(error):
        return "connection refused"
    return one_line(error.strerror or str(error)) or type(error).__name__
