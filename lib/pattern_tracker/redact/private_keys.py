r"""Private key blocks (PEM, OpenSSH, PGP), whole or cut off at either end.

An edit shows parts of files, so a block may lack its last or its first line; it may also sit on
one line with escaped newlines, or be quoted and concatenated in source code. Only the two dashed
lines are looked for; what lies between or beside them is then read once. A pattern that matched
whole blocks would read on to the end of the text from every place where a block could begin.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from pattern_tracker.redact.rule import MARKER_START

if TYPE_CHECKING:
    from collections.abc import Iterator

KIND = "private-key"

DELIMITER = r"-----(?:(BEGIN)|END) [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"

# What may stand between two runs of base64: line ends real or escaped, quotes, comment and diff
# signs.
_BETWEEN = r"(?:[\s\"'`+,;#*>|()]|\\+[nrt\"'])"
_RUN = r"[A-Za-z0-9+/=_-]{16,}"
# `Proc-Type: 4,ENCRYPTED` and the like.
_HEADER = r"[A-Z][A-Za-z-]{2,20}: [^\n\\\"]{1,200}"

_BEGINNING = rf"(?:{_BETWEEN}*{_HEADER})*(?:{_BETWEEN}*{_RUN})+(?:{_BETWEEN}+[A-Za-z0-9+/]+=+)?"
_ENDING = rf"(?:{_RUN}{_BETWEEN}+)+(?:[A-Za-z0-9+/=]+{_BETWEEN}+)?\z"

# A label alone, or with a variable between, is code that deals with keys; this much is a key.
_MIN_KEY_BYTES = 32


def find_private_keys(data: bytes) -> Iterator[tuple[int, int]]:
    """The span of each private key in `data`, dashed lines included, from left to right."""
    if b"PRIVATE KEY" not in data:
        return
    patterns = _patterns()
    opened: int | None = None
    previous_end = 0
    for found in patterns.delimiter.finditer(data):
        if opened is not None:
            closes = found.start(1) < 0
            end = found.start() if not closes else found.end()
            yield from _opened(data, opened, previous_end, found.start(), end, closes=closes)
        elif found.start(1) < 0:
            yield from _ending(data, previous_end, found.start(), found.end())
        opened = found.start() if found.start(1) >= 0 else None
        previous_end = found.end()
    if opened is not None:
        yield from _opened(data, opened, previous_end, len(data), len(data), closes=False)


def _opened(
    data: bytes, start: int, body: int, body_end: int, end: int, *, closes: bool
) -> Iterator[tuple[int, int]]:
    text = data[body:body_end]
    if not closes:
        found = _patterns().beginning.match(text)
        end = body + found.end() if found else body
        text = text[: end - body]
    if len(text.strip()) >= _MIN_KEY_BYTES and MARKER_START.encode() not in text:
        yield start, end


def _ending(data: bytes, body: int, body_end: int, end: int) -> Iterator[tuple[int, int]]:
    found = _patterns().ending.search(data[body:body_end])
    if found and found.end() - found.start() >= _MIN_KEY_BYTES:
        yield body + found.start(), end


class _Patterns:
    def __init__(self) -> None:
        import re2  # noqa: PLC0415 - importing this package stays cheap for who redacts nothing

        self.delimiter: Any = re2.compile(DELIMITER.encode())
        self.beginning: Any = re2.compile(_BEGINNING.encode())
        self.ending: Any = re2.compile(_ENDING.encode())


@cache
def _patterns() -> _Patterns:
    return _Patterns()
