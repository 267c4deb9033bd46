from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import msgspec
import pytest

from pattern_tracker import ingest as ingest_module
from pattern_tracker import ingest_reading as reading_module
from pattern_tracker.events import Cause
from pattern_tracker.ingest import Ingest
from pattern_tracker.ingest_journal import IngestJournal
from pattern_tracker.ingest_reading import CHUNK_BYTES, CHUNK_FILES
from pattern_tracker.ledger import Ledger
from pattern_tracker.redact import default_redactor
from pattern_tracker.spool import MAX_FILE_BYTES, TORN_AFTER_SECONDS, Spool, TornFileWatch
from tests.core import event_states, make_state_dir, put, tally, write_payload
from tests.fake_clock import FakeClock

PAYLOADS = Path(__file__).parents[1] / "payloads"

CREATED = ["pattern_created"]
MODIFIED = ["pattern_created", "pattern_modified"]
BECOMES_EVENTS = {
    "PostToolUse-Edit": MODIFIED,
    "PostToolUse-Edit-create": CREATED,
    "PostToolUse-Edit-replaceall": MODIFIED,
    "PostToolUse-Edit-subagent": MODIFIED,
    "PostToolUse-NotebookEdit": MODIFIED,
    "PostToolUse-NotebookEdit-delete": MODIFIED,
    "PostToolUse-NotebookEdit-insert": MODIFIED,
    "PostToolUse-Write": CREATED,
    "PostToolUse-Write-relativepath": CREATED,
    "PostToolUse-Write-subagent": CREATED,
    "PostToolUse-Write-update": MODIFIED,
}
BEFORE_THE_FACT = {
    "PreToolUse-Edit",
    "PreToolUse-Edit-subagent",
    "PreToolUse-NotebookEdit",
    "PreToolUse-Write",
    "PreToolUse-Write-subagent",
}


class World:
    """A state directory, and passes that only take in."""

    def __init__(self, root):
        self.state_dir = make_state_dir(root)
        self.clock = FakeClock()
        self.torn = TornFileWatch(self.clock)
        self.redactor = default_redactor()

    def put(self, *args, **options):
        return put(self.state_dir, *args, **options)

    def take_in(self):
        with Ledger(self.state_dir.ledger) as ledger, Spool(self.state_dir.spool) as spool:
            ingest = Ingest(
                state_dir=self.state_dir,
                spool=spool,
                ledger=ledger,
                destination=ledger.destination("https://api.example"),
                redactor=self.redactor,
                torn=self.torn,
                clock=self.clock,
            )
            files = spool.scan()
            self.torn.keep_only(set(files))
            for chunk in ingest.chunks(files):
                ingest.take(chunk)
        return ingest.report

    def rows(self, query):
        connection = sqlite3.connect(self.state_dir.ledger)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def captures(self):
        return self.rows("SELECT state, cause FROM captures ORDER BY id")

    def bodies(self):
        rows = self.rows("SELECT body FROM events ORDER BY seq")
        return [msgspec.json.decode(body) for (body,) in rows]

    def event_ids(self):
        return [event_id.hex() for (event_id,) in self.rows("SELECT event_id FROM events")]

    def spooled(self):
        return sorted(path.name for path in self.state_dir.spool.iterdir())

    def quarantined(self):
        return [path.read_bytes() for path in self.state_dir.quarantine.iterdir()]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "state")


@pytest.mark.parametrize("recorded", sorted(PAYLOADS.glob("*.json")), ids=lambda path: path.stem)
def test_recorded_payload_has_its_state_cause_and_events(world, recorded):
    world.put(recorded.read_bytes())
    report = world.take_in()
    name = recorded.stem
    if name in BECOMES_EVENTS:
        expected = ("ingested", "")
    elif name in BEFORE_THE_FACT:
        expected = ("filtered", "before-the-fact")
    elif name == "PostToolUseFailure-Edit":
        expected = ("filtered", "tool-failed")
    else:
        expected = ("filtered", "not-a-file-change")
    assert world.captures() == [expected]
    assert [event_type for event_type, _ in event_states(world.state_dir)] == BECOMES_EVENTS.get(
        name, []
    )
    assert (report.captures, report.events) == (1, len(BECOMES_EVENTS.get(name, [])))
    assert world.spooled() == []
    tally(world.state_dir)


