"""The log for people: one line of text for each line of JSON, and following its end.

What programs or payloads may have put into a line is shown with its control
characters escaped: a log must not be able to steer a terminal.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, TextIO

import msgspec

from pattern_tracker.command_line import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FOLLOW_POLL_SECONDS: Final = 0.25
FOLLOW_FROM_LINES: Final = 20

# pid: the same on every line but at a restart, and in `status`.
_SHOWN_APART: Final = ("at", "level", "event", "pid")
_COLOURS: Final = {"warning": "33", "error": "31", "critical": "1;31"}


def print_log(path: Path, *, last: int | None, following: bool) -> None:
    """Write the log to stdout: `last` lines (None: all of them), then what comes, if wanted.

    JSON as it is where stdout is no terminal.

    Raises:
        OSError: it is there and cannot be read, or nobody reads what is printed.
    """
    terminal = sys.stdout.isatty()
    colour = terminal and not os.environ.get("NO_COLOR")

    def show(line: str) -> None:
        sys.stdout.write(f"{readable(line, colour=colour)}\n" if terminal else line)

    if last is None and following:
        last = FOLLOW_FROM_LINES
    try:
        for line in lines(path) if last is None else deque(lines(path), maxlen=last):
            show(line)
        sys.stdout.flush()
        for line in follow(path, sleep=time.sleep) if following else ():
            show(line)
            sys.stdout.flush()
    except KeyboardInterrupt:
        pass  # how following ends


def readable(line: str, *, colour: bool) -> str:
    """One line of the log as text; what is not JSON is shown as it is."""
    try:
        entry = msgspec.json.decode(line, type=dict[str, object])
    except msgspec.DecodeError:
        return printable(line.rstrip("\n"))
    level = str(entry.get("level", ""))
    rest = "".join(
        f"  {printable(name)}={printable(_text(value))}"
        for name, value in entry.items()
        if name not in _SHOWN_APART
    )
    shown_level = f"{printable(level):<8}"
    if colour and level in _COLOURS:
        shown_level = f"\x1b[{_COLOURS[level]}m{shown_level}\x1b[0m"
    return (
        f"{printable(str(entry.get('at', '')))}  {shown_level}"
        f"  {printable(str(entry.get('event', '')))}{rest}"
    )


def pid_of(line: str) -> int | None:
    """Which process wrote a line of the log; None if it does not say."""
    try:
        return msgspec.json.decode(line, type=_Writer).pid
    except msgspec.DecodeError:
        return None


class _Writer(msgspec.Struct):
    pid: int | None = None


def lines(path: Path) -> Iterator[str]:
    """The lines of the log, each with its newline.

    Raises:
        OSError: it is there and cannot be read.
    """
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as stream:
            yield from stream


def follow(path: Path, *, sleep: Callable[[float], None]) -> Iterator[str]:
    """Lines as they are written from now on, also after the file was replaced; never ends."""
    with ExitStack() as stack:
        stream = _open_at_end(path, stack)
        part = ""
        while True:
            part += stream.readline() if stream else ""
            if part.endswith("\n"):
                yield part
                part = ""
                continue
            if stream is None or _was_replaced(stream, path):
                # What was written before it was replaced has been read to its end.
                replacement = _open(path, stack)
                stream, part = replacement or stream, ""
                if replacement:
                    continue
            sleep(FOLLOW_POLL_SECONDS)


def _open(path: Path, stack: ExitStack) -> TextIO | None:
    try:
        stream = path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    stack.pop_all().close()
    return stack.enter_context(stream)


def _open_at_end(path: Path, stack: ExitStack) -> TextIO | None:
    stream = _open(path, stack)
    if stream:
        stream.seek(0, os.SEEK_END)
    return stream


def _was_replaced(stream: TextIO, path: Path) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return not os.path.samestat(found, os.fstat(stream.fileno()))


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
