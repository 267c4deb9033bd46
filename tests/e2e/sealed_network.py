"""Runs one command where only the loopback interface exists, with a listening socket handed out.

Imported, it says which prefix this machine permits (`isolation_prefix`). Run as a script inside
the new network namespace, it raises `lo`, opens a listening socket there, sends that socket to the
test over an inherited socket pair, and becomes the command. A socket belongs to the namespace it
was made in, so the test process serves the command although it has no way into its network.

It refuses to guess: where no namespace is permitted (macOS, a locked-down container) the same
command runs without one, and the caller is told so by an empty prefix.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import socket
import struct
import subprocess
import sys

SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1

NAMESPACES = (
    ("unshare", "--net"),
    ("unshare", "--user", "--map-root-user", "--net"),
)


@functools.cache
def isolation_prefix() -> tuple[str, ...]:
    """The command prefix that gives a private network; empty where the system permits none."""
    if not sys.platform.startswith("linux") or shutil.which("unshare") is None:
        return ()
    return next((prefix for prefix in NAMESPACES if _permitted(prefix)), ())


def _permitted(prefix: tuple[str, ...]) -> bool:
    return subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0


def _raise_loopback() -> None:
    request = struct.pack("16sh22x", b"lo", IFF_UP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)


def _enter(control: int, *, sealed: bool, command: list[str]) -> None:
    if sealed:
        _raise_loopback()
    listener = socket.create_server(("127.0.0.1", 0))
    with socket.socket(fileno=control) as to_the_test:
        socket.send_fds(to_the_test, [b"listening"], [listener.fileno()])
    port = listener.getsockname()[1]
    # Both sockets close at exec: what the command starts inherits neither.
    os.execve(command[0], command, os.environ | {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}"})


if __name__ == "__main__":
    _enter(int(sys.argv[1]), sealed=sys.argv[2] == "sealed", command=sys.argv[3:])
