"""The rules under which Claude Code accepts the `hooks` of a settings file.

One entry that breaks them makes Claude Code ignore the whole file without a word
(permissions, environment, every hook), so they are checked before anything is
written.  Read from the schema in Claude Code 2.1.197.
Unknown fields and unknown event names are tolerated there, and here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVENTS: Final = frozenset({
    "PreToolUse", "PostToolUse", "PostToolUseFailure", "PostToolBatch", "Notification",
    "UserPromptSubmit", "UserPromptExpansion", "SessionStart", "SessionEnd", "Stop",
    "StopFailure", "SubagentStart", "SubagentStop", "PreCompact", "PostCompact",
    "PermissionRequest", "PermissionDenied", "Setup", "TeammateIdle", "TaskCreated",
    "TaskCompleted", "Elicitation", "ElicitationResult", "ConfigChange", "WorktreeCreate",
    "WorktreeRemove", "InstructionsLoaded", "CwdChanged", "FileChanged", "MessageDisplay",
})  # fmt: skip


class Problem(NamedTuple):
    """A broken rule: where (`hooks.Stop[0].hooks[1].timeout`) and what must be there."""

    place: str
    rule: str

    def __str__(self) -> str:
        return f"{self.place}: {self.rule}"


class _Rule(NamedTuple):
    accepts: Callable[[Any], bool]
    text: str


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_url(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path))


def _all_text(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


_TEXT: Final = _Rule(lambda v: isinstance(v, str), "must be text")
_SOME_TEXT: Final = _Rule(lambda v: isinstance(v, str) and v != "", "must be text, not empty")
_SWITCH: Final = _Rule(lambda v: isinstance(v, bool), "must be true or false")
_SECONDS: Final = _Rule(lambda v: _is_number(v) and v > 0, "must be a number of seconds above 0")
_URL: Final = _Rule(_is_url, "must be a URL")
_TEXTS: Final = _Rule(lambda v: isinstance(v, list) and _all_text(v), "must be a list of text")
_OBJECT: Final = _Rule(lambda v: isinstance(v, dict), "must be an object")
_TEXT_OBJECT: Final = _Rule(
    lambda v: isinstance(v, dict) and _all_text(v.values()), "must be an object of text values"
)
_SHELL: Final = _Rule(lambda v: v in ("bash", "powershell"), 'must be "bash" or "powershell"')

_ANY_TYPE: Final = {"if": _TEXT, "timeout": _SECONDS, "statusMessage": _TEXT, "once": _SWITCH}
# Per type of hook: what must be there, and what is checked where it is there.
_TYPES: Final[dict[str, tuple[dict[str, _Rule], dict[str, _Rule]]]] = {
    "command": (
        {"command": _TEXT},
        {
            "args": _TEXTS,
            "shell": _SHELL,
            "async": _SWITCH,
            "asyncRewake": _SWITCH,
            "rewakeMessage": _SOME_TEXT,
            "rewakeSummary": _SOME_TEXT,
        },
    ),
    "prompt": ({"prompt": _TEXT}, {"model": _TEXT, "continueOnBlock": _SWITCH}),
    "agent": ({"prompt": _TEXT}, {"model": _TEXT}),
    "mcp_tool": ({"server": _TEXT, "tool": _TEXT}, {"input": _OBJECT}),
    "http": ({"url": _URL}, {"headers": _TEXT_OBJECT, "allowedEnvVars": _TEXTS}),
}


def problems(settings: dict[str, Any]) -> list[Problem]:
    """Every rule that the hooks of a settings file break; empty if Claude Code accepts them."""
    if "hooks" not in settings:
        return []
    events = settings["hooks"]
    if not isinstance(events, dict):
        return [Problem("hooks", "must be an object with one list for each event")]
    return [
        problem
        for event, groups in events.items()
        if event in EVENTS
        for problem in _in_event(f"hooks.{event}", groups)
    ]


def _in_event(place: str, groups: Any) -> Iterator[Problem]:
    if not isinstance(groups, list):
        yield Problem(place, "must be a list")
        return
    for index, group in enumerate(groups):
        yield from _in_group(f"{place}[{index}]", group)


def _in_group(place: str, group: Any) -> Iterator[Problem]:
    if not isinstance(group, dict):
        yield Problem(place, "must be an object")
        return
    if "matcher" in group and not isinstance(group["matcher"], str):
        yield Problem(f"{place}.matcher", "must be text")
    hooks = group.get("hooks")
    if not isinstance(hooks, list):
        yield Problem(f"{place}.hooks", "must be a list")
        return
    for index, hook in enumerate(hooks):
        yield from _in_hook(f"{place}.hooks[{index}]", hook)


def _in_hook(place: str, hook: Any) -> Iterator[Problem]:
    if not isinstance(hook, dict):
        yield Problem(place, "must be an object")
        return
    kind = hook.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        yield Problem(f"{place}.type", f"must be one of {', '.join(_TYPES)}")
        return
    required, optional = _TYPES[kind]
    for name, rule in required.items():
        if name not in hook:
            yield Problem(f"{place}.{name}", "is missing")
        elif not rule.accepts(hook[name]):
            yield Problem(f"{place}.{name}", rule.text)
    for name, rule in (_ANY_TYPE | optional).items():
        if name in hook and not rule.accepts(hook[name]):
            yield Problem(f"{place}.{name}", rule.text)
