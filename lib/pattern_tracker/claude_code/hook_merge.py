"""Our hooks into Claude Code's settings and out of them again; values in, values out.

Everybody else's hooks and all other keys keep their place and order.  Ours are
recognised wherever an earlier installation had put the scripts, replaced where
they stand, and never doubled, so that merging twice changes nothing.  A container
that only held our hooks goes with them.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pattern_tracker.claude_code.registration import is_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pattern_tracker.claude_code.registration import HookEntry

ClaudeSettings = dict[str, Any]


class ShapeError(ValueError):
    """A container that must be walked is not the list or object that it has to be."""


def merge(settings: ClaudeSettings, entries: Sequence[HookEntry]) -> ClaudeSettings:
    """`settings` with exactly `entries` as the hooks of ours.

    Raises:
        ShapeError: what should hold hooks is something else.
    """
    missing = list(entries)

    def wanted_at(event: str, matcher: str | None) -> dict[str, Any] | None:
        for entry in missing:
            if (entry.event, entry.matcher) == (event, matcher):
                missing.remove(entry)
                return entry.as_hook()
        return None

    merged = _rewrite(settings, wanted_at)
    for entry in missing:
        groups = merged.setdefault("hooks", {}).setdefault(entry.event, [])
        if not isinstance(groups, list):
            raise ShapeError(f"hooks.{entry.event}: must be a list")
        groups.append(entry.as_group())
    return merged


def remove(settings: ClaudeSettings) -> ClaudeSettings:
    """`settings` without any hook of ours.

    Raises:
        ShapeError: what should hold hooks is something else.
    """
    return _rewrite(settings, lambda _event, _matcher: None)


def _rewrite(
    settings: ClaudeSettings, replacement: Callable[[str, str | None], dict[str, Any] | None]
) -> ClaudeSettings:
    """Each hook of ours replaced, or dropped where `replacement` knows none for its place."""
    result = copy.deepcopy(settings)
    events = _events(result)
    for event in list(events):
        groups = _groups(events[event])
        emptied = [
            index
            for index, group in enumerate(groups)
            if _rewrite_group(group, event, replacement) and not group["hooks"]
        ]
        for index in reversed(emptied):
            del groups[index]
        if emptied and not groups:
            del events[event]
    if not events and settings.get("hooks"):
        del result["hooks"]
    return result


def _rewrite_group(
    group: dict[str, Any],
    event: str,
    replacement: Callable[[str, str | None], dict[str, Any] | None],
) -> bool:
    """Rewrite one matcher group; whether it held a hook of ours."""
    hooks = _hooks(group)
    if not any(is_ours(hook) for hook in hooks):
        return False
    kept = []
    for hook in hooks:
        new = replacement(event, group.get("matcher")) if is_ours(hook) else hook
        if new is not None:
            kept.append(new)
    group["hooks"] = kept
    return True


def _events(settings: ClaudeSettings) -> dict[str, Any]:
    events = settings.get("hooks", {})
    if not isinstance(events, dict):
        raise ShapeError("hooks: must be an object with one list for each event")
    return events


def _groups(groups: object) -> list[Any]:
    """The groups of an event; none where it is not a list, which `hook_rules` judges."""
    return groups if isinstance(groups, list) else []


def _hooks(group: object) -> list[Any]:
    hooks = group.get("hooks") if isinstance(group, dict) else None
    return hooks if isinstance(hooks, list) else []
