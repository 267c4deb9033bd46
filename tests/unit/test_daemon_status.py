"""The status from files alone, and the command line around it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from pattern_daemon import cli, status_view
from pattern_daemon.identity import identity_of
from pattern_daemon.lock import DaemonLock
from pattern_daemon.record import ApiState, DaemonRecord, Problem, write_record
from pattern_daemon.status import STALLED_SECONDS, Condition, DaemonStatus, read_status
from pattern_tracker.errors import SettingsError
from pattern_tracker.ledger import Ledger
from pattern_tracker.resilience.gate_state import Gate
from pattern_tracker.resilience.hold import Pause
from pattern_tracker.settings import Settings
from pattern_tracker.state_dir import StateDir
from pattern_tracker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_750_000_000.0
URL = "http://127.0.0.1:9"


class Living:
    """A state directory with a daemon in it that says what the test wants."""

    def __init__(self, root: Path) -> None:
        self.state = StateDir(root=root)
        self.state.prepare()
        self.settings = Settings(state_dir=root, service_url=URL)

    def says(self, **fields: object) -> None:
        process = identity_of(os.getpid())
        record = {"process": process, "version": __version__, "since": NOW - 1000, "ready": True}
        write_record(self.state.daemon_record, DaemonRecord(**(record | fields)))

    def status(self) -> DaemonStatus:
        return read_status(self.state, lambda: self.settings, now=NOW)


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    made = Living(tmp_path / "s")
    lock = DaemonLock.take(made.state.daemon_lock)
    yield made
    lock.release()


def test_record_counts_only_while_the_lock_is_held(tmp_path: Path) -> None:
    dead = Living(tmp_path / "s")
    dead.says(problem=Problem(kind="k", reason="r", since=NOW))
    found = dead.status()
    assert (found.condition, found.pid, found.problems) == (Condition.STOPPED, None, [])


def test_ready_daemon_is_running_and_before_that_starting(living: Living) -> None:
    assert living.status().condition is Condition.STARTING
    living.says(ready=False)
    assert living.status().condition is Condition.STARTING
    living.says()
    found = living.status()
    assert (found.condition, found.pid, found.problems) == (Condition.RUNNING, os.getpid(), [])
    assert found.destination == URL


@pytest.mark.parametrize(
    "fields",
    [
        {"problem": Problem(kind="OSError", reason="no space", since=NOW)},
        {"api": ApiState(pid=None, restarts=3, reason="no space")},
    ],
)
def test_what_the_daemon_says_of_itself_degrades_it(living: Living, fields: dict) -> None:
    living.says(**fields)
    found = living.status()
    assert found.condition is Condition.DEGRADED
    assert "no space" in found.problems[0]


def test_unusable_settings_and_ledger_degrade_and_never_raise(living: Living) -> None:
    living.says()
    living.state.ledger.write_bytes(b"not a database" * 100)

    def unusable() -> Settings:
        raise SettingsError(key="cache.dir", value="x", source="y", problem="z")

    found = read_status(living.state, unusable, now=NOW)
    assert found.condition is Condition.DEGRADED
    assert len(found.problems) == 2
    assert found.gate is None


def waiting_event(living: Living) -> None:
    with Ledger(living.state.ledger) as ledger:
        destination = ledger.destination(URL)
        pause = Pause(
            since=NOW, next_try_at=NOW + 600, reason="401", remedy="do x", config_fingerprint="f"
        )
        with ledger.transaction():
            ledger.save_gate(destination, msgspec.json.encode(Gate(pause=pause)))
            ledger.connection.execute(
                "INSERT INTO captures (key, state, via, captured_at, entered_at)"
                " VALUES (x'01', 'ingested', 'hook', 0, 0)"
            )
            ledger.connection.execute(
                "INSERT INTO events (event_id, capture, destination, state, event_type,"
                f" pattern_id, entered_at) VALUES (x'02', 1, {destination}, 'waiting', 'x', 'p', 0)"
            )


def test_gate_that_does_not_send_degrades_only_while_events_wait(living: Living) -> None:
    living.says()
    waiting_event(living)
    found = living.status()
    assert found.condition is Condition.DEGRADED
    assert found.problems == ["not sending: 401 (do x)"]
    assert found.backlog.events == 1

    living.settings = Settings(state_dir=living.state.root)
    found = living.status()
    assert found.condition is Condition.RUNNING
    assert (found.backlog.events, found.backlog.events_for_others) == (0, 1)


def test_payloads_that_nobody_takes_degrade_unless_passes_go_on(living: Living) -> None:
    old = NOW - STALLED_SECONDS - 10
    path = living.state.spool / "a.json"
    path.touch()
    os.utime(path, (old, old))
    living.says(last_pass_at=old)
    assert living.status().condition is Condition.DEGRADED
    living.says(last_pass_at=NOW - 5)
    assert living.status().condition is Condition.RUNNING


def test_notes_do_not_degrade(living: Living) -> None:
    living.says(version="0.0.1", damaged_ledger="/x")
    living.state.disabled_flag.touch()
    living.state.full_flag.touch()
    found = living.status()
    assert found.condition is Condition.RUNNING
    assert len(found.notes) == 4


def test_lines_for_people_name_everything(living: Living) -> None:
    living.says(problem=Problem(kind="OSError", reason="no [space]", since=NOW))
    waiting_event(living)
    text = status_view.as_lines(living.status(), now=NOW)
    for part in ("degraded (pid", URL, "paused; 401; next try in 600 s; do x", "1 events", "log"):
        assert part in text
    assert "no [space]" in text


def test_table_says_the_same(living: Living, capsys: pytest.CaptureFixture[str]) -> None:
    living.says(problem=Problem(kind="OSError", reason="no [space]", since=NOW))
    status_view.print_table(living.status(), now=NOW)
    assert "no [space]" in capsys.readouterr().out


@pytest.mark.parametrize("before", [True, False])
def test_place_is_taken_before_or_after_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, before: bool
) -> None:
    place = ["--state-dir", str(tmp_path / "s"), "--config", str(tmp_path / "c.toml")]
    words = [*place, "status", "--json"] if before else ["status", *place, "--json"]
    assert cli.main(words) == 3
    assert json.loads(capsys.readouterr().out)["state_dir"] == str(tmp_path / "s")


def test_state_directory_comes_from_the_shell_where_a_person_types(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATTERN_CACHE_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("CIRCUIT_BREAKER_TIMEOUT", "nonsense")
    assert cli.main(["status", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["state_dir"] == str(tmp_path / "own")


def test_reason_cannot_steer_a_terminal(living: Living) -> None:
    status = msgspec.structs.replace(living.status(), problems=["not sending: \x1b[2J\x9b2J"])
    text = status_view.as_lines(status, now=NOW)
    assert "\\x1b[2J\\x9b2J" in text
    assert text.replace("\n", "").isprintable()


def test_unusable_setting_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATTERN_CACHE_DIR", "relative")
    assert cli.main(["status"]) == 1
    assert capsys.readouterr().err.startswith("pattern-daemon: PATTERN_CACHE_DIR = 'relative'")


def test_typing_nothing_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert ended.value.code == 2
