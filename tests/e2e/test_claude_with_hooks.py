"""Our hook scripts under the real Claude Code: all is kept, and Claude does not notice."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pattern_tracker.claude_code.registration import hook_command
from tests.e2e.claude_session import hook_settings, run_claude
from tests.e2e.everyday_session import RECORDED_PAYLOADS, play_everyday, recorded, told
from tests.e2e.process_family import processes_of
from tests.e2e.scripted_model import call, say
from tests.e2e.transcripts import hook_remarks

pytestmark = pytest.mark.must_run_in_ci

SCRIPTS = Path(__file__).parents[2] / "hooks"
SET_BY_THE_SHELL_ITSELF = {"PWD", "OLDPWD", "SHLVL", "_"}


@dataclass(frozen=True, kw_only=True)
class Installed:
    """Copies of the hook scripts and a state directory, as an installer leaves them."""

    scripts: Path
    state: Path

    def settings(self) -> dict[str, Any]:
        return hook_settings(self._registered)

    def _registered(self, event: str) -> str:
        script = "session_start.sh" if event == "SessionStart" else "capture.sh"
        return hook_command(self.scripts / script, self.state)

    def spooled(self) -> list[dict[str, Any]]:
        return [json.loads(file.read_bytes()) for file in (self.state / "spool").iterdir()]


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    scripts, state = tmp_path / "the user's hooks", tmp_path / "état $HOME"
    shutil.copytree(SCRIPTS, scripts)
    (state / "spool").mkdir(parents=True)
    (state / "turned-away").touch()
    return Installed(scripts=scripts, state=state)


def test_everyday_session_spools_exactly_its_payloads(
    installed: Installed, home: Path, project: Path
) -> None:
    result = play_everyday(home, project, installed.settings())
    spooled = installed.spooled()
    assert Counter(map(recorded, spooled)) == RECORDED_PAYLOADS
    assert {payload["session_id"] for payload in spooled} == {result.session_id}
    assert (installed.state / "turned-away").read_bytes() == b""


def test_claude_does_not_notice_the_hooks(
    installed: Installed, home: Path, project: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    without = play_everyday(home, elsewhere, settings={})
    result = play_everyday(home, project, installed.settings())
    assert (result.returncode, result.stderr) == (0, "")
    assert result.played_out
    assert told(result, project) == told(without, elsewhere)
    assert hook_remarks(home) == []


def test_scripts_deleted_in_mid_session_leave_claude_alone(
    installed: Installed, home: Path, project: Path
) -> None:
    turns = [
        call("Write", file_path=str(project / "kept.py"), content="a = 1\n"),
        call("Bash", command=f"rm -r {shlex.quote(str(installed.scripts))}", description="Tidy"),
        call("Write", file_path=str(project / "unseen.py"), content="b = 2\n"),
        say("Done."),
    ]
    settings = installed.settings()
    result = run_claude("Tidy up.", turns=turns, home=home, project=project, settings=settings)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.played_out
    assert [r.is_error for r in result.tool_results] == [False] * 3
    assert (project / "unseen.py").read_text() == "b = 2\n"
    assert hook_remarks(home) == []
    assert Counter(map(recorded, installed.spooled())) == {
        ("SessionStart", None, None): 1,
        ("PreToolUse", "Write", "kept.py"): 1,
        ("PostToolUse", "Write", "kept.py"): 1,
    }


def test_state_directory_that_cannot_be_written_leaves_claude_alone(
    installed: Installed, home: Path, project: Path
) -> None:
    shutil.rmtree(installed.state)
    installed.state.write_text("a file where the directory should be")
    result = play_everyday(home, project, installed.settings())
    assert (result.returncode, result.stderr) == (0, "")
    assert result.played_out
    assert hook_remarks(home) == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
def test_what_session_start_launches_outlives_the_session_and_inherits_nothing(
    installed: Installed, home: Path, project: Path
) -> None:
    """A launcher that never ends would stall a session that waited for it, or for its streams."""
    (installed.state / "launch-daemon").write_text("exec sleep 300\n")
    (installed.state / "launch-daemon").chmod(0o700)
    settings = installed.settings()
    result = run_claude(
        "Hello.", turns=[say("Hello.")], home=home, project=project, settings=settings, timeout=30
    )
    ((pid, command),) = processes_of(home).items()
    environment = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8")
    os.kill(pid, signal.SIGKILL)
    assert result.returncode == 0
    assert command == "sleep 300"
    names = {entry.partition("=")[0] for entry in environment.split("\0") if entry}
    assert names - SET_BY_THE_SHELL_ITSELF == {"HOME", "PATH", "LANG"}
