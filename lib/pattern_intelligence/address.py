"""Where the service listens: a private unix socket, or TCP.

A socket file says nothing about whether anybody listens: it stays behind when its owner
is killed.  So its owner also holds an flock on `SOCKET.lock`, which the kernel takes
back whatever happens.  Only the holder of that lock removes a socket file, and only
after nobody answered on it.  The lock file itself is never removed: two processes could
then hold locks on two files of the same name.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pattern_intelligence.errors import AddressTakenError, AddressUnusableError
from pattern_tracker.file_lock import try_flock
from pattern_tracker.state_dir import (
    DIRECTORY_MODE,
    FILE_MODE,
    SOCKET_PATH_LIMIT_BYTES,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pattern_tracker.clock import Clock

# A predecessor that was told to go finishes the request in hand first.
_LOCK_PATIENCE_SECONDS: Final = 3.0
_LOCK_POLL_SECONDS: Final = 0.05
_PROBE_TIMEOUT_SECONDS: Final = 1.0
_BACKLOG: Final = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class UnixAddress:
    """A socket file in a directory that only this user can enter."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, kw_only=True, slots=True)
class TcpAddress:
    """A host name or IP address and a port; port 0 takes any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def beside(path: Path, suffix: str) -> Path:
    """`path` with `suffix` behind its whole name."""
    return path.with_name(path.name + suffix)


@asynccontextmanager
async def exclusive(path: Path, *, clock: Clock, taken: AddressTakenError) -> AsyncIterator[None]:
    """Hold an flock on `path` inside the block.

    Raises:
        AddressTakenError: `taken`, if another process keeps the lock for some seconds.
        AddressUnusableError: the lock file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        deadline = clock.monotonic() + _LOCK_PATIENCE_SECONDS
        while not try_flock(descriptor):
            if clock.monotonic() >= deadline:
                raise taken
            await clock.sleep(_LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


@asynccontextmanager
async def listening_socket(
    address: UnixAddress | TcpAddress, *, clock: Clock
) -> AsyncIterator[socket.socket]:
    """A bound socket, not yet listening, that is ours alone inside the block.

    Raises:
        AddressTakenError: somebody listens there.
        AddressUnusableError: the directory is not private, or the address cannot be bound.
    """
    if isinstance(address, TcpAddress):
        with _bind_tcp(address) as bound:
            yield bound
        return
    _require_private_directory(address.path.parent)
    taken = AddressTakenError(str(address), setting="--socket")
    async with exclusive(beside(address.path, ".lock"), clock=clock, taken=taken):
        _remove_stale(address)
        with _bind_unix(address) as bound:
            try:
                yield bound
            finally:
                address.path.unlink(missing_ok=True)


def _require_private_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        found = directory.stat()
    except OSError as error:
        raise _unusable(directory, error) from error
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        # Not repaired: it might be /tmp, and whoever runs this might be root.
        raise AddressUnusableError(
            str(directory),
            "other users can enter this directory, and its socket asks for no token",
            f"Make it private (chmod 700 '{directory}') or name another with --socket.",
        )


def _remove_stale(address: UnixAddress) -> None:
    try:
        mode = address.path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AddressUnusableError(
            str(address.path),
            "is there already and is not a socket",
            "Move it away, or name another path with --socket.",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT_SECONDS)
        try:
            probe.connect(str(address.path))
        except (ConnectionRefusedError, FileNotFoundError):
            address.path.unlink(missing_ok=True)
            return
        except OSError:
            pass  # too busy to accept is still somebody
    raise AddressTakenError(str(address), setting="--socket")


def _bind_unix(address: UnixAddress) -> socket.socket:
    if len(os.fsencode(address.path)) > SOCKET_PATH_LIMIT_BYTES:
        raise AddressUnusableError(
            str(address.path),
            f"is longer than the {SOCKET_PATH_LIMIT_BYTES} bytes that a socket's name may have",
            "Name a shorter path with --socket.",
        )
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(address.path))
        address.path.chmod(FILE_MODE)
    except OSError as error:
        bound.close()
        raise _unusable(address.path, error) from error
    return bound


def _bind_tcp(address: TcpAddress) -> socket.socket:
    try:
        family, *_ = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressTakenError(str(address), setting="--port") from error
        raise AddressUnusableError(
            str(address), f"cannot listen there ({error})", "Choose another with --host and --port."
        ) from error


def _unusable(path: Path, error: OSError) -> AddressUnusableError:
    return AddressUnusableError(
        str(path),
        f"cannot be used ({error.strerror})",
        "Make it writable for this user, or name another path.",
    )
