from __future__ import annotations

import random

import pytest

from pattern_tracker.client.answers import NOT_NAMED, EventAnswer, Verdict
from pattern_tracker.events import Cause, EventType
from pattern_tracker.ledger.events import WaitingEvent
from pattern_tracker.settlement import (
    CONFLICT_TRIES,
    AwaitParent,
    Delivered,
    Quarantine,
    Suspect,
    TryAgain,
    settle,
)
from tests.ledger_rows import new_event


def settled(verdict, *, proven, attempts=0, detail="said", event_type=EventType.MODIFIED):
    made = new_event("p", event_type=event_type, parents=("a",))
    event = WaitingEvent(
        seq=1,
        event_id=made.event_id,
        event_type=event_type,
        pattern_id="p",
        parents=("a",),
        attempts=attempts,
        suspect_at=None,
        body=made.body,
    )
    answer = EventAnswer(verdict, detail)
    return settle(event, answer, proven=proven, rng=random.Random(1))


@pytest.mark.parametrize("proven", [True, False])
def test_stored_is_delivered_whatever_else_happened(proven):
    assert settled(Verdict.STORED, proven=proven) == Delivered()


@pytest.mark.parametrize("proven", [True, False])
def test_missing_parent_is_waited_for(proven):
    assert settled(Verdict.MISSING_PARENT, proven=proven) == AwaitParent()


def test_creation_that_misses_a_parent_is_an_answer_nobody_can_read():
    created = EventType.CREATED
    assert settled(Verdict.MISSING_PARENT, proven=False, event_type=created) == Suspect()
    tried = settled(Verdict.MISSING_PARENT, proven=True, event_type=created)
    assert isinstance(tried, TryAgain)


def test_rejected_is_poison_only_where_others_were_accepted():
    assert settled(Verdict.REJECTED, proven=True) == Quarantine(cause=Cause.REJECTED)
    behind = settled(Verdict.REJECTED, proven=False)
    assert isinstance(behind, TryAgain)
    assert behind.delay_seconds > 0


def test_conflict_is_tried_again_at_once_a_few_times():
    for attempts in range(CONFLICT_TRIES):
        again = settled(Verdict.CONFLICT, proven=False, attempts=attempts)
        assert again == TryAgain(delay_seconds=0.0)
    assert settled(Verdict.CONFLICT, proven=False, attempts=CONFLICT_TRIES) == Suspect()


@pytest.mark.parametrize(
    ("verdict", "detail"), [(Verdict.UNKNOWN, "?"), (Verdict.OUTAGE, NOT_NAMED)]
)
def test_answer_nobody_can_read_is_tried_five_times_over_an_hour(verdict, detail):
    assert settled(verdict, proven=False, attempts=99, detail=detail) == Suspect()
    waits = []
    for attempts in range(4):
        again = settled(verdict, proven=True, attempts=attempts, detail=detail)
        assert isinstance(again, TryAgain)
        waits.append(again.delay_seconds)
    assert sum(waits) >= 3600
    given_up = settled(verdict, proven=True, attempts=4, detail=detail)
    assert given_up == Quarantine(cause=Cause.UNKNOWN_ANSWER)


@pytest.mark.parametrize("attempts", [0, 4, 5, 1000])
def test_outage_never_quarantines(attempts):
    assert settled(Verdict.OUTAGE, proven=False, attempts=attempts) == Suspect()
    again = settled(Verdict.OUTAGE, proven=True, attempts=attempts)
    assert isinstance(again, TryAgain)
    assert 0 < again.delay_seconds <= 900
