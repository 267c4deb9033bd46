from __future__ import annotations

import pytest

from pattern_tracker.events import EventType
from pattern_tracker.patterns.extract import Change, Pattern
from pattern_tracker.patterns.lineage import plan_events


def pattern(pattern_id):
    return Pattern(
        pattern_id=pattern_id,
        name="a.py",
        language="python",
        code=pattern_id,
        fingerprint_only=False,
        sha256="0" * 64,
        size=1,
    )


def plan(before, after, known=None):
    change = Change(
        path="[redacted]/a.py",
        slot_path="/secret/a.py",
        before=pattern(before) if before else None,
        before_known=True,
        after=pattern(after),
    )
    return plan_events(change, version_of=(known or {}).get)


def told(events):
    return [(e.event_type, e.pattern.pattern_id, e.version, e.parents) for e in events]


def test_new_pattern_is_created():
    assert told(plan(None, "a")) == [(EventType.CREATED, "a", "1.0.0", ())]


def test_known_pattern_in_a_new_place_is_applied_in_its_version():
    assert told(plan(None, "a", {"a": "1.0.4"})) == [(EventType.APPLIED, "a", "1.0.4", ())]


def test_unknown_parent_is_created_before_its_child():
    assert told(plan("a", "b")) == [
        (EventType.CREATED, "a", "1.0.0", ()),
        (EventType.MODIFIED, "b", "1.0.1", ("a",)),
    ]


def test_known_parent_is_not_sent_again():
    assert told(plan("a", "b", {"a": "1.0.3"})) == [(EventType.MODIFIED, "b", "1.0.4", ("a",))]


@pytest.mark.parametrize(
    ("parent", "own", "expected"), [("1.0.1", "1.0.0", "1.0.2"), ("1.0.1", "1.0.7", "1.0.8")]
)
def test_return_to_earlier_code_gets_a_version_above_both(parent, own, expected):
    (event,) = plan("b", "a", {"b": parent, "a": own})
    assert (event.event_type, event.version) == (EventType.MODIFIED, expected)


def test_slots_tell_file_and_side_and_nothing_of_the_content():
    slots = {event.slot for event in (*plan("a", "b"), *plan("c", "d"), *plan(None, "e"))}
    assert slots == {"/secret/a.py#before", "/secret/a.py#after"}
