r"""What makes two pieces of code the same pattern: language and normalised code, nothing else.

Two ids for equal code cost a line in a table; one id for different code corrupts a lineage.
So only what cannot carry meaning is ignored:

- a byte order mark at the start,
- whether lines end in LF or CRLF,
- how many newlines end the file.

All else counts: letter case, comments, indentation, blank lines, whitespace at the ends of lines
(it is content inside a multi-line string, a hard break in Markdown, the end of a continuation in
shell), and a lone CR. The one known collision left is a YAML block scalar with `|+` at the very
end.

A notebook's outputs and execution counts come from running it, and editors lay its JSON out
differently. Its identity is the list of its cells, each with kind and source.

Identity is computed over REDACTED code: the id then says nothing about a secret (a short one
could be found by trying), and the two sides of an edit agree on what they have in common.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

NOTEBOOK = "notebook"
PATTERN_ID_HEX_DIGITS = 16

_BOM = "\ufeff"


class _Cell(msgspec.Struct):
    cell_type: str = ""
    source: str | list[str] = ""

    def text(self) -> str:
        return self.source if isinstance(self.source, str) else "".join(self.source)


class _Notebook(msgspec.Struct):
    cells: list[_Cell]


_notebook_decoder = msgspec.json.Decoder(_Notebook)


def pattern_id(language: str, code: str) -> str:
    """16 hex digits of SHA-256 over `language` and the normalised, already redacted `code`."""
    canonical = _canonical_notebook(code) if language == NOTEBOOK else None
    if canonical is None:
        canonical = _bytes(normalise(code))
    # NUL cannot be part of a language's name, so no pair of inputs shares a digest's input.
    return _hex(language.encode() + b"\0" + canonical)


def fragment_id(language: str, fragment: str) -> str:
    """The id that stands for a file of which only `fragment` is known.

    It is never equal to the id of a file that holds the fragment and nothing else.
    """
    return _hex(b"fragment\0" + language.encode() + b"\0" + _bytes(normalise(fragment)))


def content_sha256(code: str) -> str:
    """64 hex digits of SHA-256 over `code` as UTF-8, exactly as it is."""
    return hashlib.sha256(_bytes(code)).hexdigest()


def normalise(code: str) -> str:
    """`code` without what identity ignores; what that is, the module's docstring says."""
    code = code.removeprefix(_BOM)
    if "\r\n" in code:
        code = code.replace("\r\n", "\n")
    return code.rstrip("\n")


def _canonical_notebook(code: str) -> bytes | None:
    try:
        notebook = _notebook_decoder.decode(_bytes(code.removeprefix(_BOM)))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    cells: list[Any] = [[cell.cell_type, normalise(cell.text())] for cell in notebook.cells]
    return msgspec.json.encode(cells)


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:PATTERN_ID_HEX_DIGITS]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
