from __future__ import annotations

import random

import msgspec
import pytest

from pattern_tracker.client.answers import NOT_NAMED, Answer, AnswerKind, EventAnswer, Verdict
from pattern_tracker.client.health import HealthAnswer
from pattern_tracker.delivery import Delivery, config_fingerprint
from pattern_tracker.events import EventType
from pattern_tracker.exchange import Exchange
from pattern_tracker.ledger import Ledger
from pattern_tracker.resilience.breaker_state import Mode
from pattern_tracker.resilience.gate_state import GatePolicy, decode_gate
from tests.core import make_settings, make_state_dir, tally
from tests.fake_clock import FakeClock
from tests.intelligence_double import REJECTED, IntelligenceDouble, outage
from tests.ledger_rows import NOW_MS, URL, enter, new_event, state_of

UNKNOWN = EventAnswer(Verdict.UNKNOWN, "StrangeError: ?")


class World:
    """A ledger, an API and a clock; `deliver` is what a pass does with them."""

    def __init__(self, root):
        self.state_dir = make_state_dir(root)
        self.ledger = Ledger(self.state_dir.ledger)
        self.clock = FakeClock(NOW_MS / 1000)
        self.api = IntelligenceDouble()
        self.exchange = Exchange(self.api)
        self.fingerprint = "config"
        self.rng = random.Random(7)

    def enter(self, *events):
        made = [new_event(event) if isinstance(event, str) else event for event in events]
        return enter(self.ledger, *made, now=int(self.clock.now() * 1000))

    async def deliver(self, *, forced=False, health=False):
        delivery = Delivery(
            ledger=self.ledger,
            destination=self.ledger.destination(URL),
            client=self.api,
            exchange=self.exchange,
            policy=GatePolicy(),
            fingerprint=self.fingerprint,
            clock=self.clock,
            rng=self.rng,
        )
        if health:
            await delivery.check_health()
        batches = 0
        while await delivery.deliver_batch(forced=forced and not delivery.report.requests):
            batches += 1
            assert batches < 1000, "it storms"
        return delivery.report

    async def deliver_for(self, seconds, *, step=30.0):
        for _ in range(int(seconds / step)):
            await self.deliver()
            self.clock.advance(step)

    @property
    def gate(self):
        return decode_gate(self.ledger.load_gate(1) or b"{}")

    def states(self):
        return {state: n for (book, state), n in tally(self.state_dir).items() if book == "events"}

    def column(self, name, seq):
        return self.ledger.connection.execute(
            f"SELECT {name} FROM events WHERE seq = ?", (seq,)
        ).fetchone()[0]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "state")
    yield made
    made.ledger.connection.close()


async def test_nothing_waiting_asks_nothing(world):
    world.ledger.destination(URL)
    report = await world.deliver()
    assert (report.requests, report.reason, report.next_try_at) == (0, "", None)


async def test_events_are_delivered_in_order_and_their_bodies_go(world):
    world.enter(*(f"p{n}" for n in range(250)))
    report = await world.deliver()
    assert report.delivered == 250
    assert [len(request) for request in world.api.requests] == [100, 100, 50]
    assert [body["pattern_id"] for body in world.api.stored.values()] == [
        f"p{n}" for n in range(250)
    ]
    assert world.ledger.undelivered_bytes() == 0
    assert world.states() == {"delivered": 250}


async def test_outage_keeps_everything_and_opens_the_breaker(world):
    world.enter(*"abc")
    world.api.trouble = outage()
    for _ in range(3):
        report = await world.deliver()
        assert report.reason == "connection refused"
    assert world.gate.breaker.mode is Mode.OPEN
    asked = len(world.api.requests)
    report = await world.deliver()
    assert len(world.api.requests) == asked
    assert report.next_try_at == world.gate.breaker.retry_at
    assert world.states() == {"waiting": 3}


async def test_after_an_outage_requests_grow_step_by_step(world):
    world.enter(*(f"p{n}" for n in range(300)))
    world.api.trouble = outage()
    for _ in range(3):
        await world.deliver()
    world.api.trouble = None
    world.clock.advance(120)
    world.api.requests.clear()
    report = await world.deliver()
    assert report.delivered == 300
    assert [len(request) for request in world.api.requests][:7] == [1, 2, 4, 8, 16, 32, 64]


async def test_lost_answer_repeats_the_events_and_stores_them_once(world):
    world.enter(*"ab")
    world.api.trouble, world.api.loses_answers = outage("answer cut off"), True
    await world.deliver()
    assert world.states() == {"waiting": 2}
    world.api.trouble = None
    await world.deliver()
    assert world.states() == {"delivered": 2}
    assert len(world.api.stored) == 2


