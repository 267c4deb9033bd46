"""The daemon's log: JSON lines in one file of bounded size, written by one process.

What never goes in: bodies, tokens, settings, and the text of an exception that this
program did not make itself, since that may quote what it stumbled over.
"""

from __future__ import annotations

import os
import sqlite3
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
import structlog

from pattern_tracker.clock import utc_text
from pattern_tracker.errors import PatternTrackerError
from pattern_tracker.state_dir import FILE_MODE

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from pattern_tracker.clock import Clock

    Event: TypeAlias = MutableMapping[str, Any]

Log: TypeAlias = structlog.typing.FilteringBoundLogger

MAX_LOG_BYTES: Final = 5_000_000
TEXT_LIMIT: Final = 2_000


class LogFile:
    """Appends lines; at `limit_bytes` the file becomes `*.1` and a new one is begun.

    A line that cannot be written is lost, on purpose: a full disk must not take the
    daemon down.  The next line that can be written is preceded by how many were lost.
    """

    def __init__(
        self,
        path: Path,
        *,
        limit_bytes: int = MAX_LOG_BYTES,
        echo: Callable[[str], None] | None = None,
    ) -> None:
        """Open the file; `echo` is given every line as well.

        Raises:
            OSError: it cannot be opened.
        """
        self._path = path
        self._limit_bytes = limit_bytes
        self._echo = echo
        self._descriptor = self._open()
        # The size of the file, and how many lines could not be written since one could.
        self._size = os.fstat(self._descriptor).st_size
        self._lost = 0

    def write(self, line: str) -> None:
        """Append one line, in one piece."""
        if self._echo:
            self._echo(line)
        if self._lost and self._append(f'{{"level":"error","event":"{self._lost} lines lost"}}'):
            self._lost = 0
        if not self._append(line):
            self._lost += 1

    # What structlog calls, by level.
    debug = info = warning = error = critical = write

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _append(self, line: str) -> bool:
        content = f"{line}\n".encode(errors="backslashreplace")
        try:
            if self._size and self._size + len(content) > self._limit_bytes:
                self._rotate()
            written = os.write(self._descriptor, content)
        except OSError:
            return False
        self._size += written
        return written == len(content)

    def _rotate(self) -> None:
        self._path.replace(rotated(self._path))
        old = self._descriptor
        self._descriptor = self._open()
        self._size = 0
        os.close(old)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self._path, flags, FILE_MODE)


def rotated(path: Path) -> Path:
    """Where the lines before those in `path` are."""
    return path.with_name(f"{path.name}.1")


def make_log(file: LogFile, *, clock: Clock) -> Log:
    """A structlog logger that writes JSON lines to `file`: at, level, event, pid, and the rest."""

    def stamp(_logger: object, _method: str, event: Event) -> Event:
        # What people look for first, first.
        head = {
            "at": utc_text(clock.now()),
            "level": event.pop("level"),
            "event": event.pop("event"),
        }
        return {**head, "pid": os.getpid(), **event}

    log: Log = structlog.wrap_logger(
        file,
        processors=[structlog.processors.add_log_level, stamp, _cut, _render],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    )
    return log


def describe(error: BaseException) -> str:
    """An error in one line that is fit for the log.

    The text of an error of unknown make may quote a payload: only its type is told.
    """
    if isinstance(error, PatternTrackerError):
        return str(error)
    if isinstance(error, OSError):
        # Not str(): a library may have put anything there.
        return ": ".join(str(part) for part in (error.filename, error.strerror) if part) or (
            type(error).__name__
        )
    if isinstance(error, sqlite3.Error):
        return f"the ledger: {error}"
    return f"{type(error).__name__} in {_place(error)}"


def trace(error: BaseException) -> list[str]:
    """Where an error came from, innermost last; file, line and function only."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


def _place(error: BaseException) -> str:
    frames = trace(error)
    return frames[-1] if frames else "no known place"


def _cut(_logger: object, _method: str, event: Event) -> Event:
    for name, value in event.items():
        if isinstance(value, str) and len(value) > TEXT_LIMIT:
            event[name] = f"{value[:TEXT_LIMIT]}…"
    return event


def _render(_logger: object, _method: str, event: Event) -> str:
    with suppress(UnicodeEncodeError):
        return msgspec.json.encode(event, enc_hook=str).decode()
    # A path that is not UTF-8 arrives with surrogates in it.
    clean = {name: str(value).encode(errors="replace").decode() for name, value in event.items()}
    return msgspec.json.encode(clean).decode()
