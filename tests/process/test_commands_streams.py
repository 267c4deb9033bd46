"""The commands with standard streams that are closed, full or gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (
    "pattern-tracker stats",
    "pattern-tracker stats --json",
    "pattern-tracker events",
    "pattern-tracker config",
    "pattern-tracker sync",
    "pattern-daemon status",
    "pattern-daemon logs",
    "pattern-daemon stop",
)
# What `status` says of a daemon that does not run.
USUAL_STATUS = {"pattern-daemon status": 3}


def run(command: str, redirections: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", f'"$0"/{command} {redirections}', Path(sys.executable).parent],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


@pytest.mark.parametrize("redirections", [">&-", "2>&- | cat", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", COMMANDS)
def test_command_with_closed_streams_does_its_work(command: str, redirections: str) -> None:
    done = run(command, redirections)
    assert done.stderr == ""
    expected = 0 if "|" in redirections else USUAL_STATUS.get(command, 0)
    assert done.returncode == expected


@pytest.mark.parametrize("command", COMMANDS)
def test_command_whose_output_cannot_be_written_says_so_in_one_line(command: str) -> None:
    done = run(command, ">/dev/full")
    assert len(done.stderr.splitlines()) <= 1
    assert "Traceback" not in done.stderr


def test_state_directory_that_is_a_file_is_told_in_one_line(private_home) -> None:
    state = private_home / ".local" / "state" / "pattern-tracker"
    state.parent.mkdir(parents=True)
    state.touch()
    for command in COMMANDS:
        done = run(command, "")
        assert "Traceback" not in done.stderr
        if done.returncode:
            assert str(state) in done.stderr
            assert len(done.stderr.splitlines()) == 1


def test_ledger_that_cannot_be_opened_is_told_in_one_line(private_home) -> None:
    ledger = private_home / ".local" / "state" / "pattern-tracker" / "ledger.sqlite3"
    ledger.mkdir(parents=True)
    done = run("pattern-tracker sync", "")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "ledger cannot be written" in done.stderr
    assert "damaged" not in run("pattern-tracker stats", "").stderr
