"""What a finished tool call did to a file, as far as the client's own report says.

The file on disk is never read: by the time that a payload is ingested it may have changed again.
What the client reports, best first:

- Edit: `structuredPatch` applied to `originalFile`, every context line verified; else the
  replacement done on `originalFile`. The patch is empty where the difference is too big to show.
- Write: `content`.
- NotebookEdit: `original_file` and `updated_file`.

Where the user changed the proposal before accepting it (`userModified`), what the model asked for
is not what is on disk: the patch goes first, and an Edit's replacement is not done at all.

Paths come from `tool_input`, which the client has made absolute; `tool_response.filePath` is the
model's raw string. The client has turned CRLF into LF in all of these texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pattern_tracker.patterns.unified_patch import apply_patch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pattern_tracker.hook_payload import HookPayload

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class FileChange:
    """A file before and after one tool call, NOT yet redacted.

    `before` is None and `before_known` True where there was no file. `after_known` is False where
    the client gave too little to tell; `fragment` then holds the new text that it did give.
    """

    path: str
    tool: str
    before: str | None
    before_known: bool
    after: str | None
    after_known: bool
    fragment: str | None = None

    @property
    def binary(self) -> bool:
        """Whether a NUL says that one of the sides is not text."""
        return any("\0" in text for text in (self.before, self.after, self.fragment) if text)

    def __repr__(self) -> str:
        """Sizes instead of contents: this ends in logs and tracebacks, and may hold secrets."""
        before, after = (
            len(side) if side is not None else ("none" if known else "unknown")
            for side, known in ((self.before, self.before_known), (self.after, self.after_known))
        )
        return f"<FileChange {self.tool} before={before} after={after}>"


def file_change(payload: HookPayload) -> FileChange | None:
    """What `payload`, a PostToolUse of a file-writing tool, did; None for anything else.

    None also where the payload names no file.
    """
    reader = _READERS.get(payload.tool_name or "")
    if reader is None or payload.hook_event_name != "PostToolUse":
        return None
    asked = payload.tool_input or _NOTHING
    done = payload.tool_response if isinstance(payload.tool_response, dict) else _NOTHING
    path = _text(asked, "notebook_path" if payload.tool_name == "NotebookEdit" else "file_path")
    return reader(path, asked, done) if path else None


def _read_write(path: str, asked: Mapping[str, Any], done: Mapping[str, Any]) -> FileChange:
    before = _text(done, "originalFile")
    created = done.get("type") == "create" and done.get("originalFile") is None
    modified = done.get("userModified") is True
    patched = _patched(before, done)
    written = _text(done, "content")
    after = _first(patched, written) if modified else _first(written, patched)
    if after is None and not modified:
        after = _text(asked, "content")
    return FileChange(
        path=path,
        tool="Write",
        before=before,
        before_known=before is not None or created,
        after=after,
        after_known=after is not None,
        fragment=_text(asked, "content"),
    )


def _read_edit(path: str, asked: Mapping[str, Any], done: Mapping[str, Any]) -> FileChange:
    before = _text(done, "originalFile")
    modified = done.get("userModified") is True
    replaced = None if modified else _replaced(before, asked, done)
    after = _first(_patched(before, done), replaced)
    if after is not None and replaced is not None and _lost_tabs(after, replaced):
        after = replaced
    return FileChange(
        path=path,
        tool="Edit",
        before=before,
        before_known=before is not None,
        after=after,
        after_known=after is not None,
        fragment=_first(_text(done, "newString"), _text(asked, "new_string")),
    )


def _read_notebook(path: str, asked: Mapping[str, Any], done: Mapping[str, Any]) -> FileChange:
    before = _text(done, "original_file")
    after = _text(done, "updated_file")
    return FileChange(
        path=path,
        tool="NotebookEdit",
        before=before,
        before_known=before is not None,
        after=after,
        after_known=after is not None,
        fragment=_first(_text(done, "new_source"), _text(asked, "new_source")),
    )


_READERS: dict[str, Callable[[str, Mapping[str, Any], Mapping[str, Any]], FileChange]] = {
    "Write": _read_write,
    "Edit": _read_edit,
    "NotebookEdit": _read_notebook,
}


def _patched(before: str | None, done: Mapping[str, Any]) -> str | None:
    patch = done.get("structuredPatch")
    return apply_patch(before, patch) if before is not None and patch else None


def _replaced(before: str | None, asked: Mapping[str, Any], done: Mapping[str, Any]) -> str | None:
    if before is None:
        return None
    everywhere = asked.get("replace_all") is True or done.get("replaceAll") is True
    # The client's own strings first: it may have matched typographic quotes for plain ones.
    for source, old_key, new_key in (
        (done, "oldString", "newString"),
        (asked, "old_string", "new_string"),
    ):
        old, new = _text(source, old_key), _text(source, new_key)
        if old is not None and new is not None:
            after = _replace(before, old, new, everywhere=everywhere)
            if after is not None:
                return after
    return None


def _replace(before: str, old: str, new: str, *, everywhere: bool) -> str | None:
    if not old:
        return None if before.strip() else new
    count = before.count(old)
    if count == 0 or (count > 1 and not everywhere):
        return None
    return before.replace(old, new)


def _lost_tabs(patched: str, replaced: str) -> bool:
    """Whether the patch differs from the replacement only by tabs shown as spaces.

    A patch made for display may spell leading tabs as spaces in the lines that it adds.
    """
    if patched == replaced or replaced.count("\t") <= patched.count("\t"):
        return False
    return patched.split() == replaced.split()


def _first(*texts: str | None) -> str | None:
    return next((text for text in texts if text is not None), None)


def _text(source: Mapping[str, Any], key: str) -> str | None:
    value = source.get(key)
    return value if isinstance(value, str) else None