@pytest.mark.parametrize("words", [REJECTED, UNKNOWN, EventAnswer(Verdict.OUTAGE, "OSError")])
async def test_server_that_refuses_everything_for_a_day_quarantines_nothing(world, words):
    names = [f"p{n}" for n in range(20)]
    world.enter(*names)
    world.api.answers = dict.fromkeys(names, words)
    await world.deliver_for(86_400, step=60)
    assert world.states() == {"waiting": 20}
    world.api.answers = {}
    await world.deliver_for(3 * 3600, step=60)
    assert world.states() == {"delivered": 20}


async def test_refusal_is_poison_when_another_is_accepted_in_the_same_batch(world):
    _, bad, _ = world.enter(*"abc")
    world.api.refuses_whole = True
    world.api.answers["b"] = REJECTED
    report = await world.deliver()
    assert (report.delivered, report.quarantined, report.reason) == (2, 1, "")
    assert state_of(world.ledger, bad) == ("quarantined", "rejected")
    assert world.column("answer", bad) == "the request was refused (HTTP 422)"
    assert world.column("body", bad) is not None


async def test_refusal_is_poison_when_another_is_accepted_since(world):
    (bad,) = world.enter("bad")
    world.api.answers["bad"] = REJECTED
    await world.deliver()
    assert state_of(world.ledger, bad) == ("waiting", "")
    world.enter("good")
    await world.deliver()
    world.clock.advance(60)
    await world.deliver()
    assert state_of(world.ledger, bad) == ("quarantined", "rejected")


async def test_clock_that_goes_back_keeps_no_event_waiting(world):
    world.clock.jump(10 * 365 * 86_400)
    (seq,) = world.enter("a")
    world.api.answers["a"] = REJECTED
    await world.deliver()
    world.clock.jump(-10 * 365 * 86_400)
    world.api.answers = {}
    await world.deliver()
    assert state_of(world.ledger, seq) == ("delivered", "")


@pytest.mark.parametrize("jump", [86_400, -86_400])
async def test_clock_that_jumps_makes_no_event_look_guilty(world, jump):
    world.enter("good")
    await world.deliver()
    world.clock.jump(jump)
    (bad,) = world.enter("bad")
    world.api.answers["bad"] = REJECTED
    await world.deliver_for(7200, step=60)
    assert state_of(world.ledger, bad) == ("waiting", "")


async def test_unknown_answer_is_tried_five_times_over_an_hour(world):
    (odd,) = world.enter("odd")
    world.api.answers["odd"] = UNKNOWN
    began, tries = world.clock.now(), 0
    while state_of(world.ledger, odd)[0] == "waiting":
        world.enter(f"good{tries}-{world.clock.now()}")
        before = sum("odd" in request for request in world.api.requests)
        await world.deliver()
        tries += sum("odd" in request for request in world.api.requests) - before
        world.clock.advance(60)
    assert state_of(world.ledger, odd) == ("quarantined", "unknown-answer")
    assert tries == 5
    assert world.clock.now() - began >= 3600


async def test_event_that_is_not_named_is_not_delivered(world):
    _, silent = world.enter("a", "silent")
    world.api.answers["silent"] = EventAnswer(Verdict.OUTAGE, NOT_NAMED)
    report = await world.deliver()
    assert report.delivered == 1
    assert state_of(world.ledger, silent) == ("waiting", "")
    assert world.column("attempts", silent) == 1


async def test_conflict_is_tried_again(world):
    world.enter("a", "b")
    world.api.answers["a"] = EventAnswer(Verdict.CONFLICT, "unique_violation")
    await world.deliver()
    world.api.answers = {}
    await world.deliver()
    assert world.states() == {"delivered": 2}


def child(name, *parents):
    return new_event(name, event_type=EventType.MODIFIED, parents=parents)


async def test_missing_parent_that_still_waits_is_waited_for(world):
    world.api.wants_parents = True
    parent, waits = world.enter("parent", child("child", "parent"))
    with world.ledger.transaction():
        world.ledger.events.put_off(parent, not_before=NOW_MS + 60_000, answer="")
    report = await world.deliver()
    assert report.reason == ""
    assert world.column("not_before", waits) >= NOW_MS + 60_000
    assert world.column("attempts", waits) == 0
    world.clock.advance(65)
    await world.deliver()
    assert world.states() == {"delivered": 2}
    assert [body["event_type"] for body in world.api.stored.values()] == [
        "pattern_created",
        "pattern_modified",
    ]


