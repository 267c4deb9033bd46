"""Proves the harness: the real Claude Code does what a script says, and hooks see exactly that."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.claude_session import ClaudeTimedOutError, Result, hook_settings, run_claude
from tests.e2e.everyday_session import (
    CELL_AFTER,
    FILES_AFTER,
    RECORDED_PAYLOADS,
    cell_source,
    play_everyday,
    recorded,
    told,
)
from tests.e2e.process_family import assert_nothing_runs_in, processes_of
from tests.e2e.scripted_model import ScriptedModel, call, delegate, say, serving
from tests.hook_runner import poll

if TYPE_CHECKING:
    from tests.e2e.scripted_model import Turn


@dataclass(frozen=True, kw_only=True)
class Everyday:
    result: Result
    project: Path
    payloads: list[dict[str, Any]]


@pytest.fixture(scope="module")
def everyday(claude: Path, tmp_path_factory: pytest.TempPathFactory) -> Everyday:
    """The everyday session, run once, with hooks that append their input to one file."""
    home, project = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("project")
    log = home / "payloads.jsonl"
    result = play_everyday(home, project, hook_settings(f"cat >> '{log}'"))
    assert_nothing_runs_in(home)
    lines = log.read_text(encoding="utf-8").splitlines()
    return Everyday(result=result, project=project, payloads=[json.loads(line) for line in lines])


@pytest.mark.must_run_in_ci
class TestEverydaySession:
    def test_ends_well_and_follows_the_script(self, everyday: Everyday) -> None:
        assert everyday.result.returncode == 0, everyday.result.stderr
        assert everyday.result.stdout["result"] == "All done."
        assert everyday.result.stderr == ""
        assert everyday.result.played_out

    def test_hooks_get_exactly_the_recorded_payloads(self, everyday: Everyday) -> None:
        assert Counter(map(recorded, everyday.payloads)) == RECORDED_PAYLOADS

    def test_leaves_the_files_that_the_script_says(self, everyday: Everyday) -> None:
        found = {path.name: path for path in everyday.project.iterdir() if path.is_file()}
        assert cell_source(found.pop("study.ipynb")) == CELL_AFTER
        assert {
            name: path.read_text(encoding="utf-8") for name, path in found.items()
        } == FILES_AFTER

    def test_only_the_failing_command_is_an_error_to_the_model(self, everyday: Everyday) -> None:
        errors = [r.text for r in everyday.result.tool_results if r.is_error]
        assert errors == ["Exit code 3\nout\nbad"]

    def test_all_payloads_carry_the_session_and_only_the_subagents_its_agent(
        self, everyday: Everyday
    ) -> None:
        assert {p["session_id"] for p in everyday.payloads} == {everyday.result.session_id}
        of_agents = [recorded(p) for p in everyday.payloads if "agent_id" in p]
        assert of_agents == [
            ("PreToolUse", "Write", "report.py"),
            ("PostToolUse", "Write", "report.py"),
            ("SubagentStop", None, None),
        ]

    def test_tool_use_ids_are_claudes_own_and_pair_pre_with_post(self, everyday: Everyday) -> None:
        ids = Counter(p["tool_use_id"] for p in everyday.payloads if "tool_use_id" in p)
        assert all(re.fullmatch(r"toolu_01[0-9a-f]{22}", one) for one in ids)
        assert sorted(ids.values()) == [1] * 2 + [2] * 6  # Bash is recorded after the fact only


@pytest.mark.must_run_in_ci
@pytest.mark.parametrize(
    "hook",
    [
        pytest.param("'/nonexistent/capture.sh' '/nonexistent/state'", id="script missing"),
        pytest.param("exit 127", id="exit 127"),
        pytest.param("cat >/dev/null; exit 1", id="exit 1"),
        pytest.param("kill -9 $$", id="killed"),
        pytest.param("echo '{\"not\": '", id="half a JSON object on stdout"),
    ],
)
def test_hook_that_fails_changes_nothing_for_claude(
    everyday: Everyday, home: Path, project: Path, hook: str
) -> None:
    result = play_everyday(home, project, hook_settings(hook))
    assert (result.returncode, result.stdout["result"]) == (0, "All done.")
    assert told(result, project) == told(everyday.result, everyday.project)
    assert result.played_out


@pytest.mark.must_run_in_ci
def test_hook_that_exits_2_blocks_the_tool(home: Path, project: Path) -> None:
    """The one exit code that hurts: the harness would notice a hook of ours that returned it."""
    turns = [call("Write", file_path=str(project / "a.txt"), content="a"), say("Done.")]
    settings = hook_settings(lambda event: "exit 2" if event == "PreToolUse" else ":")
    result = run_claude("Write.", turns=turns, home=home, project=project, settings=settings)
    assert [r.is_error for r in result.tool_results] == [True]
    assert not (project / "a.txt").exists()


@pytest.mark.must_run_in_ci
def test_hooks_of_the_project_run_too(home: Path, project: Path) -> None:
    log = home / "events"
    result = run_claude(
        "Hello.",
        turns=[say("Hello.")],
        home=home,
        project=project,
        project_settings=hook_settings(lambda event: f"echo {event} >> '{log}'"),
    )
    assert result.returncode == 0
    assert log.read_text().split() == ["SessionStart", "Stop", "SessionEnd"]


@pytest.mark.must_run_in_ci
def test_resumed_session_plays_its_own_script_from_the_start(home: Path, project: Path) -> None:
    def session(*args: str) -> Result:
        turns = [call("Bash", command="echo again"), say("Done.")]
        return run_claude("Again.", turns=turns, home=home, project=project, args=args)

    first, second = session(), session("--continue")
    assert first.played_out
    assert second.played_out
    assert first.session_id == second.session_id
    assert [r.text for r in second.tool_results] == ["again", "again"]


@pytest.mark.must_run_in_ci
def test_session_that_hangs_is_killed_with_all_that_it_started(home: Path, project: Path) -> None:
    pid_file = home / "pid"
    hang = f"(setsid sleep 300 & echo $! > '{pid_file}'); exec tail -f /dev/null"
    turns = [call("Bash", command=hang), say("Never reached.")]
    with pytest.raises(ClaudeTimedOutError):
        run_claude("Hang.", turns=turns, home=home, project=project, timeout=4)
    assert pid_file.exists()  # the command did run
    assert_nothing_runs_in(home)


def test_session_sees_no_network_but_loopback(home: Path, project: Path) -> None:
    turns = [call("Bash", command="cut -d: -f1 -s /proc/net/dev"), say("Done.")]
    result = run_claude("Look.", turns=turns, home=home, project=project)
    if not result.isolated:
        pytest.skip("this system permits no private network namespace")
    assert [r.text.split() for r in result.tool_results] == [["lo"]]


def a_request(*, said: int, opening: str = "Go.") -> dict[str, Any]:
    messages = [{"role": "user", "content": [{"type": "text", "text": opening}]}]
    for _ in range(said):
        messages += [{"role": "assistant", "content": []}, {"role": "user", "content": []}]
    return {"tools": [{"name": "Bash"}], "messages": messages}


def first_id(answer: dict[str, Any]) -> str:
    return str(answer["content"][0]["id"])


def a_script() -> list[Turn]:
    inner = [call("Write", file_path="x", content="x"), say("Written.")]
    return [call("Bash", command="one"), delegate("Side job 17.", turns=inner), say("Done.")]


class TestScriptedModel:
    def test_request_sent_again_gets_the_same_calls(self) -> None:
        model = ScriptedModel(a_script())
        once, again, later = (model.answer(a_request(said=n)) for n in (0, 0, 1))
        assert first_id(once) == first_id(again) != first_id(later)

    def test_two_sessions_never_share_an_id(self) -> None:
        ours, theirs = (ScriptedModel(a_script()).answer(a_request(said=0)) for _ in range(2))
        assert first_id(ours) != first_id(theirs)

    def test_subagent_is_known_by_its_prompt_and_plays_its_own_turns(self) -> None:
        model = ScriptedModel(a_script())
        answer = model.answer(a_request(said=0, opening="Mind this. Side job 17. Thanks."))
        assert answer["content"][0]["name"] == "Write"

    def test_request_without_tools_gets_a_word_and_uses_up_no_turn(self) -> None:
        model = ScriptedModel(a_script())
        answer = model.answer(a_request(said=0) | {"tools": []})
        assert (answer["stop_reason"], answer["content"]) == (
            "end_turn",
            [{"type": "text", "text": "ok"}],
        )
        assert model.answer(a_request(said=0))["stop_reason"] == "tool_use"

    def test_request_beyond_the_script_ends_it_and_is_counted(self) -> None:
        model = ScriptedModel([say("Done.")])
        model.answer(a_request(said=0))
        assert model.played_out
        assert model.answer(a_request(said=1))["stop_reason"] == "end_turn"
        assert len(model.unscripted) == 1
        assert not model.played_out


def get_and_hang_up(address: tuple[str, int], request: bytes) -> bytes:
    with socket.create_connection(address) as connection:
        connection.sendall(request)
        return connection.makefile("rb").read()


class TestServing:
    def test_other_endpoints_are_unknown_and_no_thread_is_left(self) -> None:
        before = threading.active_count()
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        with serving(ScriptedModel([]), listener):
            head = get_and_hang_up(address, b"HEAD / HTTP/1.1\r\n\r\n")
            post = b"POST /v1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
            unknown = get_and_hang_up(address, post)
        assert (head.split()[1], unknown.split()[1]) == (b"200", b"404")
        assert threading.active_count() == before

    def test_request_that_the_model_cannot_read_fails_the_test_not_the_client(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        post = b"POST /v1/messages HTTP/1.1\r\nContent-Length: 3\r\n\r\n{{{"
        with pytest.raises(json.JSONDecodeError), serving(ScriptedModel([]), listener):
            assert get_and_hang_up(listener.getsockname(), post) == b""


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
def test_process_left_behind_in_a_home_is_found_and_ended(tmp_path: Path) -> None:
    left_behind = subprocess.Popen(["sleep", "300"], env={"HOME": str(tmp_path)})
    # Between fork and exec it still has this process's environment and command line.
    assert poll(lambda: "sleep 300" in processes_of(tmp_path).values())
    with pytest.raises(AssertionError, match=f"{left_behind.pid}: 'sleep 300'"):
        assert_nothing_runs_in(tmp_path, within=0)
    assert left_behind.wait() == -signal.SIGKILL
    assert_nothing_runs_in(tmp_path, within=0)
