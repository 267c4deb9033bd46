"""What the command line assumes where nothing is said; costs no import."""

from __future__ import annotations

from typing import Final

HOST: Final = "127.0.0.1"
PORT: Final = 8053
RETENTION_DAYS: Final = 90
# A hundred batches of a hundred events a second: far beyond any honest client, and still
# a limit.  The socket has none: only this user reaches it.
TCP_REQUESTS_PER_MINUTE: Final = 6000
