"""The registered command and how it is recognised again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pattern_tracker.claude_code import hook_rules
from pattern_tracker.claude_code.hook_merge import merge
from pattern_tracker.claude_code.registration import (
    TIMEOUT_SECONDS,
    hook_command,
    is_ours,
    registered_hooks,
)

HOOKS = Path("/home/me/.local/share/pattern-tracker/hooks")


def test_capture_is_read_by_the_shell_that_runs_already():
    command = hook_command(HOOKS / "capture.sh", Path("/state dir"))
    assert command == f"(set -- '/state dir'; . '{HOOKS}/capture.sh') 2>/dev/null || :"


def test_other_scripts_are_started():
    command = hook_command(HOOKS / "turn_end.sh", Path("/state dir"))
    assert command == f"'{HOOKS}/turn_end.sh' '/state dir' 2>/dev/null || :"


@pytest.mark.parametrize("script", ["capture.sh", "session_start.sh", "turn_end.sh"])
def test_both_forms_of_every_script_are_ours(script):
    for command in (
        f"'{HOOKS}/{script}' '/s' 2>/dev/null || :",
        f"'{HOOKS}/{script}' '/s'",
        f"(set -- '/s'; . '{HOOKS}/{script}') 2>/dev/null || :",
    ):
        assert is_ours({"type": "command", "command": command})


@pytest.mark.parametrize("shell", ["sh", "dash", "bash", "busybox"])
@pytest.mark.parametrize("content", ["if then", "exit 2", "kill -9 $$", None])
def test_broken_script_never_blocks_a_tool(tmp_path, shell, content):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "capture.sh"
    if content is not None:
        script.write_text(content)
    argv = [shell, *(["sh"] if shell == "busybox" else []), "-c", hook_command(script, tmp_path)]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode != 2  # the one status that blocks
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.parametrize(
    "name", ["a b", "it's", '"q" $HOME `id` \\', "ünï", "-n", "a\tb", "'", "*"]
)
def test_hook_command_survives_any_path_and_is_recognised(tmp_path, name):
    script = tmp_path / name / "pattern-tracker" / "hooks" / "capture.sh"
    script.parent.mkdir(parents=True)
    script.write_text('printf %s "$1"\n')
    script.chmod(0o700)
    state = tmp_path / name / "state"
    command = hook_command(script, state)
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True)
    assert done.stdout.decode() == str(state)
    assert is_ours({"type": "command", "command": command})


def test_missing_script_succeeds_silently(tmp_path):
    command = hook_command(tmp_path / "gone.sh", tmp_path)
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    "command",
    [
        "/opt/capture.sh",
        "'/opt/hooks/capture.sh' '/s' 2>/dev/null || :",
        f"'{HOOKS}/capture.sh'",
        f"'{HOOKS}/other.sh' '/s' 2>/dev/null || :",
        f"'{HOOKS}/capture.sh' '/s' 2>/dev/null || : ; rm x",
        f"(set -- '/s'; . '{HOOKS}/capture.sh'; rm x) 2>/dev/null || :",
        f"(set -- '/s'; . '{HOOKS}/capture.sh') 2>/dev/null || : ; rm x",
        f"nice '{HOOKS}/capture.sh' '/s'",
        "unbalanced ' capture.sh",
        None,
        7,
    ],
)
def test_somebody_elses_hook_is_not_ours(command):
    assert not is_ours({"type": "command", "command": command})


def test_registered_hooks_are_accepted_by_claude_codes_rules():
    settings = merge({}, registered_hooks(HOOKS, Path("/s")))
    assert hook_rules.problems(settings) == []
    assert list(settings["hooks"]) == [
        "SessionStart",
        "PreToolUse",
        "PostToolUse",
        "PostToolUseFailure",
        "SubagentStop",
        "Stop",
        "SessionEnd",
    ]
    assert isinstance(TIMEOUT_SECONDS, int)
    # SessionEnd hooks are capped at a minute.
    assert 0 < TIMEOUT_SECONDS <= 60
