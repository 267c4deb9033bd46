from __future__ import annotations

import pytest

from pattern_tracker.ingest_journal import IngestJournal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ingesting"


def crash_while_parsing(path, *names):
    """What is left behind by a process that died in the middle of `names`."""
    IngestJournal(path).begin(names)


def test_journal_of_a_process_that_ended_well_is_gone(path):
    journal = IngestJournal(path)
    journal.begin(["a", "b"])
    journal.finish(["a", "b"])
    assert not path.exists()


def test_crash_in_a_chunk_makes_suspects_and_convicts_none(path):
    for _ in range(5):
        crash_while_parsing(path, "a", "b")
    journal = IngestJournal(path)
    assert journal.is_suspect("a")
    assert journal.is_suspect("b")
    assert not journal.is_convicted("a")
    assert not journal.is_convicted("b")
    assert not journal.is_suspect("c")


def test_second_crash_alone_convicts_that_file_and_no_other(path):
    crash_while_parsing(path, "a", "b")
    crash_while_parsing(path, "a")
    assert not IngestJournal(path).is_convicted("a")
    crash_while_parsing(path, "a")
    journal = IngestJournal(path)
    assert journal.is_convicted("a")
    assert journal.is_suspect("b")
    assert not journal.is_convicted("b")


def test_suspect_that_parses_is_cleared_and_the_others_are_not(path):
    crash_while_parsing(path, "a", "b")
    journal = IngestJournal(path)
    journal.begin(["a"])
    journal.finish(["a"])
    again = IngestJournal(path)
    assert not again.is_suspect("a")
    assert again.is_suspect("b")


@pytest.mark.parametrize("content", [b"", b'{"parsing":["a"', b"\0" * 50, b"[1]", b"\xff\xfe"])
def test_torn_journal_accuses_nobody(path, content):
    path.write_bytes(content)
    assert not IngestJournal(path).is_suspect("a")
    crash_while_parsing(path, "a")
    assert IngestJournal(path).is_suspect("a")
