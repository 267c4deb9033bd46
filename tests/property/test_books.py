"""Both books against an independent model: whatever happens in whatever order, they add up.

Real spool, ingest, ledger, exchange, gate and delivery; the intelligence API is one in
memory that refuses, forgets and loses answers as it is told; the clock is a fake.
"""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pattern_tracker.client.answers import Answer, AnswerKind, EventAnswer, Verdict
from pattern_tracker.delivery import Delivery, DeliveryReport
from pattern_tracker.exchange import Exchange
from pattern_tracker.ingest import Ingest
from pattern_tracker.ledger import Ledger
from pattern_tracker.redact import default_redactor
from pattern_tracker.resilience.breaker_state import BreakerPolicy
from pattern_tracker.resilience.gate_state import GatePolicy
from pattern_tracker.spool import TORN_AFTER_SECONDS, Spool, TornFileWatch
from tests.core import make_state_dir, put, tally, write_payload
from tests.fake_clock import FakeClock
from tests.intelligence_double import REJECTED, IntelligenceDouble, outage

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from pattern_tracker.client.wire import SentEvent

URL = "https://api.example"
MAX_AGE_SECONDS = 7 * 86_400
POLICY = GatePolicy(breaker=BreakerPolicy(timeout_seconds=60), batch_max_events=8)

# Passes a minute apart after which a good event must have got through an API that has
# recovered: a pause of ten minutes, an open breaker of fifteen, and some poison on top.
PASSES_TO_GET_THROUGH = 60

reached: Counter[str] = Counter()
few = st.integers(0, 11)
UNKNOWN = EventAnswer(Verdict.UNKNOWN, "StrangeError: ?")
OUTAGE = EventAnswer(Verdict.OUTAGE, "OSError: ?")
MOODS: dict[str, Any] = {
    "refuses connections": outage(),
    "holds": Answer(kind=AnswerKind.HOLD, reason="429", retry_after=45.0),
    "denies": Answer(kind=AnswerKind.DENIED, reason="401"),
    "has no such endpoint": Answer(kind=AnswerKind.NO_ENDPOINT, reason="404"),
    "rejects everything": REJECTED,
    "is not understood": UNKNOWN,
    "fails at everything": OUTAGE,
}


class Killed(BaseException):
    """The process ends here."""


class Moody(IntelligenceDouble):
    """Poison is poison in every mood; remembers what its answers really said."""

    def __init__(self) -> None:
        super().__init__(wants_parents=True)
        self.mood: EventAnswer | None = None
        # Event ids that an answer, which was not lost, named as stored.
        self.named: set[str] = set()
        # Event id -> pass in which it was first not taken; passes in which one was taken.
        self.first_refused: dict[str, int] = {}
        self.accepting_passes: set[int] = set()
        self.passes = 0

    def _answer(self, bodies: Any, sent: Any, *, exists: bool) -> Answer:
        assert len({event.event_id for event in sent}) == len(sent)
        answer = super()._answer(bodies, sent, exists=exists)
        self._remember(answer, sent)
        return answer

    def _remember(self, answer: Answer, sent: list[SentEvent]) -> None:
        stored = [told.verdict is Verdict.STORED for told in answer.events] or [False] * len(sent)
        for event, is_stored in zip(sent, stored, strict=True):
            if is_stored:
                self.named.add(event.event_id)
                self.accepting_passes.add(self.passes)
            else:
                self.first_refused.setdefault(event.event_id, self.passes)

    def _take_one(self, event: dict[str, Any]) -> EventAnswer:
        if self.mood is not None:
            return self.mood
        if "poison" in event["pattern_data"].get("code", ""):
            return REJECTED
        return super()._take_one(event)