async def test_missing_parent_that_ended_elsewhere_makes_an_orphan(world):
    world.api.wants_parents = True
    world.enter(child("child", "gone"))
    await world.deliver()
    (body,) = world.api.stored.values()
    assert body["event_type"] == "pattern_created"
    assert body["pattern_data"]["orphan_of"] == ["gone"]
    assert body["event_id"] == str(child("child", "gone").event_id)
    assert world.states() == {"delivered": 1}


async def test_applied_pattern_that_the_server_forgot_is_created(world):
    world.api.wants_parents = True
    world.enter(new_event("p", event_type=EventType.APPLIED))
    await world.deliver()
    assert world.states() == {"delivered": 1}


async def test_child_of_a_quarantined_parent_is_sent_as_an_orphan(world):
    world.api.wants_parents = True
    world.api.answers["bad"] = REJECTED
    world.enter("good", "bad", child("child", "bad"))
    await world.deliver()
    assert world.states() == {"delivered": 2, "quarantined": 1}


async def test_creation_answered_with_missing_parent_neither_storms_nor_blocks(world):
    nonsense = EventAnswer(Verdict.MISSING_PARENT, "pattern not found")
    (odd,) = world.enter("odd")
    world.api.answers["odd"] = nonsense
    report = await world.deliver()
    assert report.requests == 1
    world.enter("good")
    await world.deliver_for(600)
    assert world.states() == {"delivered": 1, "waiting": 1}
    assert world.column("attempts", odd) >= 1


@pytest.mark.parametrize("singly", [False, True])
async def test_event_that_breaks_the_server_does_not_stay_before_good_ones(world, singly):
    world.api.has_batch_endpoint = not singly
    world.api.breaks = {"p0", "p1", "p7"}
    world.enter(*(f"p{n}" for n in range(20)))
    await world.deliver_for(4 * 3600, step=60)
    assert world.states() == {"delivered": 17, "waiting": 3}
    world.enter("late")
    await world.deliver_for(3600, step=60)
    assert world.states() == {"delivered": 18, "waiting": 3}
    world.api.breaks = set()
    await world.deliver_for(3600, step=60)
    assert world.states() == {"delivered": 21}


async def test_first_in_line_answered_strangely_does_not_block_the_probe_of_others(world):
    world.enter("odd", *(f"p{n}" for n in range(5)))
    world.api.trouble = outage()
    for _ in range(3):
        await world.deliver()
    world.api.trouble = None
    world.api.answers["odd"] = UNKNOWN
    await world.deliver_for(1800, step=60)
    assert world.states() == {"delivered": 5, "waiting": 1}


async def test_refused_without_proof_stands_behind_the_others_in_the_next_pass(world):
    world.enter(*(f"p{n}" for n in range(20)))
    world.api.refuses_whole = True
    world.api.answers = dict.fromkeys(["p0", "p1", "p2"], REJECTED)
    assert (await world.deliver()).delivered == 0
    assert (await world.deliver()).delivered == 17
    world.clock.advance(60)
    await world.deliver()
    assert world.states() == {"delivered": 17, "quarantined": 3}


async def test_server_that_refuses_all_is_not_stormed(world):
    names = [f"p{n}" for n in range(100)]
    world.enter(*names)
    world.api.refuses_whole = True
    world.api.answers = dict.fromkeys(names, REJECTED)
    report = await world.deliver()
    assert report.requests <= 12
    assert world.gate.breaker.consecutive_failures == 1


async def test_429_holds_and_counts_neither_failure_nor_attempt(world):
    (seq,) = world.enter("a")
    world.api.trouble = Answer(kind=AnswerKind.HOLD, reason="too many requests", retry_after=120.0)
    await world.deliver()
    assert world.gate.hold.until >= world.clock.now() + 120
    assert world.gate.breaker.consecutive_failures == 0
    assert world.column("attempts", seq) == 0
    world.api.trouble = None
    report = await world.deliver(forced=True)  # the server named the time
    assert (report.requests, report.next_try_at) == (0, world.gate.hold.until)
    world.clock.advance(140)
    assert (await world.deliver()).delivered == 1


async def test_retry_after_beside_good_answers_is_obeyed(world):
    world.enter(*(f"p{n}" for n in range(150)))
    world.api.retry_after = 60.0
    report = await world.deliver()
    assert (report.delivered, report.requests) == (100, 1)
    assert (await world.deliver()).requests == 0


