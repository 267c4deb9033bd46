r"""Apply the client's `structuredPatch` (unified diff hunks as JSON) to the text it was made from.

A hunk is `{oldStart, oldLines, newStart, newLines, lines}`; each line starts with " ", "-" or "+",
and `\ No newline at end of file` speaks of the line before it. `oldStart` counts from 1, also
where `oldLines` is 0 (observed with Claude Code 2.1.197: an insertion into an empty file has 1).

Lines end at "\n" and nowhere else: form feeds, U+2028 and a lone "\r" are content. What does not
fit the text exactly is not applied at all; there is no fuzz and no searching nearby. Cost is
linear in text and patch.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Hunk(msgspec.Struct, frozen=True, rename="camel"):
    """One hunk as the client sends it; line numbers of the new side are not needed."""

    old_start: int
    old_lines: int
    lines: list[str]


def apply_patch(original: str, patch: Any) -> str | None:
    """The text after `patch`; None where `patch` has another shape or does not fit `original`."""
    try:
        hunks = msgspec.convert(patch, list[Hunk])
    except msgspec.ValidationError:
        return None
    old = _lines(original)
    new: list[str] = []
    position = 0
    for hunk in hunks:
        start = max(hunk.old_start - 1, 0)
        if not position <= start <= len(old):
            return None
        new += old[position:start]
        replaced = _apply_hunk(hunk, old, start)
        if replaced is None:
            return None
        new += replaced
        position = start + hunk.old_lines
    new += old[position:]
    return _join(new)


def _apply_hunk(hunk: Hunk, old: list[str], start: int) -> list[str] | None:
    new: list[str] = []
    position = start
    for mark, text in _marked_lines(hunk.lines):
        if mark == "+":
            new.append(text)
            continue
        if mark not in {" ", "-"} or position >= len(old) or not _same(old, position, text):
            return None
        if mark == " ":
            new.append(old[position])
        position += 1
    return new if position - start == hunk.old_lines else None


def _marked_lines(lines: list[str]) -> list[tuple[str, str]]:
    marked: list[tuple[str, str]] = []
    for line in lines:
        if not line.startswith("\\"):
            marked.append((line[:1], line[1:] + "\n"))
        elif marked:
            mark, text = marked[-1]
            marked[-1] = (mark, text.removesuffix("\n"))
    return marked


def _same(old: list[str], position: int, text: str) -> bool:
    """Whether the patch's line is the one in the text; the last may lack its newline unmarked."""
    if old[position] == text:
        return True
    return position == len(old) - 1 and old[position] == text.removesuffix("\n")


def _lines(text: str) -> list[str]:
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _join(lines: list[str]) -> str | None:
    # Only the last line of a file can lack its newline: anything else was no patch of this text.
    if any(not line.endswith("\n") for line in lines[:-1]):
        return None
    return "".join(lines)
