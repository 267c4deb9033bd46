from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from pattern_tracker.cli import main
from pattern_tracker.cli.output import print_json, print_line, print_rows
from pattern_tracker.drain import Drain
from pattern_tracker.events import Cause
from pattern_tracker.file_lock import FileLock
from pattern_tracker.ledger import Ledger
from tests.core import make_state_dir, put, write_payload
from tests.ledger_rows import NOW_MS, enter, new_event

# Clears a screen (ESC), starts a sequence by one byte (CSI), rings, deletes, turns text around.
HOSTILE = "\x1b[2J\x9b31m\a\x7f\u202e\nnext"
REFUSING = "http://127.0.0.1:9"


@pytest.fixture
def state_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("PATTERN_CACHE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("INTELLIGENCE_SERVICE_URL", REFUSING)
    return make_state_dir(tmp_path / "state")


# How a table is made bold, even without colours.
STYLE = re.compile(r"\x1b\[\d?m")


def harmless(text):
    text = STYLE.sub("", text)
    return all(character.isprintable() or character in "\n\t" for character in text)


def enter_hostile(state_dir):
    with Ledger(state_dir.ledger) as ledger:
        (seq,) = enter(ledger, new_event("a"), url=REFUSING)
        with ledger.transaction():
            ledger.events.quarantined(seq, cause=Cause.REJECTED, answer=HOSTILE, now=NOW_MS)
            ledger.connection.execute("UPDATE captures SET tool = ?", (HOSTILE,))
            ledger.connection.execute("INSERT INTO sessions VALUES (1, ?)", (HOSTILE,))
            ledger.connection.execute("UPDATE captures SET session = 1")


@contextmanager
def standard_output(monkeypatch, *, encoding="utf-8", terminal=False):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    stream.isatty = lambda: terminal
    with monkeypatch.context() as context:
        context.setattr(sys, "stdout", stream)
        yield lambda: (stream.flush(), raw.getvalue().decode(encoding))[1]


def test_stats_are_lines_where_there_is_no_terminal(state_dir, capsys):
    put(state_dir, write_payload("x = 1\n"))
    assert main(["stats"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "captures\t1\ttotal" in lines
    assert "\t1\tspooled" in lines
    assert f"destination\t{REFUSING}\t" in lines
    assert not any("\x1b" in line or "─" in line for line in lines)


def test_stats_as_json_are_one_document(state_dir, capsys):
    assert main(["stats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == 1


def test_stats_of_a_damaged_ledger_fail_in_one_line(state_dir, capsys):
    state_dir.ledger.write_bytes(b"no database at all" * 300)
    assert main(["stats"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pattern-tracker: ")
    assert captured.err.count("\n") == 1


def test_events_are_listed_and_chosen_by_state(state_dir, capsys):
    with Ledger(state_dir.ledger) as ledger:
        enter(ledger, *map(new_event, "abc"))
    assert main(["events", "--limit", "2", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["schema"], line["pattern_id"]) for line in lines] == [(1, "c"), (1, "b")]
    assert main(["events", "--state", "delivered"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1e3", "9" * 30, "9" * 5000, "²"])
def test_limit_that_is_no_count_is_a_usage_error(state_dir, capsys, limit):
    with pytest.raises(SystemExit) as ended:
        main(["events", "--limit", limit])
    assert ended.value.code == 2
    assert "--limit" in capsys.readouterr().err


def test_no_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2


@pytest.mark.parametrize("arguments", [["events"], ["events", "--json"], ["stats"]])
@pytest.mark.parametrize("terminal", [False, True])
def test_what_was_recorded_never_reaches_a_terminal_as_control(
    state_dir, monkeypatch, arguments, terminal
):
    monkeypatch.setenv("NO_COLOR", "1")
    enter_hostile(state_dir)
    with standard_output(monkeypatch, terminal=terminal) as written:
        assert main(arguments) == 0
        text = written()
    assert harmless(text)


def test_json_tells_hostile_text_exactly(state_dir, capsys):
    enter_hostile(state_dir)
    main(["events", "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["tool"] == HOSTILE


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_any_encoding_of_the_terminal(monkeypatch, encoding):
    value = {"path": "/é/→/😀"}
    with standard_output(monkeypatch, encoding=encoding) as written:
        print_json(value)
        assert json.loads(written()) == value


def test_line_that_the_encoding_lacks_is_escaped(monkeypatch):
    with standard_output(monkeypatch, encoding="ascii") as written:
        print_line("→")
        assert written() == "\\u2192\n"


def test_table_is_plain_with_no_color(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    with standard_output(monkeypatch, terminal=True) as written:
        print_rows(["one", "two"], [["[red]a[/red]", "b"]])
        text = written()
    assert "[red]a[/red]" in text
    assert "\x1b[3" not in text


def test_sync_with_events_that_cannot_go_fails_and_says_why(state_dir, capsys):
    with Ledger(state_dir.ledger) as ledger:
        enter(ledger, new_event("a"), url=REFUSING, now=int(time.time() * 1000))
    assert main(["sync"]) == 1
    assert capsys.readouterr().out == (
        "0 captures taken in, 0 events delivered, 1 waiting (connection refused)\n"
    )


def test_sync_takes_in_though_the_api_is_down(state_dir, capsys):
    put(state_dir, write_payload("x = 1\n"))
    assert main(["sync"]) == 0
    assert capsys.readouterr().out.startswith("1 captures taken in, 0 events delivered, 1 waiting")


def test_sync_with_events_for_another_destination_only_succeeds(state_dir, capsys):
    with Ledger(state_dir.ledger) as ledger:
        now = int(time.time() * 1000)
        enter(ledger, new_event("a"), url="https://other.example", now=now)
    assert main(["sync"]) == 0
    assert capsys.readouterr().out == "0 captures taken in, 0 events delivered\n"


def test_sync_sets_a_damaged_ledger_aside_and_says_so(state_dir, capsys):
    state_dir.ledger.write_bytes(b"no database at all" * 300)
    put(state_dir, write_payload("x = 1\n"))
    assert main(["sync"]) == 0
    said = capsys.readouterr().out
    (kept,) = state_dir.root.glob("ledger.damaged-*.sqlite3")
    assert f"the ledger was damaged and is kept as {kept}\n" in said
    assert "1 captures taken in" in said


def test_sync_refuses_a_newer_ledger(state_dir, capsys):
    with Ledger(state_dir.ledger) as ledger:
        ledger.connection.execute("PRAGMA user_version = 99")
    assert main(["sync"]) == 1
    assert "Update this program" in capsys.readouterr().err


def test_sync_beside_another_pass_says_so(state_dir, capsys, monkeypatch):
    real = Drain.run_pass

    async def impatient(self, **options):
        return await real(self, **options, lock_wait_seconds=0.0)

    monkeypatch.setattr(Drain, "run_pass", impatient)
    with FileLock(state_dir.drain_lock) as lock:
        lock.try_acquire()
        assert main(["sync"]) == 1
    assert "another process holds drain.lock" in capsys.readouterr().err


COMMAND = [
    *(sys.executable, "-c"),
    "import sys; from pattern_tracker.cli import main; sys.exit(main())",
]


def run_real(*arguments):
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=50, check=False
    )


def test_real_process_prints_plain_lines_and_exits_with_its_status(state_dir):
    good = run_real("stats")
    assert (good.returncode, good.stderr) == (0, "")
    assert "\x1b" not in good.stdout
    state_dir.ledger.write_bytes(b"no database at all" * 300)
    assert run_real("stats").returncode == 1


@pytest.mark.parametrize("rows", [1, 400])
def test_real_process_ends_silently_when_nobody_reads(state_dir, rows):
    with Ledger(state_dir.ledger) as ledger:
        enter(ledger, *(new_event(f"p{n}") for n in range(rows)))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, "events", "--json", "--limit", "1000"],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=50,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_config_says_why_a_token_in_the_file_is_not_for_the_shells_url(
    private_home, monkeypatch, capsys
):
    config = private_home / ".config" / "pattern-tracker" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[service]\nurl = "https://a.example"\ntoken = "t"\n')
    config.chmod(0o600)
    monkeypatch.setenv("INTELLIGENCE_SERVICE_URL", "https://b.example")
    assert main(["config"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert any(
        line.startswith("INTELLIGENCE_SERVICE_URL: the daemon does not see") for line in said
    )
    assert any(line.startswith("service.token: the file's is for the file's") for line in said)
