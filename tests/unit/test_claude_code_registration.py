"""The registered command and how it is recognised again."""

from __future__ import annotations

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


def test_hook_command_is_the_shell_form():
    command = hook_command(HOOKS / "capture.sh", Path("/state dir"))
    assert command == f"'{HOOKS}/capture.sh' '/state dir' 2>/dev/null || :"


@pytest.mark.parametrize(
    "name", ["a b", "it's", '"q" $HOME `id` \\', "ünï", "-n", "a\tb", "'", "*"]
)
def test_hook_command_survives_any_path_and_is_recognised(tmp_path, name):
    script = tmp_path / name / "pattern-tracker" / "hooks" / "capture.sh"
    script.parent.mkdir(parents=True)
    script.write_text('#!/bin/sh\nprintf %s "$1"\n')
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
