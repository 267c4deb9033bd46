"""Process identities: parsing of both systems' answers, and when two are the same."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from msgspec.structs import replace

from pattern_daemon import identity
from pattern_daemon.identity import (
    ProcessIdentity,
    differences,
    identity_of,
    parse_proc_stat,
    parse_ps_start,
)

ONE = ProcessIdentity(pid=7, host="h", boot_id="b", pid_namespace="n", start_time="1")


def test_proc_stat_is_read_behind_the_last_bracket() -> None:
    fields = " ".join(str(number) for number in range(4, 53))
    assert parse_proc_stat(f"7 (python) S {fields}") == "22"
    assert parse_proc_stat(f"7 (a) b) c ( 1) S {fields}\n") == "22"


@pytest.mark.parametrize("text", ["", "7 (python", "7 (x) S 1 2", "7 (x) S " + "a " * 40])
def test_what_is_not_proc_stat_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="/proc/PID/stat"):
        parse_proc_stat(text)


def test_ps_answer_is_the_same_however_it_is_padded() -> None:
    assert parse_ps_start("Thu Oct  2 09:15:01 2025    \n") == "Thu Oct 2 09:15:01 2025"
    assert parse_ps_start("\n") is None


def test_own_identity_is_stable_and_another_process_differs() -> None:
    own = identity_of(os.getpid())
    assert own is not None
    assert differences(own, identity_of(os.getpid())) == []
    parent = identity_of(os.getppid())
    assert "another process id" in differences(own, parent)


def test_process_that_is_gone_has_no_identity() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert identity_of(process.pid) is None
    assert differences(replace(ONE, pid=process.pid), None) == [f"no process {process.pid} here"]


@pytest.mark.parametrize("field", ["host", "boot_id", "pid_namespace", "start_time"])
def test_each_part_makes_a_difference(field: str) -> None:
    assert len(differences(ONE, replace(ONE, **{field: "other"}))) == 1


@pytest.mark.parametrize("field", ["boot_id", "start_time"])
def test_what_nobody_could_read_matches_nothing(field: str) -> None:
    unknown = replace(ONE, **{field: ""})
    assert differences(unknown, unknown) == ["unknown"]


def test_system_without_proc_is_asked_with_ps_and_sysctl(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "/bin/ps": "Thu Oct  2 09:15:01 2025\n",
        "/usr/sbin/sysctl": "0B6A3C1D-8A1C-4F6F-9E57-1B1F3C1E2D3C\n",
    }
    monkeypatch.setattr(identity, "_printed", lambda command: answers[command[0]])
    monkeypatch.setattr(identity.Path, "exists", lambda _: False)
    found = identity_of(7)
    assert found is not None
    assert found.boot_id == "0B6A3C1D-8A1C-4F6F-9E57-1B1F3C1E2D3C"
    assert (found.pid_namespace, found.start_time) == ("", "Thu Oct 2 09:15:01 2025")
    answers["/bin/ps"] = ""
    assert identity_of(7) is None
