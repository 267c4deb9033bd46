"""What Claude Code writes to a hook's standard input, read into one typed value.

The fast path is one msgspec call. Input that msgspec refuses but that is still JSON to
others (a lone surrogate escape, NaN, invalid UTF-8, an optional field of another type)
is cleaned once with the standard library and read again, so that a whim of a later client
costs a field and not the event. Every string in a decoded payload is valid Unicode: what
is not becomes U+FFFD, because neither SQLite nor the wire could carry it.

Nothing here tells a torn file from garbage: what does not parse has the one cause `not-json`.
"""

from __future__ import annotations

import json
import math
import uuid
from typing import Any, Literal

import msgspec

from pattern_tracker.errors import PatternTrackerError

PayloadCause = Literal["not-json", "not-an-object", "no-event-name", "bad-field"]

# Fixed for ever: a changed namespace would make every known capture look new.
CAPTURE_NAMESPACE = uuid.UUID("6e0c7f0a-53a1-5f0b-9a8e-2f6f3a1d7c55")

# Ids that Claude makes itself are unique across sessions; those of proxies and test servers need
# not be.
GLOBALLY_UNIQUE_PREFIX = "toolu_"

_BOM = b"\xef\xbb\xbf"
_WHITESPACE = b" \t\r\n"
_MAX_INT_DIGITS = 18


class PayloadError(PatternTrackerError):
    """A hook payload that cannot become an event; `cause` is one of `PayloadCause`."""

    def __init__(self, cause: PayloadCause, detail: str) -> None:
        self.cause = cause
        self.detail = detail
        super().__init__(
            f"hook payload cannot be used ({cause}: {detail}). It is set aside unchanged;"
            " if Claude Code wrote it, please report it with `claude --version`."
        )


class HookPayload(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One hook payload; fields this program has no use for are left out.

    `tool_response` has the tool's own shape (an object for built-in tools, a list for MCP).
    `agent_id` and `agent_type` are set inside a subagent only, where `session_id` is still that
    of the main session.
    """

    hook_event_name: str
    session_id: str = ""
    tool_name: str | None = None
    tool_use_id: str | None = None
    tool_input: dict[str, Any] | None = None
    tool_response: Any = None
    agent_id: str | None = None
    agent_type: str | None = None


# A wrong type here leaves no event to speak of; in any other field it only costs the field.
_ESSENTIAL = {
    "hook_event_name": str,
    "session_id": str,
    "tool_name": str,
    "tool_use_id": str,
    "tool_input": dict,
}
_NOT_NULL = ("session_id",)

_decoder = msgspec.json.Decoder(HookPayload)


def decode(raw: bytes) -> HookPayload:
    """Read one payload as the client wrote it.

    Raises:
        PayloadError: the bytes are not JSON, not an object, name no event, or a field that an
            event cannot do without (session, tool, tool use id, tool input) has the wrong type.

    """
    body = raw.removeprefix(_BOM)
    try:
        payload = _decoder.decode(body)
    except (msgspec.MsgspecError, ValueError):
        payload = _decode_leniently(body)
    except RecursionError as error:
        raise PayloadError("not-json", "nested too deeply") from error
    if not payload.hook_event_name:
        raise PayloadError("no-event-name", "hook_event_name is empty")
    return payload


def capture_key(payload: HookPayload, *, name: str, mtime_ns: int) -> uuid.UUID:
    """The key under which a payload is entered once, however often it is read.

    A tool call is known by its id and the hook event, so that the same call found elsewhere (a
    transcript, a second hook) has the same key. Other events have nothing of their own to be
    known by, so their spool file's `name` and `mtime_ns` (nanoseconds) stand in.
    """
    event = payload.hook_event_name
    identity: list[str]
    if not payload.tool_use_id:
        identity = ["file", payload.session_id, event, name, str(mtime_ns)]
    elif payload.tool_use_id.startswith(GLOBALLY_UNIQUE_PREFIX):
        identity = ["tool", payload.tool_use_id, event]
    else:
        identity = ["tool", payload.tool_use_id, event, payload.session_id]
    # As JSON, so that no choice of values makes two different lists the same name.
    return uuid.uuid5(CAPTURE_NAMESPACE, msgspec.json.encode(identity).decode())


def event_id(capture_key: uuid.UUID, slot: str) -> uuid.UUID:
    """The id of one event of a capture; `slot` names what it is about, never its content."""
    return uuid.uuid5(capture_key, slot)


def _decode_leniently(body: bytes) -> HookPayload:
    fields = _parse_object(body)
    if not fields.get("hook_event_name"):
        raise PayloadError("no-event-name", "hook_event_name is missing")
    for name, kind in _ESSENTIAL.items():
        value = fields.get(name)
        if value is not None and not isinstance(value, kind):
            raise PayloadError("bad-field", f"{name} is not a {kind.__name__}")
    for name in _NOT_NULL:
        if fields.get(name) is None:
            fields.pop(name, None)
    return _without_bad_fields(fields)


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        value = _parse_any(body)
    except RecursionError as error:
        raise PayloadError("not-json", "nested too deeply") from error
    except ValueError as error:
        raise PayloadError("not-json", str(error)[:200]) from error
    if not isinstance(value, dict):
        raise PayloadError("not-an-object", f"a {type(value).__name__}")
    return value


def _parse_any(body: bytes) -> Any:
    text = body.strip(_WHITESPACE).decode("utf-8", "replace")
    value = json.loads(
        text,
        strict=False,
        parse_constant=lambda _: None,
        parse_float=_finite,
        parse_int=lambda digits: int(digits) if len(digits) <= _MAX_INT_DIGITS else _finite(digits),
    )
    # Only an escape can have made a lone surrogate: the bytes were decoded with replacement.
    return _valid_unicode(value) if "\\u" in text else value


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _valid_unicode(value: Any) -> Any:
    text = json.dumps(value, ensure_ascii=False)
    clean = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value if clean == text else json.loads(clean)


def _without_bad_fields(fields: dict[str, Any]) -> HookPayload:
    known = {name: fields[name] for name in HookPayload.__struct_fields__ if name in fields}
    try:
        return msgspec.convert(known, HookPayload)
    except msgspec.ValidationError:
        kept = {name: value for name, value in known.items() if _fits(name, value)}
        return msgspec.convert(kept, HookPayload)


def _fits(name: str, value: Any) -> bool:
    if name in _ESSENTIAL:
        return True
    try:
        msgspec.convert({"hook_event_name": "x", name: value}, HookPayload)
    except msgspec.ValidationError:
        return False
    return True
