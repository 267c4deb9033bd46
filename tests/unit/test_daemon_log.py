"""The daemon's log: what goes in, how it is bounded, and how it is shown."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from pattern_daemon.log import TEXT_LIMIT, LogFile, describe, make_log, rotated, trace
from pattern_daemon.log_view import follow, lines, pid_of, readable
from pattern_tracker.errors import EmbeddedApiError
from tests.fake_clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path


def test_line_is_json_with_time_level_event_and_pid_first(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log")
    make_log(file, clock=FakeClock(0.0)).warning("not sending", reason="refused")
    file.close()
    (line,) = lines(tmp_path / "log")
    assert list(json.loads(line).items()) == [
        ("at", "1970-01-01T00:00:00Z"),
        ("level", "warning"),
        ("event", "not sending"),
        ("pid", os.getpid()),
        ("reason", "refused"),
    ]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    assert pid_of(line) == os.getpid()
    assert pid_of("Traceback") is None


def test_long_text_and_what_is_not_unicode_are_bounded_and_kept(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log")
    log = make_log(file, clock=FakeClock())
    log.info("x", text="y" * 100_000)
    log.info("x", path="/tmp/\udcff")
    file.close()
    long, odd = [json.loads(line) for line in lines(tmp_path / "log")]
    assert len(long["text"]) == TEXT_LIMIT + 1
    assert odd["path"] == "/tmp/?"


def test_log_is_rotated_at_its_limit_and_one_old_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(path, limit_bytes=100)
    for number in range(50):
        file.write(f"{number:09}")
    file.close()
    assert {each.name for each in tmp_path.iterdir()} == {"log", "log.1"}
    kept = [line.strip() for each in (rotated(path), path) for line in lines(each)]
    assert kept == [f"{number:09}" for number in range(50 - len(kept), 50)]
    assert path.stat().st_size <= 100
    assert rotated(path).stat().st_size <= 100


def test_size_from_before_counts(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("x" * 99 + "\n")
    file = LogFile(path, limit_bytes=100)
    file.write("y")
    file.close()
    assert path.read_text() == "y\n"


def test_lost_lines_are_counted_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = LogFile(tmp_path / "log")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        file.write("a")
        file.write("b")
    file.write("c")
    file.close()
    assert list(lines(tmp_path / "log")) == ['{"level":"error","event":"2 lines lost"}\n', "c\n"]


def test_error_of_unknown_make_tells_its_place_and_not_its_text() -> None:
    def stumble() -> None:
        raise ValueError("the payload said: hunter2")

    with pytest.raises(ValueError, match="hunter2") as caught:
        stumble()
    told = describe(caught.value) + "".join(trace(caught.value))
    assert "hunter2" not in told
    assert "ValueError in test_daemon_log.py" in told
    assert "stumble" in told


def test_known_errors_tell_what_is_wrong() -> None:
    assert describe(EmbeddedApiError("why")) == "why"
    assert describe(OSError(errno.ENOSPC, "No space left", "/x")) == "/x: No space left"
    assert describe(OSError()) == "OSError"
    assert describe(sqlite3.OperationalError("disk I/O error")) == "the ledger: disk I/O error"


def test_line_for_people() -> None:
    line = '{"at":"T","level":"error","event":"pass failed","pid":7,"reason":"full","n":2}'
    assert readable(line, colour=False) == "T  error     pass failed  reason=full  n=2"
    assert "\x1b[31m" in readable(line, colour=True)
    assert readable("Traceback\n", colour=False) == "Traceback"


@pytest.mark.parametrize(
    "line", ['{"event":"\\u001b[2J","\\u0007":"\\u009b1"}', "\x1b[2J\x07\x9b1"]
)
def test_no_line_can_steer_a_terminal(line: str) -> None:
    assert readable(line, colour=False).isprintable()


def test_following_survives_rotation(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(path, limit_bytes=20)
    file.write("before")
    steps = iter([["one", "two"], ["three", "four", "five", "six"], ["end"]])

    def sleep(_: float) -> None:
        for line in next(steps):
            file.write(line)

    found = []
    for line in follow(path, sleep=sleep):
        found.append(line.strip())
        if found[-1] == "end":
            break
    file.close()
    assert found == ["one", "two", "three", "four", "five", "six", "end"]


def test_following_waits_for_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "log"
    found = next(follow(path, sleep=lambda _: path.write_text("first\n") and None))
    assert found == "first\n"
