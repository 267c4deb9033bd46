"""Lets a pass die before its n-th operation on a file, a database or the network.

    points = CrashPoints(root); points.arm(17)
    with pytest.raises(CrashError): await drain.run_pass()
    points.disarm()

A dead process does nothing more, so once the point is reached every later operation is
refused as well: what a `finally` would still write is not written.  What cannot be seen
from here is a crash of the machine; that SQLite survives it is SQLite's promise
(`synchronous=FULL`).
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pattern_tracker.client.transport import IntelligenceClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

# Operations on files that change, read or list something.
_EVENTS = {
    "open",
    "os.remove",
    "os.rename",
    "os.scandir",
    "os.listdir",
    "os.mkdir",
    "os.chmod",
    "os.truncate",
    "fcntl.flock",
    "sqlite3.connect",
}


class CrashError(BaseException):
    """The process is dead; no `except Exception` may bring it back."""


class CrashPoints:
    """Counts operations below `root`, and ends the pass before the one that was armed."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        # None while disarmed, which is the only time that operations are not counted.
        self._fatal: int | None = None
        self.passed = 0
        self.trace: list[str] = []

    @contextmanager
    def armed(self, fatal: int) -> Iterator[None]:
        """Die before operation number `fatal`, counted from 1."""
        self._fatal, self.passed, self.trace = fatal, 0, []
        try:
            yield
        finally:
            self._fatal = None

    def tick(self, what: str) -> None:
        """One operation is about to be made."""
        if self._fatal is None:
            return
        self.passed += 1
        self.trace.append(what)
        if self.passed >= self._fatal:
            raise CrashError(what)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """To be given what `sys.addaudithook` gives."""
        if self._fatal is not None and event in _EVENTS and self._is_ours(event, arguments):
            self.tick(event)

    def _is_ours(self, event: str, arguments: tuple[Any, ...]) -> bool:
        place = arguments[0]
        if isinstance(place, int):  # a folder that was opened before, or a lock
            return event in {"os.scandir", "os.listdir", "fcntl.flock"}
        if not isinstance(place, str | bytes | os.PathLike):
            return False
        name = os.fsdecode(place).removeprefix("file://")
        # Names without a folder are relative to the opened spool.
        return name.startswith(self._root) or "/" not in name


# An audit hook cannot be taken away again: there is one, and it serves whoever is there.
_served: list[CrashPoints] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for points in _served:
        points.audit(event, arguments)


@contextmanager
def crash_points(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CrashPoints]:
    """Every operation of a pass over `root` goes by the returned points."""
    if not getattr(_hook, "added", False):
        sys.addaudithook(_hook)
        _hook.added = True  # type: ignore[attr-defined]
    points = CrashPoints(root)
    with monkeypatch.context() as patches:
        patches.setattr(sqlite3, "connect", _connecting(points, sqlite3.connect))
        for method in ("send_batch", "send_single", "check_health"):
            sending = getattr(IntelligenceClient, method)
            patches.setattr(IntelligenceClient, method, _sending(points, method, sending))
        _served.append(points)
        try:
            yield points
        finally:
            _served.remove(points)


def _connecting(points: CrashPoints, connect: Any) -> Any:
    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            points.tick(f"execute {sql[:60]}")
            return super().execute(sql, *arguments)

        def executemany(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            points.tick(f"executemany {sql[:60]}")
            return super().executemany(sql, *arguments)

        def executescript(self, sql: str) -> sqlite3.Cursor:
            points.tick("executescript")
            return super().executescript(sql)

    def connected(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, factory=Connection, **named)
        return connection

    return connected


def _sending(points: CrashPoints, method: str, send: Any) -> Any:
    async def sent(self: IntelligenceClient, *arguments: Any) -> Any:
        points.tick(f"{method}: request")
        answer = await send(self, *arguments)
        points.tick(f"{method}: answer")
        return answer

    return sent
