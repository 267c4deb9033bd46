"""The scripts as shipped: what they may contain, and that the system's own /bin/sh runs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hook_runner import (
    HOOKS,
    SESSION,
    Hook,
    assert_harmless,
    make_state_dir,
)

SCRIPTS = sorted(HOOKS.glob("*.sh"))
REGISTERED = [script for script in SCRIPTS if script.name != "check_cap.sh"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_executable_sh_of_a_screenful(script: Path) -> None:
    text = script.read_text()

    assert text.startswith("#!/bin/sh\n")
    assert script.stat().st_mode & 0o111 == 0o111
    assert len(text.splitlines()) <= 70
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_clean_under_shellcheck(script: Path) -> None:
    beside = Path(sys.executable).with_name("shellcheck")
    shellcheck = str(beside) if beside.exists() else shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")

    command = [shellcheck, "--shell=sh", "--severity=style", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("script", REGISTERED, ids=lambda path: path.name)
def test_shipped_script_stores_under_the_systems_own_shell(script: Path, tmp_path: Path) -> None:
    hook = Hook(
        shell=Path("/bin/sh"),
        scripts=HOOKS,
        state=make_state_dir(tmp_path / "state"),
        env={"CLAUDE_CODE_SESSION_ID": SESSION},
    )

    assert_harmless(hook.run(b"{}\n", script.name))

    assert hook.stored() == [b"{}\n"]
