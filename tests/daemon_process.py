"""A real daemon in a state directory of its own, for tests; nothing of it outlives `close`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pattern_daemon.record import DaemonRecord, read_record
from pattern_tracker.errors import LedgerError
from pattern_tracker.file_lock import is_held
from pattern_tracker.ledger.summary import LedgerSummary, read_summary
from pattern_tracker.state_dir import StateDir

if TYPE_CHECKING:
    from collections.abc import Callable

PAYLOADS = Path(__file__).parent / "payloads"
PATIENCE_SECONDS = 30.0


def wait_until(true: Callable[[], object], *, what: str) -> None:
    """Poll `true` until it holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"still waiting for: {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, other than a dead one that nobody has waited for."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def link_of(pid: int, name: str) -> str:
    """Where /proc/PID/`name` points."""
    return str(Path(f"/proc/{pid}/{name}").readlink())


def streams_of(pid: int) -> list[str]:
    """What the process has for stdin, stdout and stderr."""
    return [link_of(pid, f"fd/{stream}") for stream in (0, 1, 2)]


def words_of(pid: int, name: str) -> list[str]:
    """The command line (`cmdline`) or environment (`environ`) of a process; empty if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace").split("\0")
    return []


class DaemonHome:
    """A state directory and a configuration; `run` is the command line."""

    def __init__(self) -> None:
        # Not pytest's: a socket's name holds no more than a hundred bytes.
        self.root = Path(tempfile.mkdtemp(prefix="pd-", dir="/tmp"))
        self.state = StateDir(root=self.root / "s")
        self.config = self.root / "config.toml"
        # What a command is run with: another namespace, for one test.
        self.prefix: list[str] = []
        self.foreground: list[subprocess.Popen[bytes]] = []

    @property
    def arguments(self) -> list[str]:
        return ["--state-dir", str(self.state.root), "--config", str(self.config)]

    def command(self, *words: str) -> list[str]:
        daemon = [sys.executable, "-I", "-m", "pattern_daemon"]
        return [*self.prefix, *daemon, *words, *self.arguments]

    def run(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, timeout=50, **options
        )

    def start(self) -> DaemonRecord:
        done = self.run("start")
        assert done.returncode == 0, (done.stdout, done.stderr)
        return self.record()

    def run_in_foreground(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self.command("run"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self.foreground.append(process)
        return process

    def record(self) -> DaemonRecord:
        found = read_record(self.state.daemon_record)
        assert found is not None
        return found

    def maybe_record(self) -> DaemonRecord | None:
        return read_record(self.state.daemon_record)

    def held(self) -> bool:
        return is_held(self.state.daemon_lock)

    def wait_ready(self) -> DaemonRecord:
        wait_until(lambda: (found := self.maybe_record()) and found.ready, what="ready")
        return self.record()

    def status(self) -> tuple[int, dict]:
        done = self.run("status", "--json")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def configure(self, text: str) -> None:
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.chmod(0o600)
        new.replace(self.config)

    def drop(
        self, name: str = "PostToolUse-Write.json", *, spool: Path | None = None, **fields: object
    ) -> None:
        """Put a recorded payload into the spool, with an id of its own unless one is given."""
        payload = json.loads((PAYLOADS / name).read_text())
        payload |= {"tool_use_id": f"toolu_{uuid.uuid4().hex}"} | fields
        payload["cwd"] = f"/project/{uuid.uuid4().hex}"
        ((spool or self.state.spool) / f"{uuid.uuid4().hex}.json").write_text(json.dumps(payload))

    def summary(self) -> LedgerSummary:
        return read_summary(self.state.ledger)

    def delivered(self) -> int:
        with suppress(LedgerError):  # damaged: the daemon is about to set it aside
            return sum(self.summary().tally.get("events", {}).get("delivered", {}).values())
        return 0

    def log_lines(self) -> list[dict]:
        if not self.state.daemon_log.exists():
            return []
        return [json.loads(line) for line in self.state.daemon_log.read_text().splitlines()]

    def logged(self, event: str) -> list[dict]:
        return [line for line in self.log_lines() if line["event"] == event]

    def kill(self) -> None:
        """SIGKILL to the daemon; its API must end by itself."""
        record = self.record()
        os.kill(record.pid, signal.SIGKILL)
        wait_until(lambda: not self.held(), what="the lock given back")

    def kill_api(self) -> None:
        """SIGKILL to the embedded API; the daemon must bring another one."""
        wait_until(lambda: (api := self.record().api) and api.pid, what="the API")
        with suppress(ProcessLookupError):  # it has only just died of the last time
            os.kill(self.record().api.pid, signal.SIGKILL)

    def close(self) -> None:
        record = self.maybe_record()
        if record and self.held():
            # What holds this lock was started here, and it says itself which process it is.
            with suppress(ProcessLookupError):
                os.kill(record.pid, signal.SIGTERM)
            with suppress(AssertionError):
                wait_until(lambda: not self.held(), what="the daemon's end")
            with suppress(ProcessLookupError):
                if self.held():
                    os.kill(record.pid, signal.SIGKILL)
        for process in self.foreground:
            if process.poll() is None:
                process.kill()
            process.wait()
        if record and record.api and record.api.pid:
            api = record.api.pid
            wait_until(lambda: not is_alive(api), what="the API's end")
        shutil.rmtree(self.root)