def test_same_payload_twice_is_one_capture(world):
    payload = write_payload("x = 1\n")
    for _ in range(2):
        world.put(payload)
        world.put(payload)
        world.take_in()
    assert tally(world.state_dir) == {("captures", "ingested"): 1, ("events", "waiting"): 1}
    assert world.spooled() == []


def test_hook_registered_by_plugin_and_settings_counts_once(world):
    payload = json.loads((PAYLOADS / "PostToolUse-Edit.json").read_bytes())
    world.put(payload)
    world.put(payload | {"duration_ms": 99})
    report = world.take_in()
    assert (report.captures, report.events) == (1, 2)


def test_events_without_an_id_of_their_own_are_told_apart_by_their_files(world):
    stop = (PAYLOADS / "Stop.json").read_bytes()
    world.put(stop)
    world.put(stop)
    assert world.take_in().captures == 2


def test_earlier_content_is_created_once(world):
    world.put(write_payload("b\n", before="a\n"), mtime=1)
    world.put(write_payload("c\n", before="b\n"), mtime=2)
    world.take_in()
    world.put(write_payload("d\n", before="a\n"), mtime=3)
    world.take_in()
    assert [event_type for event_type, _ in event_states(world.state_dir)] == [
        "pattern_created",
        "pattern_modified",
        "pattern_modified",
        "pattern_modified",
    ]


def test_return_to_earlier_code_is_one_more_modification(world):
    for n, (before, after) in enumerate([("a\n", "b\n"), ("b\n", "a\n"), ("a\n", "b\n")]):
        world.put(write_payload(after, before=before), mtime=n + 1)
    world.take_in()
    bodies = world.bodies()
    assert [body["pattern_version"] for body in bodies] == ["1.0.0", "1.0.1", "1.0.2", "1.0.3"]
    a, b = bodies[0]["pattern_id"], bodies[1]["pattern_id"]
    assert [(body["pattern_id"], body.get("parent_pattern_ids")) for body in bodies[1:]] == [
        (b, [a]),
        (a, [b]),
        (b, [a]),
    ]


def test_known_code_in_another_file_is_applied(world):
    world.put(write_payload("a = 1\n"), mtime=1)
    world.put(write_payload("a = 1\n", path="/home/user/project/b.py"), mtime=2)
    world.take_in()
    assert event_states(world.state_dir) == [
        ("pattern_created", "waiting"),
        ("pattern_applied", "waiting"),
    ]


@pytest.mark.parametrize(
    ("after", "before", "rule"),
    [("a\n", "a\n", "unchanged"), (" \n", None, "empty"), ("a\0b", None, "binary")],
)
def test_change_that_is_none_is_filtered_by_its_rule(world, after, before, rule):
    world.put(write_payload(after, before=before))
    world.take_in()
    assert world.captures() == [("filtered", rule)]
    assert world.spooled() == []


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"[1]", "not-an-object"),
        (b"{}", "no-event-name"),
        (b'{"hook_event_name": "Stop", "session_id": 7}', "bad-field"),
    ],
)
def test_payload_that_cannot_be_used_is_quarantined_at_once(world, content, cause):
    world.put(content)
    world.take_in()
    assert world.captures() == [("quarantined", cause)]
    assert world.quarantined() == [content]
    assert world.spooled() == []


@pytest.mark.parametrize("content", [b"", b'{"hook_event_name":', b"\0" * 10, b"garbage"])
def test_torn_file_is_given_time_and_then_quarantined(world, content):
    world.put(content)
    for _ in range(2):
        assert world.take_in().captures == 0
        assert len(world.spooled()) == 1
        world.clock.advance(TORN_AFTER_SECONDS / 2)
    world.take_in()
    assert world.captures() == [("quarantined", Cause.TORN)]
    assert world.quarantined() == [content]


