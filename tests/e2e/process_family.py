"""Finds and ends what a session started, hooks, shells and detached children alike.

Claude Code gives each hook and shell a session of its own, so a process group does not hold them.
What they all share is the HOME of their test, a directory that nobody else has. Reading another
process's environment is Linux's `/proc`; elsewhere only the process group is ended.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

SETTLING_SECONDS = 5.0


def processes_of(home: Path) -> dict[int, str]:
    """Command lines by pid of the live processes that were started with `HOME=home`."""
    marker = f"HOME={home}".encode()
    found: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            if marker in environment:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = words.decode("utf-8", "replace").strip()
        except OSError:
            continue  # it has ended meanwhile, or is not ours to read
    return found


def end_session(process: subprocess.Popen[bytes], home: Path) -> None:
    """Kill and reap a session that still runs; one that has ended keeps its detached children."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    end_processes_of(home)


def end_processes_of(home: Path) -> dict[int, str]:
    """Kill what is left of the sessions in `home`; returns what there was."""
    left_behind = processes_of(home)
    for pid in left_behind:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return left_behind


def assert_nothing_runs_in(home: Path, *, within: float = SETTLING_SECONDS) -> None:
    """Wait `within` seconds for the processes of `home` to end; then kill them and fail."""
    deadline = time.monotonic() + within
    while processes_of(home) and time.monotonic() < deadline:
        time.sleep(0.02)
    left_behind = end_processes_of(home)
    assert not left_behind, f"still running, killed now: {left_behind}"
