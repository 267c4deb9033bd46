"""From the real Claude Code to the intelligence API: exactly the events that a session is worth."""

from __future__ import annotations

import shlex
import socket
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.e2e.claude_session import run_claude
from tests.e2e.everyday_events import EVERYDAY_CAPTURES, Expected, events_book, everyday_events
from tests.e2e.everyday_session import (
    PROMPT,
    everyday_script,
    lay_out_project,
    play_everyday,
    told,
)
from tests.e2e.installed_tracker import (
    InstalledTracker,
    copy_hook_scripts,
    installed_tracker,
    run_command,
)
from tests.e2e.scripted_model import call, say
from tests.e2e.stored_events import read_stored
from tests.e2e.transcripts import hook_remarks, subagent_ids
from tests.intelligence_process import served, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.claude_session import Result
    from tests.e2e.scripted_model import Turn

    Told = list[tuple[str, bool, str]]

pytestmark = pytest.mark.must_run_in_ci

TOKEN = "a-token-of-the-test"
EVENTS = 9


@pytest.fixture(scope="module")
def undisturbed(claude: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the model is told in the everyday session where no hook is registered."""
    home, project = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("project")
    return told(play_everyday(home, project, settings={}), project)


@pytest.fixture
def tracker(home: Path, tmp_path: Path) -> Iterator[InstalledTracker]:
    with installed_tracker(tmp_path / "the user's data") as tracker:
        yield tracker


def assert_unnoticed(result: Result, home: Path, project: Path, undisturbed: Told) -> None:
    """Claude Code did, and the model was told, what they do and are told without hooks."""
    assert (result.returncode, result.stderr) == (0, "")
    assert result.played_out
    assert told(result, project) == undisturbed
    assert hook_remarks(home) == []


def assert_everyday_is_stored(
    tracker: InstalledTracker,
    result: Result,
    home: Path,
    project: Path,
    *,
    database: Path | None = None,
) -> None:
    """All events of the session are at the API, nothing else is, and the ledger agrees."""
    (agent_id,) = subagent_ids(home)
    expected = everyday_events(project, session_id=result.session_id, agent_id=agent_id)
    stored = read_stored(database or tracker.state_dir.intelligence_database)
    assert stored.events == expected
    assert stored.nodes == {(event.pattern_id, event.version) for event in expected}
    assert stored.edges == {
        (parent, event.pattern_id, "modified_from")
        for event in expected
        for parent in event.parents
    }
    assert tracker.stats()["events"] == events_book(delivered=EVENTS)
    assert stored.event_ids == tracker.event_ids(state="delivered")


def test_everyday_session_beside_a_daemon_arrives_exactly(
    tracker: InstalledTracker, home: Path, project: Path, undisturbed: Told
) -> None:
    with tracker.daemon():
        result = play_everyday(home, project, tracker.hook_settings())
        tracker.wait_until_settled()
    assert_unnoticed(result, home, project, undisturbed)
    assert_everyday_is_stored(tracker, result, home, project)
    assert tracker.stats()["captures"] == EVERYDAY_CAPTURES


def test_everyday_session_while_the_api_is_down_is_kept_and_arrives_once_it_is_up(
    tracker: InstalledTracker,
    home: Path,
    project: Path,
    tmp_path: Path,
    undisturbed: Told,
) -> None:
    database = tmp_path / "team.sqlite3"
    with reserved_port() as nobody, ExitStack() as stack:
        port = nobody.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        tracker.configure({"service.url": url, "service.token": TOKEN})
        tracker.configure({"breaker.timeout": 0.5, "health.interval": 0.5})
        stack.enter_context(tracker.daemon())
        result = play_everyday(home, project, tracker.hook_settings())
        tracker.wait_until_settled(waiting=EVENTS)
        wait_until(lambda: tracker.stats()["health"]["healthy"] is False, what="a failed check")
        down = tracker.stats()
        nobody.close()
        address = ("--host", "127.0.0.1", "--port", str(port))
        stack.enter_context(served(*address, "--database", database, INTELLIGENCE_API_TOKEN=TOKEN))
        tracker.wait_until_settled()
    assert_unnoticed(result, home, project, undisturbed)
    assert down["captures"] == EVERYDAY_CAPTURES
    assert down["events"] == events_book(waiting=EVENTS)
    assert_everyday_is_stored(tracker, result, home, project, database=database)
    assert tracker.stats()["captures"] == EVERYDAY_CAPTURES


def test_everyday_session_without_a_daemon_is_delivered_by_sync(
    tracker: InstalledTracker, home: Path, project: Path, undisturbed: Told
) -> None:
    result = play_everyday(home, project, tracker.hook_settings())
    assert_unnoticed(result, home, project, undisturbed)
    assert not tracker.state_dir.ledger.exists()
    synced = run_command("pattern-tracker", "sync")
    assert (synced.returncode, synced.stderr) == (0, "")
    assert synced.stdout == f"18 captures taken in, {EVENTS} events delivered\n"
    assert_everyday_is_stored(tracker, result, home, project)
    assert tracker.stats()["captures"] == EVERYDAY_CAPTURES


def test_everyday_session_is_kept_by_a_sync_that_finds_the_embedded_api_unable_to_start(
    tracker: InstalledTracker, home: Path, project: Path
) -> None:
    in_the_way = tracker.state_dir.intelligence_database
    in_the_way.mkdir()
    result = play_everyday(home, project, tracker.hook_settings())
    in_vain = run_command("pattern-tracker", "sync")
    assert in_vain.returncode == 1
    assert str(in_the_way) in in_vain.stderr
    assert tracker.stats()["captures"]["total"] == EVERYDAY_CAPTURES["total"]
    in_the_way.rmdir()
    assert run_command("pattern-tracker", "sync").returncode == 0
    assert_everyday_is_stored(tracker, result, home, project)
    assert tracker.stats()["captures"] == EVERYDAY_CAPTURES


def test_scripts_deleted_in_mid_session_cost_nothing_that_was_captured_before(
    tracker: InstalledTracker, home: Path, project: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    without_hooks = run_claude(
        PROMPT,
        turns=deleting_script(elsewhere, tmp_path / "not there"),
        home=home,
        project=elsewhere,
        settings={},
    )
    turns = deleting_script(project, tracker.hooks)
    settings = tracker.hook_settings()
    with tracker.daemon():
        result = run_claude(PROMPT, turns=turns, home=home, project=project, settings=settings)
        tracker.wait_until_settled()
    assert not tracker.hooks.exists()
    assert_unnoticed(result, home, project, told(without_hooks, elsewhere))
    assert (project / "unseen.py").read_text(encoding="utf-8") == "b = 2\n"
    expected = Expected(project=project, session_id=result.session_id)
    stored = read_stored(tracker.state_dir.intelligence_database)
    assert stored.events == [expected.created("Write", "kept.py", "a = 1\n")]
    assert tracker.stats()["captures"] == EVERYDAY_CAPTURES | {
        "total": 3,
        "ingested": 1,
        "filtered": 2,
        "causes": {"filtered": {"before-the-fact": 1, "not-a-file-change": 1}},
    }
    assert tracker.stats()["events"] == events_book(delivered=1)


def deleting_script(project: Path, hooks: Path) -> list[Turn]:
    """A Write before and a Write after `hooks` is removed."""
    return [
        call("Write", file_path=str(project / "kept.py"), content="a = 1\n"),
        call("Bash", command=f"rm -rf {shlex.quote(str(hooks))}", description="Tidy"),
        call("Write", file_path=str(project / "unseen.py"), content="b = 2\n"),
        say("Done."),
    ]


def test_session_start_launches_a_daemon_that_delivers_the_session(
    tracker: InstalledTracker, home: Path, project: Path, undisturbed: Told
) -> None:
    tracker.write_launcher()
    result = play_everyday(home, project, tracker.hook_settings())
    tracker.wait_until_settled()
    assert tracker.stats()["daemon"]["running"]
    assert_unnoticed(result, home, project, undisturbed)
    stopped = run_command("pattern-daemon", "stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert not tracker.stats()["daemon"]["running"]
    assert_everyday_is_stored(tracker, result, home, project)
    assert tracker.stats()["captures"] == EVERYDAY_CAPTURES


def test_hooks_registered_twice_double_no_tool_call_and_no_event(
    tracker: InstalledTracker,
    home: Path,
    project: Path,
    tmp_path: Path,
    undisturbed: Told,
) -> None:
    """Claude Code runs both where the scripts' paths differ, as those of a plugin's copy do."""
    second = replace(tracker, hooks=copy_hook_scripts(tmp_path / "plugin"))
    lay_out_project(project)
    result = run_claude(
        PROMPT,
        turns=everyday_script(project),
        home=home,
        project=project,
        settings=tracker.hook_settings(),
        project_settings=second.hook_settings(),
    )
    assert_unnoticed(result, home, project, undisturbed)
    assert tracker.stats()["captures"]["spooled"] == 2 * EVERYDAY_CAPTURES["total"]
    assert run_command("pattern-tracker", "sync").returncode == 0
    assert_everyday_is_stored(tracker, result, home, project)
    # The starts and ends of session, subagent and turn have no id to be known by: each payload
    # counts. They become no events.
    assert tracker.stats()["captures"] == EVERYDAY_CAPTURES | {
        "total": 22,
        "filtered": 16,
        "causes": {"filtered": {"before-the-fact": 6, "not-a-file-change": 10}},
    }


def reserved_port() -> socket.socket:
    """Holds a port of 127.0.0.1 where nobody listens; to be closed by whoever wants to."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved
