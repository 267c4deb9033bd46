from __future__ import annotations

import pytest

from pattern_tracker.client.answers import Answer, AnswerKind, EventAnswer, Verdict
from pattern_tracker.exchange import REFUSALS_TO_STOP, Exchange
from pattern_tracker.ledger.events import WaitingEvent
from tests.intelligence_double import REJECTED, IntelligenceDouble, outage
from tests.ledger_rows import new_event

NAMES = "abcdefgh"


@pytest.fixture
def api():
    return IntelligenceDouble()


def waiting(names=NAMES):
    made = [(name, new_event(name)) for name in names]
    return [
        WaitingEvent(
            seq=seq,
            event_id=event.event_id,
            event_type=event.event_type,
            pattern_id=name,
            parents=(),
            attempts=0,
            suspect_at=None,
            body=event.body,
        )
        for seq, (name, event) in enumerate(made)
    ]


async def exchange(api, names=NAMES):
    return await Exchange(api).send(waiting(names))


def told(outcome):
    return {event.pattern_id: answer.verdict for event, answer in outcome.answers}


async def test_good_batch_takes_one_request(api):
    outcome = await exchange(api)
    assert (outcome.accepted, outcome.requests, outcome.obstacle) == (8, 1, None)


async def test_refused_batch_is_cut_until_the_bad_one_stands_alone_in_order(api):
    api.refuses_whole = True
    api.answers["c"] = REJECTED
    outcome = await exchange(api)
    assert told(outcome) == {n: Verdict.REJECTED if n == "c" else Verdict.STORED for n in NAMES}
    assert "".join(event.pattern_id for event, _ in outcome.answers) == NAMES
    assert outcome.requests == 7
    assert [body["pattern_id"] for body in api.stored.values()] == list("abdefgh")


async def test_where_nothing_is_accepted_a_few_lone_refusals_end_it(api):
    api.refuses_whole = True
    api.answers = dict.fromkeys(NAMES, REJECTED)
    outcome = await exchange(api)
    assert told(outcome) == dict.fromkeys("abc", Verdict.REJECTED)
    assert REFUSALS_TO_STOP == 3


async def test_server_that_takes_no_more_from_some_point_on_is_not_asked_about_everything(api):
    api.refuses_whole = True
    api.answers = dict.fromkeys("bcdefgh", REJECTED)
    outcome = await exchange(api)
    assert list(told(outcome)) == list("abcd")
    assert outcome.accepted == 1


@pytest.mark.parametrize(
    ("bad", "proven"),
    [
        ("b", "b"),
        ("bh", "bh"),
        ("fgh", ""),  # nothing was taken after e: the server may have broken
        ("bfgh", "b"),
    ],
)
async def test_refusals_at_the_end_are_proven_only_while_they_are_few(api, bad, proven):
    api.refuses_whole = True
    api.answers = dict.fromkeys(bad, REJECTED)
    outcome = await exchange(api)
    refused = [event for event, answer in outcome.answers if answer.verdict is Verdict.REJECTED]
    assert "".join(event.pattern_id for event in refused) == bad
    assert "".join(event.pattern_id for event in refused if outcome.proves(event)) == proven


async def test_without_a_batch_endpoint_events_go_one_by_one(api):
    api.has_batch_endpoint = False
    talk = Exchange(api)
    assert (await talk.send(waiting())).accepted == 8
    assert api.requests[1:] == [[name] for name in NAMES]
    assert (await talk.send(waiting("xy"))).requests == 2  # it remembers


async def test_one_by_one_a_few_lone_refusals_end_it_as_well(api):
    api.has_batch_endpoint = False
    api.answers = dict.fromkeys(NAMES, REJECTED)
    assert list(told(await exchange(api))) == ["a", "b", "c"]


async def test_without_any_endpoint_it_ends_and_both_are_tried_the_next_time(api):
    api.has_batch_endpoint = api.has_single_endpoint = False
    talk = Exchange(api)
    outcome = await talk.send(waiting())
    assert outcome.obstacle.kind is AnswerKind.NO_ENDPOINT
    assert (outcome.requests, outcome.answers) == (2, [])
    api.has_batch_endpoint = True
    assert (await talk.send(waiting())).requests == 1


@pytest.mark.parametrize("kind", [AnswerKind.FAILURE, AnswerKind.HOLD, AnswerKind.DENIED], ids=str)
async def test_obstacle_ends_it(api, kind):
    api.trouble = Answer(kind=kind, reason="why", retry_after=7.0)
    outcome = await exchange(api)
    assert (outcome.obstacle, outcome.requests, outcome.answers) == (api.trouble, 1, [])
    assert outcome.alone is None


async def test_obstacle_in_the_middle_keeps_the_answers_there_were(api):
    api.has_batch_endpoint = False
    api.breaks = {"c"}
    outcome = await exchange(api)
    assert told(outcome) == {"a": Verdict.STORED, "b": Verdict.STORED}
    assert outcome.obstacle.kind is AnswerKind.FAILURE
    assert outcome.alone.pattern_id == "c"


async def test_server_that_asks_to_wait_is_not_asked_on(api):
    api.has_batch_endpoint = False
    api.retry_after = 30.0
    outcome = await exchange(api)
    assert list(told(outcome)) == ["a"]
    assert outcome.retry_after == 30.0


async def test_answers_of_one_batch_may_differ(api):
    api.answers = {"b": REJECTED, "c": EventAnswer(Verdict.UNKNOWN, "?")}
    assert told(await exchange(api, "abc")) == {
        "a": Verdict.STORED,
        "b": Verdict.REJECTED,
        "c": Verdict.UNKNOWN,
    }


async def test_lost_answer_is_an_obstacle_though_the_server_has_the_events(api):
    api.trouble, api.loses_answers = outage("answer cut off"), True
    outcome = await exchange(api)
    assert outcome.accepted == 0
    assert len(api.stored) == 8
