"""Which process is meant by a process id, so that a signal never reaches another one.

A bare id is reused, means something else in a container, and outlives a reboot in a
file.  Host, boot, pid namespace and start time together name one process for good.

Reading (`/proc` on Linux, `sysctl` and `ps` elsewhere) is kept apart from parsing, so
that both systems' answers can be tested on either.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

# proc_pid_stat(5): "starttime" is the 22nd field; the name, second, may hold blanks and brackets.
_START_TIME_FIELD: Final = 22
_FIELDS_UP_TO_NAME: Final = 2

_COMMAND_TIMEOUT_SECONDS: Final = 5.0


class ProcessIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """One process, never to be mistaken for another.

    Attributes:
        pid: Its id inside its pid namespace.
        host: The machine's name.
        boot_id: Of the machine's present boot.
        pid_namespace: "" where the system knows no such thing.
        start_time: In the system's own terms; only ever compared.
    """

    pid: int
    host: str
    boot_id: str
    pid_namespace: str
    start_time: str


def identity_of(pid: int) -> ProcessIdentity | None:
    """The process that has `pid` right now, as seen from here; None if there is none."""
    linux = Path("/proc/self/stat").exists()
    start_time = _linux_start_time(pid) if linux else _ps_start_time(pid)
    if start_time is None:
        return None
    return ProcessIdentity(
        pid=pid,
        host=os.uname().nodename,
        boot_id=_linux_boot_id() if linux else _sysctl_boot_id(),
        pid_namespace=_linux_pid_namespace() if linux else "",
        start_time=start_time,
    )


def differences(recorded: ProcessIdentity, found: ProcessIdentity | None) -> list[str]:
    """Why `found` is not the process that was recorded; empty if it is."""
    if found is None:
        return [f"no process {recorded.pid} here"]
    pairs = {
        "another host": (recorded.host, found.host),
        "another boot": (recorded.boot_id, found.boot_id),
        "another pid namespace": (recorded.pid_namespace, found.pid_namespace),
        "another start time": (recorded.start_time, found.start_time),
        "another process id": (recorded.pid, found.pid),
    }
    # What nobody could read proves nothing: "" equal to "" is no match for boot and start.
    unknown = not (recorded.boot_id and recorded.start_time)
    return [name for name, (was, now) in pairs.items() if was != now] + ["unknown"] * unknown


def parse_proc_stat(text: str) -> str:
    """The start time, in clock ticks after boot, of the content of `/proc/PID/stat`.

    Raises:
        ValueError: that is not what it is.
    """
    _, bracket, rest = text.rpartition(")")
    fields = rest.split()
    index = _START_TIME_FIELD - _FIELDS_UP_TO_NAME - 1
    if not bracket or len(fields) <= index or not fields[index].isdigit():
        raise ValueError("not the content of /proc/PID/stat")
    return fields[index]


def parse_ps_start(text: str) -> str | None:
    """What `ps -o lstart=` printed, blanks made one; None if it names no process."""
    return " ".join(text.split()) or None


def _linux_start_time(pid: int) -> str | None:
    try:
        # A process may call itself anything, not only UTF-8.
        text = Path(f"/proc/{pid}/stat").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return parse_proc_stat(text)


def _linux_boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _linux_pid_namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def _ps_start_time(pid: int) -> str | None:
    return parse_ps_start(_printed(["/bin/ps", "-o", "lstart=", "-p", str(pid)]))


def _sysctl_boot_id() -> str:
    # Not kern.boottime: that moves whenever the clock is set.
    return _printed(["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]).strip()


def _printed(command: Sequence[str]) -> str:
    import subprocess  # noqa: PLC0415 - Linux needs no process to find out

    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=_COMMAND_TIMEOUT_SECONDS,
        # `lstart` is a local time in the caller's language.
        env={"LC_ALL": "C", "TZ": "UTC"},
    )
    return done.stdout
