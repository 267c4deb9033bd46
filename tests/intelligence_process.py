"""The real `pattern-intelligence serve` as a child process, for tests."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = "/api/pattern-traceability"
TRACK = f"{PREFIX}/lineage/track"
BATCH = f"{TRACK}/batch"
PATIENCE_SECONDS = 20.0


class ServedApi:
    """A started process; `address` is what it announced, once `wait_ready` returned."""

    def __init__(self, *arguments: str | Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pattern_intelligence", "serve", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        self.address = ""
        self._errors: str | None = None

    def wait_ready(self) -> ServedApi:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE_SECONDS)
        line = self.process.stdout.readline().decode() if readable else ""
        assert line.startswith("listening on "), (line, self.end() if not line else "")
        self.address = line.removeprefix("listening on ").strip()
        return self

    def session(self, **options: Any) -> aiohttp.ClientSession:
        if self.address.startswith("unix:"):
            connector = aiohttp.UnixConnector(path=self.address.removeprefix("unix:"))
            return aiohttp.ClientSession("http://localhost", connector=connector, **options)
        return aiohttp.ClientSession(self.address, **options)

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def finish(self) -> tuple[int, str]:
        """Exit code and stderr of a process that is about to end by itself."""
        code = self.process.wait(PATIENCE_SECONDS)
        if self._errors is None:
            assert self.process.stderr is not None
            self._errors = self.process.stderr.read().decode()
        return code, self._errors

    def end(self) -> tuple[int, str]:
        """Make sure that nothing is left behind."""
        if self.process.poll() is None:
            self.process.kill()
        code, errors = self.finish()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()
        return code, errors


@contextmanager
def served(*arguments: str | Path, **environment: str) -> Iterator[ServedApi]:
    """A process that announced itself ready; it is gone afterwards."""
    api = ServedApi(*arguments, **environment)
    try:
        yield api.wait_ready()
    finally:
        api.end()


@contextmanager
def started(*arguments: str | Path, **environment: str) -> Iterator[ServedApi]:
    """A process that may refuse to start; it is gone afterwards."""
    api = ServedApi(*arguments, **environment)
    try:
        yield api
    finally:
        api.end()


def wait_until(true: Any, *, what: str) -> None:
    """Poll `true` until it holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"still waiting for: {what}"
        time.sleep(0.01)


def pattern_event(kind: str, pattern: str, **fields: Any) -> dict[str, Any]:
    """A well-formed event; `fields` replace or add."""
    return {
        "event_type": f"pattern_{kind}",
        "pattern_id": pattern,
        "pattern_data": {"code": f"code of {pattern}"},
    } | fields