def test_file_that_becomes_whole_is_ingested(world):
    raw = json.dumps(write_payload("x = 1\n")).encode()
    path = world.put(raw[:50])
    world.take_in()
    path.write_bytes(raw)
    assert world.take_in().events == 1


def test_file_too_large_is_quarantined_unread(world, monkeypatch):
    path = world.put(b"{}")
    with path.open("r+b") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    monkeypatch.setattr(Spool, "read", lambda *_: pytest.fail("it was read"))
    world.take_in()
    assert world.captures() == [("quarantined", Cause.TOO_LARGE)]


def test_unreadable_file_is_quarantined_and_reported(world, monkeypatch):
    world.put(b"{}", name="bad.json")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Spool, "read", refuse)
    report = world.take_in()
    assert world.captures() == [("quarantined", Cause.UNREADABLE)]
    assert "bad.json" in report.problems[0]


def test_file_with_a_name_that_is_no_text_wedges_nothing(world):
    for content in (
        json.dumps(write_payload("x = 1\n")).encode(),
        b"[]",
        b'{"hook_event_name":"X"}',
    ):
        world.put(content)
        (path,) = world.state_dir.spool.iterdir()
        path.rename(path.with_name("\udcff.json"))
        world.take_in()
        assert world.spooled() == []
    assert world.captures() == [
        ("ingested", ""),
        ("quarantined", "not-an-object"),
        ("filtered", "not-a-file-change"),
    ]


def test_fault_in_extraction_costs_that_file_only(world, monkeypatch):
    real = reading_module.extract

    def faulty(payload, *, redact):
        if payload.tool_use_id == "toolu_bad":
            raise ZeroDivisionError
        return real(payload, redact=redact)

    monkeypatch.setattr(reading_module, "extract", faulty)
    world.put(write_payload("a = 1\n"))
    world.put(write_payload("b = 1\n", tool_use_id="toolu_bad"), name="bad.json")
    world.put(write_payload("c = 1\n"))
    report = world.take_in()
    assert sorted(world.captures()) == [
        ("ingested", ""),
        ("ingested", ""),
        ("quarantined", Cause.CRASHED_PARSER),
    ]
    assert report.problems[0].startswith("bad.json is quarantined as ")
    assert report.problems[0].endswith("ZeroDivisionError while extracting")


def test_fault_in_entering_costs_that_file_only_and_nothing_is_counted_twice(world, monkeypatch):
    real = ingest_module.plan_events

    def faulty(change, *, version_of):
        if change.slot_path == "/bad.py":
            raise ZeroDivisionError
        return real(change, version_of=version_of)

    monkeypatch.setattr(ingest_module, "plan_events", faulty)
    world.put(write_payload("a = 1\n"), mtime=1)
    world.put(write_payload("b = 1\n", path="/bad.py"), mtime=2)
    world.put(write_payload("c = 1\n"), mtime=3)
    report = world.take_in()
    assert (report.captures, report.events, report.quarantined) == (3, 2, 1)
    assert tally(world.state_dir) == {
        ("captures", "ingested"): 2,
        ("captures", "quarantined"): 1,
        ("events", "waiting"): 2,
    }
    assert world.spooled() == []