class Books(RuleBasedStateMachine):
    """Does what hooks, clocks, servers and killers do, and passes in between."""

    @initialize(seed=st.integers(0, 2**16))
    def start(self, seed: int) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="books-"))
        self.state_dir = make_state_dir(self.root / "state")
        self.clock = FakeClock()
        self.api = Moody()
        self.rng = random.Random(seed)
        self.start_process()
        self.numbers = itertools.count()
        # What the model knows: payload -> what it must become; contents the API is owed.
        self.captures: dict[str, str] = {}
        self.known: set[str] = set()
        self.expected_events = 0
        self.torn: set[Path] = set()
        self.turned_away = 0
        self.settled: dict[str, str] = {}
        self.quarantined_before = 0

    def teardown(self) -> None:
        if hasattr(self, "root"):
            shutil.rmtree(self.root)

    def start_process(self) -> None:
        self.torn_watch = TornFileWatch(self.clock)
        self.exchange = Exchange(self.api)

    # What comes in

    def capture(self, key: str, becomes: str, payload: dict[str, Any] | bytes) -> None:
        put(self.state_dir, payload, mtime=next(self.numbers) + 1)
        assert self.captures.setdefault(key, becomes) == becomes

    def write(self, content: str, before: str | None = None, *, tool_use_id: str) -> None:
        new = tool_use_id not in self.captures
        payload = write_payload(content, before=before, tool_use_id=tool_use_id)
        self.capture(tool_use_id, "ingested", payload)
        if not new:
            return
        self.expected_events += 1 if before is None else 1 + (before not in self.known)
        self.known |= {content} if before is None else {content, before}

    def next_id(self) -> str:
        return f"toolu_{next(self.numbers)}"

    @rule(n=few)
    def file_is_created(self, n: int) -> None:
        self.write(f"x = {n}\n", tool_use_id=self.next_id())

    @rule(n=few, m=few)
    def file_is_changed(self, n: int, m: int) -> None:
        if n != m:
            self.write(f"x = {m}\n", before=f"x = {n}\n", tool_use_id=self.next_id())

    @rule(n=st.integers(0, 2), m=few)
    def poison_is_written(self, n: int, m: int) -> None:
        self.write(f"poison = {n}\n", before=f"x = {m}\n", tool_use_id=self.next_id())

    @rule(n=st.integers(0, 3))
    def same_call_is_reported_again(self, n: int) -> None:
        self.write(f"y = {n}\n", tool_use_id=f"toolu_again_{n}")

    @rule()
    def nothing_was_changed(self) -> None:
        tool_use_id = self.next_id()
        payload = write_payload("z = 1\n", before="z = 1\n", tool_use_id=tool_use_id)
        self.capture(tool_use_id, "filtered", payload)

    @rule()
    def garbage_is_written(self) -> None:
        self.capture(self.next_id(), "quarantined", b"[]")

    @rule()
    def hook_is_killed_half_way(self) -> None:
        self.torn.add(put(self.state_dir, b'{"hook_event', mtime=next(self.numbers) + 1))

    @rule()
    def payload_is_turned_away(self) -> None:
        with self.state_dir.turned_away.open("ab") as file:
            file.write(b".")
        self.turned_away += 1

    # What happens meanwhile

    @rule(mood=st.sampled_from(sorted(MOODS)), loses=st.booleans())
    def api_gets_into_a_mood(self, mood: str, loses: bool) -> None:
        self.api_recovers()
        if isinstance(MOODS[mood], Answer):
            self.api.trouble = MOODS[mood]
            self.api.loses_answers = loses and mood == "refuses connections"
        else:
            self.api.mood = MOODS[mood]

    @rule(whole=st.booleans(), batches=st.booleans())
    def api_changes_its_ways(self, whole: bool, batches: bool) -> None:
        self.api.refuses_whole = whole
        self.api.has_batch_endpoint = batches

    @rule()
    def api_recovers(self) -> None:
        self.api.trouble = self.api.mood = None

    @rule()
    def api_forgets_everything(self) -> None:
        self.api.known.clear()

    @rule(seconds=st.sampled_from([1.0, 5.0, 60.0, 700.0, 4000.0, 86_400.0, 8 * 86_400.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(n=few)
    def api_stays_away_for_longer_than_events_are_kept(self, n: int) -> None:
        self.api_recovers()
        self.api.trouble = outage()
        self.write(f"x = {n}\n", tool_use_id=self.next_id())
        self.run_pass()
        self.clock.advance(MAX_AGE_SECONDS + 1)
        self.run_pass()

    @rule(seconds=st.sampled_from([-86_400.0, -3600.0, 3600.0, 86_400.0]))
    def clock_is_set(self, seconds: float) -> None:
        self.clock.jump(seconds)

    # Passes

    def run_pass(self, *, killed_while_unlinking: bool = False) -> DeliveryReport:
        self.api.passes += 1
        with Ledger(self.state_dir.ledger) as ledger, Spool(self.state_dir.spool) as spool:
            if killed_while_unlinking:
                spool.remove = spool.move_to = _die  # type: ignore[method-assign]
            destination = ledger.destination(URL)
            self.take_in(ledger, spool, destination)
            with ledger.transaction():
                now = self.clock.now()
                before = int((now - MAX_AGE_SECONDS) * 1000)
                ledger.events.expire(entered_before=before, now=int(now * 1000))
            return self.deliver(ledger, destination)

    def take_in(self, ledger: Ledger, spool: Spool, destination: int) -> None:
        ingest = Ingest(
            state_dir=self.state_dir,
            spool=spool,
            ledger=ledger,
            destination=destination,
            redactor=default_redactor(),
            torn=self.torn_watch,
            clock=self.clock,
        )
        ingest.count_turned_away()
        files = spool.scan()
        self.torn_watch.keep_only(set(files))
        for chunk in ingest.chunks(files):
            ingest.take(chunk)

    def deliver(self, ledger: Ledger, destination: int) -> DeliveryReport:
        delivery = Delivery(
            ledger=ledger,
            destination=destination,
            client=self.api,  # type: ignore[arg-type]
            exchange=self.exchange,
            policy=POLICY,
            fingerprint="same",
            clock=self.clock,
            rng=self.rng,
        )
        _run(delivery.check_health())
        for _ in range(500):
            if not _run(delivery.deliver_batch()):
                return delivery.report
        raise AssertionError("one pass goes on for ever")

    @rule(times=st.integers(1, 4))
    def passes_are_made(self, times: int) -> None:
        for _ in range(times):
            self.run_pass()
            self.clock.advance(1)
        self.spool_holds_only_torn_files()
        self.every_capture_is_where_it_belongs()

    @rule()
    def process_is_killed_before_unlinking(self) -> None:
        try:
            self.run_pass(killed_while_unlinking=True)
        except Killed:
            reached["killed"] += 1
        self.start_process()

    @rule()
    def process_is_killed_while_waiting_for_an_answer(self) -> None:
        trouble, self.api.trouble = self.api.trouble, None
        take, self.api._take = self.api._take, _die  # type: ignore[method-assign]
        try:
            self.run_pass()
        except Killed:
            reached["killed"] += 1
        self.api._take, self.api.trouble = take, trouble  # type: ignore[method-assign]
        self.start_process()

    @precondition(lambda self: self.torn)
    @rule()
    def torn_files_are_given_up(self) -> None:
        self.run_pass()
        self.clock.advance(TORN_AFTER_SECONDS)
        self.run_pass()
        for path in self.torn:
            assert not path.exists()
            self.captures[path.name] = "quarantined"
        self.torn.clear()

    @rule()
    def fresh_event_gets_through_once_the_api_recovers(self) -> None:
        self.api_recovers()
        fresh = f"fresh = {next(self.numbers)}\n"
        self.write(fresh, tool_use_id=self.next_id())
        for _ in range(PASSES_TO_GET_THROUGH):
            self.run_pass()
            stored = {event["pattern_data"].get("code") for event in self.api.stored.values()}
            if fresh in stored:
                reached["got through"] += 1
                return
            self.clock.advance(60)
        raise AssertionError(f"the fresh event is stuck: {self.rows('SELECT * FROM destinations')}")

    # What must hold

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        if not self.state_dir.ledger.exists():
            return []
        connection = sqlite3.connect(self.state_dir.ledger)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def spool_holds_only_torn_files(self) -> None:
        assert set(self.state_dir.spool.iterdir()) <= self.torn

    def every_capture_is_where_it_belongs(self) -> None:
        """No torn file counts twice, none is lost, and each is in the state it must be in."""
        sums = tally(self.state_dir)
        expected = Counter(self.captures.values())
        expected["quarantined"] += sum(not path.exists() for path in self.torn)
        expected["dropped"] += self.turned_away
        for state in ("ingested", "filtered", "quarantined", "dropped"):
            assert sums.get(("captures", state), 0) == expected[state], state
        in_events = sum(n for (book, _), n in sums.items() if book == "events")
        assert in_events == self.expected_events

    @invariant()
    def books_add_up_and_every_state_is_noted(self) -> None:
        for book, state in tally(self.state_dir):
            reached[f"{book} {state}"] += 1
        if any(self.state_dir.spool.iterdir()):
            reached["captures spooled"] += 1

    @invariant()
    def delivered_is_what_an_answer_named_and_nothing_else(self) -> None:
        states = {
            str(UUID(bytes=event_id)): state
            for event_id, state in self.rows("SELECT event_id, state FROM events")
        }
        delivered = {event_id for event_id, state in states.items() if state == "delivered"}
        assert delivered == self.api.named
        assert delivered <= set(self.api.stored)
        for event_id, state in self.settled.items():
            assert states[event_id] == state
        self.settled = {key: state for key, state in states.items() if state != "waiting"}

    @invariant()
    def only_proven_poison_is_quarantined(self) -> None:
        for (event_id,) in self.rows("SELECT event_id FROM events WHERE state = 'quarantined'"):
            refused_in = self.api.first_refused[str(UUID(bytes=event_id))]
            assert any(taken_in >= refused_in for taken_in in self.api.accepting_passes)

    @invariant()
    def only_the_old_expires(self) -> None:
        ages = self.rows("SELECT settled_at - entered_at FROM events WHERE state = 'expired'")
        assert all(age > MAX_AGE_SECONDS * 1000 for (age,) in ages)


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run what never really waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


def _die(*_: Any, **__: Any) -> Any:
    raise Killed


MUST_BE_REACHED = {
    *(f"captures {state}" for state in ("spooled", "ingested", "filtered", "quarantined")),
    "captures dropped",
    *(f"events {state}" for state in ("waiting", "delivered", "quarantined", "expired")),
    "killed",
    "got through",
}


def test_books_add_up_whatever_happens_and_every_state_is_reached() -> None:
    reached.clear()
    run_state_machine_as_test(
        Books,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    missed = {name for name in MUST_BE_REACHED if not reached[name]}
    assert not missed, f"the generator no longer reaches {sorted(missed)}"
