"""From a payload to the pattern before and the pattern after, or the rule that filters it.

For now a changed file is one pattern. Redaction comes first and is not optional: identity, hash
and size are those of the redacted code, and nothing that leaves here holds the original,
except `Change.slot_path`, which is for deriving event ids and must not be sent.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from pattern_tracker.patterns.content import FileChange, file_change
from pattern_tracker.patterns.identity import content_sha256, fragment_id, pattern_id
from pattern_tracker.patterns.language import language_of

if TYPE_CHECKING:
    from pattern_tracker.hook_payload import HookPayload

# The intelligence API's limit for a pattern's name, in characters.
MAX_NAME = 255

FILE_TOOLS = frozenset({"Write", "Edit", "NotebookEdit"})

Redact = Callable[[str], str]


class Rule(StrEnum):
    """Why a payload, rightly, became no event."""

    NOT_A_FILE_CHANGE = "not-a-file-change"
    BEFORE_THE_FACT = "before-the-fact"
    TOOL_FAILED = "tool-failed"
    UNCHANGED = "unchanged"
    EMPTY = "empty"
    BINARY = "binary"


@dataclass(frozen=True, kw_only=True, slots=True)
class Filtered:
    """A payload that is recorded and becomes no event."""

    rule: Rule


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """A piece of redacted code and what it is known by.

    `size` is bytes of UTF-8. With `fingerprint_only` the code is not known: `code` is None, and the
    other values describe the fragment that the client did report.
    """

    pattern_id: str
    name: str
    language: str
    code: str | None = field(repr=False)
    fingerprint_only: bool
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One pattern's way through one tool call.

    `before` is None where there was nothing before, or where that is not known
    (`before_known` tells). `path` is redacted and fit to be sent. `slot_path` is the path as
    the client gave it, so that a change of redaction rules changes no event id.
    """

    path: str
    slot_path: str = field(repr=False)
    before: Pattern | None
    before_known: bool
    after: Pattern


def extract(payload: HookPayload, *, redact: Redact) -> tuple[Change, ...] | Filtered:
    """The changes that `payload` reports, at least one, or why there are none."""
    rule = _rule_of_event(payload)
    change = None if rule else file_change(payload)
    if rule or change is None:
        return Filtered(rule=rule or Rule.NOT_A_FILE_CHANGE)
    if change.binary:
        return Filtered(rule=Rule.BINARY)
    if _is_empty(change):
        return Filtered(rule=Rule.EMPTY)
    found = _change(change, redact)
    if found.before and found.before.pattern_id == found.after.pattern_id:
        return Filtered(rule=Rule.UNCHANGED)
    return (found,)


def _rule_of_event(payload: HookPayload) -> Rule | None:
    event = payload.hook_event_name
    if payload.tool_name not in FILE_TOOLS:
        return Rule.NOT_A_FILE_CHANGE
    if event == "PreToolUse":
        return Rule.BEFORE_THE_FACT
    if event == "PostToolUseFailure" or _notebook_failed(payload):
        return Rule.TOOL_FAILED
    return None if event == "PostToolUse" else Rule.NOT_A_FILE_CHANGE


def _notebook_failed(payload: HookPayload) -> bool:
    """NotebookEdit reports some failures in a response that looks like success."""
    response = payload.tool_response
    return isinstance(response, dict) and bool(response.get("error"))


def _is_empty(change: FileChange) -> bool:
    if change.after_known:
        return not (change.after or "").strip()
    # Of an unknown whole, an empty fragment is a deletion inside it, and still a change.
    return False


def _change(change: FileChange, redact: Redact) -> Change:
    language = language_of(change.path, _first_text(change.after, change.before))
    path = redact(change.path)
    name = posixpath.basename(path.replace("\\", "/"))[:MAX_NAME] or "unnamed"
    before = None
    if change.before and change.before.strip():
        before = _whole(name, language, redact(change.before))
    if change.after is not None:
        after = _whole(name, language, redact(change.after))
    else:
        after = _fragment(name, language, redact(change.fragment or ""))
    return Change(
        path=path,
        slot_path=change.path,
        before=before,
        before_known=change.before_known,
        after=after,
    )


def _whole(name: str, language: str, code: str) -> Pattern:
    return Pattern(
        pattern_id=pattern_id(language, code),
        name=name,
        language=language,
        code=code,
        fingerprint_only=False,
        sha256=content_sha256(code),
        size=len(code.encode("utf-8", "surrogatepass")),
    )


def _fragment(name: str, language: str, fragment: str) -> Pattern:
    return Pattern(
        pattern_id=fragment_id(language, fragment),
        name=name,
        language=language,
        code=None,
        fingerprint_only=True,
        sha256=content_sha256(fragment),
        size=len(fragment.encode("utf-8", "surrogatepass")),
    )


def _first_text(*texts: str | None) -> str | None:
    return next((text for text in texts if text), None)
