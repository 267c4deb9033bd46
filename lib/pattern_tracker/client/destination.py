"""Where requests go: the URL of each endpoint, through which proxy, and with which token.

What this module refuses to do: send the token where others can read it.  Over plain
http that is every host but this one, unless the user says that the network is theirs
alone.  A proxy is never asked for a loopback address, whose loopback would be its own.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pattern_tracker.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

API_PATH: Final = "/api/pattern-traceability"

# A shorter token is no secret, and to cut it out of a text would tear words apart.
_SHORTEST_SECRET: Final = 8

# A unix socket has no host; HTTP/1.1 wants one.
_HOST_OF_A_SOCKET: Final = "http://localhost"


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """A service at a URL, or on a unix socket of this machine.

    Args:
        base_url: `https://host[:port][/prefix]`; with or without the API's own path.
        socket_path: Instead of a URL.
        token: Sent as a bearer token; not shown by `repr`.
        token_over_plain_http: Send it over http to other machines as well.
        proxy_url: Instead of the proxy that the environment names.

    Raises:
        SettingsError: neither or both are given, or the URL cannot be used.
    """

    base_url: str | None = None
    socket_path: Path | None = None
    token: str | None = field(default=None, repr=False)
    token_over_plain_http: bool = False
    proxy_url: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.base_url is None) == (self.socket_path is None):
            raise _unusable("", "give either a URL or a socket")
        if self.base_url is None:
            return
        host = _host(self.base_url)
        if not host or urlsplit(self.base_url).scheme not in {"http", "https"}:
            raise _unusable(host, "must look like https://host or http://host:port")
        if "@" in urlsplit(self.base_url).netloc:
            raise _unusable(host, "must not carry a user or password; use service.token")

    @property
    def root(self) -> str:
        """The URL that endpoints are appended to, without a slash at its end."""
        if self.base_url is None:
            return _HOST_OF_A_SOCKET
        return self.base_url.rstrip("/").removesuffix(API_PATH)

    @property
    def is_tls(self) -> bool:
        """Whether certificates matter."""
        return self.root.lower().startswith("https:")

    @property
    def is_local(self) -> bool:
        """Whether requests stay on this machine."""
        return self.socket_path is not None or _is_loopback(_host(self.root))

    @property
    def refusal(self) -> str:
        """Why nothing may be sent with this token; empty if all is well."""
        if self.token is None:
            return ""
        if not self.token or not self.token.isascii() or not self.token.isprintable():
            return "the token holds characters that cannot be sent; set service.token anew"
        if self.is_tls or self.is_local or self.token_over_plain_http:
            return ""
        return (
            f"the token is not sent over plain http to {_host(self.root)}, where others could"
            " read it; use an https address in service.url, or, where the network is yours alone,"
            " set service.token_over_plain_http = true"
        )

    def without_token(self, text: str) -> str:
        """`text` without the token, also where its end was cut off within one."""
        token = self.token
        if not token or len(token) < _SHORTEST_SECRET:
            return text
        text = text.replace(token, "[token]")
        lengths = range(len(token) - 1, _SHORTEST_SECRET - 1, -1)
        cut = next((length for length in lengths if text.endswith(token[:length])), 0)
        return text[: len(text) - cut]

    def proxy(self) -> str | None:
        """The configured proxy, or the one that the environment names, as a URL."""
        if self.is_local:
            return None
        if self.proxy_url:
            return self.proxy_url
        # Costs 20 ms to import, and the embedded API never needs it.
        from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415

        parts = urlsplit(self.root)
        proxy = getproxies().get(parts.scheme)
        if not proxy or proxy_bypass(parts.netloc):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"


def _host(url: str) -> str:
    """The host; empty if there is none, or a port that cannot be."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    return "" if host is None or port == 0 else host


def _is_loopback(host: str) -> bool:
    # Not the names below it: most resolvers ask the network about those.
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unusable(host: str, problem: str) -> SettingsError:
    # The host only: the rest may hold a password.
    return SettingsError(key="service.url", value=host, source="configuration", problem=problem)