@pytest.mark.parametrize("kind", [AnswerKind.DENIED, AnswerKind.NO_ENDPOINT], ids=str)
async def test_pause_tries_one_event_every_ten_minutes_or_with_new_configuration(world, kind):
    world.enter(*"abc")
    world.api.trouble = Answer(kind=kind, reason="no")
    await world.deliver()
    assert "pattern-tracker config" in world.gate.pause.remedy
    assert world.gate.breaker.consecutive_failures == 0
    world.api.requests.clear()
    await world.deliver()
    assert world.api.requests == []
    world.clock.advance(600)
    await world.deliver()
    assert {len(request) for request in world.api.requests} == {1}
    world.api.requests.clear()
    world.api.trouble = None
    world.fingerprint = "repaired"
    await world.deliver()
    assert len(world.api.requests[0]) == 1
    assert world.states() == {"delivered": 3}
    assert world.gate.pause is None


async def test_pause_is_not_prolonged_by_a_look_when_nothing_is_due(world):
    (seq,) = world.enter("a")
    world.api.trouble = Answer(kind=AnswerKind.DENIED, reason="no")
    await world.deliver()
    next_try_at = world.gate.pause.next_try_at
    world.clock.advance(600)
    later = int(world.clock.now() * 1000) + 30_000
    with world.ledger.transaction():
        world.ledger.events.put_off(seq, not_before=later, answer="")
    report = await world.deliver()
    assert report.next_try_at == later / 1000
    assert world.gate.pause.next_try_at == next_try_at


async def test_forced_goes_through_an_open_breaker_with_one_event(world):
    world.enter(*"abc")
    world.api.trouble = outage()
    for _ in range(3):
        await world.deliver()
    world.api.requests.clear()
    await world.deliver(forced=True)
    assert [len(request) for request in world.api.requests] == [1]
    world.api.trouble = None
    assert (await world.deliver(forced=True)).delivered == 3


async def test_gate_and_events_are_one_commit(world, monkeypatch):
    world.enter("a")

    def fail(*_, **__):
        raise RuntimeError

    with monkeypatch.context() as crash:
        crash.setattr("pattern_tracker.delivery.gates.after_success", fail)
        with pytest.raises(RuntimeError):
            await world.deliver()
    assert world.states() == {"waiting": 1}
    assert world.gate.breaker.outcomes == ()
    await world.deliver()
    assert world.states() == {"delivered": 1}
    assert world.gate.breaker.outcomes == (True,)


async def test_gate_is_stored_before_a_probe_is_sent(world):
    world.enter("a")
    world.api.trouble = outage()
    for _ in range(3):
        await world.deliver()
    world.clock.advance(120)

    async def die(_batch):
        raise KeyboardInterrupt

    world.exchange.send = die
    with pytest.raises(KeyboardInterrupt):
        await world.deliver()
    assert world.gate.breaker.mode is Mode.HALF_OPEN
    assert len(world.gate.breaker.probes) == 1


async def test_health_is_asked_when_due_and_opens_the_way_early(world):
    world.enter("a")
    world.api.trouble = outage()
    world.api.health = HealthAnswer(healthy=False, reason="down")
    for _ in range(3):
        await world.deliver(health=True)
    assert world.api.health_checks == 1
    world.api.trouble = None
    world.api.health = HealthAnswer(healthy=True, latency_ms=2.0)
    world.clock.advance(45)
    assert world.gate.breaker.mode is Mode.OPEN
    assert (await world.deliver(health=True)).delivered == 1


async def test_events_of_another_destination_stay(world):
    enter(world.ledger, new_event("theirs"), url="https://other.example")
    world.enter("ours")
    await world.deliver()
    assert world.states() == {"delivered": 1, "waiting": 1}
    assert world.api.requests == [["ours"]]


async def test_batches_keep_to_a_megabyte(world):
    world.enter(*(new_event(f"p{n}", code="x" * 200_000) for n in range(10)))
    report = await world.deliver()
    assert (report.delivered, report.requests) == (10, 3)


def test_fingerprint_changes_with_what_a_pause_is_about_and_hides_the_token(tmp_path):
    state_dir = make_state_dir(tmp_path / "s")
    settings = [
        make_settings(state_dir, "https://a.example", api_token="secret-token-1"),
        make_settings(state_dir, "https://a.example", api_token="secret-token-2"),
        make_settings(state_dir, "https://b.example", api_token="secret-token-1"),
    ]
    prints = {config_fingerprint(each) for each in settings}
    assert len(prints) == 3
    assert all(len(fingerprint) == 8 for fingerprint in prints)


async def test_damaged_gate_is_replaced_and_delivery_goes_on(world):
    world.enter("a")
    with world.ledger.transaction():
        world.ledger.save_gate(1, b'{"breaker": 7')
    assert (await world.deliver()).delivered == 1
    assert msgspec.json.decode(world.ledger.load_gate(1))["ramp_events"] == 2