def test_crash_between_commit_and_unlink_repeats_nothing(world, monkeypatch):
    world.put(write_payload("a = 1\n"))
    world.put(b"[]")
    with monkeypatch.context() as crash:
        crash.setattr(Spool, "remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        crash.setattr(Spool, "move_to", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            world.take_in()
    before = tally(world.state_dir)
    assert len(world.spooled()) == 2
    assert world.take_in().captures == 0
    assert tally(world.state_dir) == before
    assert world.spooled() == []
    assert world.quarantined() == [b"[]"]


def test_failed_commit_keeps_the_files(world, monkeypatch):
    world.put(write_payload("a = 1\n"))

    def fail(*_, **__):
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as disk:
        disk.setattr("pattern_tracker.ledger.events.Events.enter", fail)
        with pytest.raises(sqlite3.OperationalError):
            world.take_in()
    assert tally(world.state_dir) == {}
    assert world.take_in().events == 1


def test_file_that_takes_the_process_down_is_found_and_the_others_get_through(world, monkeypatch):
    real = reading_module.decode

    def deadly(raw):
        if b"deadly" in raw:
            raise SystemExit(139)  # what a segmentation fault leaves behind: the journal
        return real(raw)

    monkeypatch.setattr(reading_module, "decode", deadly)
    names = {n: f"{n}.json" for n in range(5)}
    for n, name in names.items():
        content = "deadly\n" if n == 2 else f"x = {n}\n"
        world.put(write_payload(content), name=name, mtime=n + 1)
    deaths = 0
    while world.spooled() and deaths < 10:
        try:
            world.take_in()
        except SystemExit:
            deaths += 1
    assert deaths == 3  # in the chunk, and twice alone
    assert tally(world.state_dir)["captures", "ingested"] == 4
    assert ("quarantined", Cause.CRASHED_PARSER) in world.captures()
    assert not world.state_dir.ingest_journal.exists()


def test_chunks_are_bounded_and_suspects_come_alone(world):
    IngestJournal(world.state_dir.ingest_journal).begin(["0001.json", "0002.json"])
    for n in range(CHUNK_FILES + 10):
        world.put(b"{}", name=f"{n:04}.json", mtime=n + 1)
    with world.put(b"", name="9999.json").open("wb") as file:
        file.truncate(CHUNK_BYTES)
    with Ledger(world.state_dir.ledger) as ledger, Spool(world.state_dir.spool) as spool:
        ingest = Ingest(
            state_dir=world.state_dir,
            spool=spool,
            ledger=ledger,
            destination=1,
            redactor=world.redactor,
            torn=world.torn,
            clock=world.clock,
        )
        chunks = [[file.name for file in chunk] for chunk in ingest.chunks(spool.scan())]
    assert chunks[:3] == [["0000.json"], ["0001.json"], ["0002.json"]]
    assert [len(chunk) for chunk in chunks[3:]] == [CHUNK_FILES, 7, 1]


def test_event_ids_do_not_depend_on_redaction(tmp_path):
    payload = write_payload("key = 'AKIAIOSFODNN7EXAMPLE'\n", before="key = ''\n")
    first, second = World(tmp_path / "a"), World(tmp_path / "b")

    class KeepsEverything:
        def redact_text(self, text):
            return type("Clean", (), {"text": text, "kinds": ()})

    second.redactor = KeepsEverything()
    for world in (first, second):
        world.put(payload)
        world.take_in()
    assert first.event_ids() == second.event_ids()
    assert "AKIAIOSFODNN7EXAMPLE" not in json.dumps(first.bodies())
    assert "AKIAIOSFODNN7EXAMPLE" in json.dumps(second.bodies())


def test_redactions_are_told_with_the_event(world):
    world.put(write_payload("key = 'AKIAIOSFODNN7EXAMPLE'\n"))
    world.take_in()
    (body,) = world.bodies()
    assert sum(body["pattern_data"]["redactions"].values()) == 1


def test_turned_away_payloads_come_into_the_book(world):
    with world.state_dir.turned_away.open("ab") as file:
        file.write(b"...")
    with Ledger(world.state_dir.ledger) as ledger, Spool(world.state_dir.spool) as spool:
        ingest = Ingest(
            state_dir=world.state_dir,
            spool=spool,
            ledger=ledger,
            destination=1,
            redactor=world.redactor,
            torn=world.torn,
            clock=world.clock,
        )
        ingest.count_turned_away()
        ingest.count_turned_away()
    assert ingest.report.turned_away == 3
    assert tally(world.state_dir) == {("captures", "dropped"): 3}


def test_edit_whose_earlier_content_is_unknown_says_so(world):
    payload = write_payload("b = 2\n")
    payload["tool_response"] = {"type": "update", "content": "b = 2\n", "originalFile": None}
    world.put(payload)
    world.take_in()
    (event,) = world.bodies()
    assert event["event_type"] == "pattern_created"
    assert event["pattern_data"]["parent_known"] is False
