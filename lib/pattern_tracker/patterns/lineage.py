"""From a change to the events that it is worth, given what the destination knows.

- Nothing was there before: the pattern was *created*, or *applied* where the
  destination knows this very pattern already (a copy, or code that came back).
- Something was there before: it was *modified*.  A parent that the destination
  has never heard of is sent first, as created, so that it is never unknown.

Lineage may return to where it was (A, then B, then A again): that is one more
modification, with a version above both its parent's and its own last one, because
the server keeps one node per (pattern, version) and would ignore the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pattern_tracker.events import EventType
from pattern_tracker.patterns.version import FIRST_VERSION, next_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from pattern_tracker.patterns.extract import Change, Pattern


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedEvent:
    """What happened to one pattern.

    `slot` is what its event id is made of besides the capture's key: the file and
    which side of the change it is, never content.
    """

    slot: str
    event_type: EventType
    pattern: Pattern
    version: str
    parents: tuple[str, ...] = ()


def plan_events(
    change: Change, *, version_of: Callable[[str], str | None]
) -> tuple[PlannedEvent, ...]:
    """The events of a change, parents first.

    `version_of` tells the newest version that the destination knows (or is owed)
    of a pattern id, None where it knows none.
    """
    if change.before is None:
        return (_without_parent(change, version_of(change.after.pattern_id)),)
    before_version = version_of(change.before.pattern_id)
    modified = PlannedEvent(
        slot=f"{change.slot_path}#after",
        event_type=EventType.MODIFIED,
        pattern=change.after,
        version=next_version(before_version, version_of(change.after.pattern_id)),
        parents=(change.before.pattern_id,),
    )
    if before_version is not None:
        return (modified,)
    created = PlannedEvent(
        slot=f"{change.slot_path}#before",
        event_type=EventType.CREATED,
        pattern=change.before,
        version=FIRST_VERSION,
    )
    return (created, modified)


def _without_parent(change: Change, known_version: str | None) -> PlannedEvent:
    return PlannedEvent(
        slot=f"{change.slot_path}#after",
        event_type=EventType.CREATED if known_version is None else EventType.APPLIED,
        pattern=change.after,
        version=known_version or FIRST_VERSION,
    )
