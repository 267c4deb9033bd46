"""`daemon.json`: written in one step, readable or ignored."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from pattern_daemon import record as records
from pattern_daemon.identity import ProcessIdentity
from pattern_daemon.record import (
    PADDED_BYTES,
    REASON_LIMIT,
    DaemonRecord,
    Problem,
    read_record,
    shortened,
    write_record,
)

if TYPE_CHECKING:
    from pathlib import Path

PROCESS = ProcessIdentity(pid=7, host="h", boot_id="b", pid_namespace="n", start_time="1")
RECORD = DaemonRecord(process=PROCESS, version="1", since=2.0)


def test_record_comes_back_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    write_record(path, RECORD)
    assert read_record(path) == RECORD
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"[]", b'{"pid": 7}', b"\xff\xfe", b"7\n"])
def test_what_is_no_record_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "daemon.json"
    assert read_record(path) is None
    path.write_bytes(content)
    assert read_record(path) is None


def test_full_disk_lets_the_record_be_overwritten_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "daemon.json"
    write_record(path, RECORD)
    inode = path.stat().st_ino
    write = records._write

    def no_new_file(target: Path, content: bytes, flags: int) -> None:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(target, content, flags)

    monkeypatch.setattr(records, "_write", no_new_file)
    full = DaemonRecord(
        process=PROCESS, version="1", since=2.0, problem=Problem(kind="k", reason="r", since=3.0)
    )
    write_record(path, full)
    assert read_record(path) == full
    assert (path.stat().st_ino, path.stat().st_size) == (inode, PADDED_BYTES)


def test_reason_is_one_line_of_bounded_length() -> None:
    assert shortened(" a\n\tb ") == "a b"
    assert len(shortened("x" * 10_000)) == REASON_LIMIT + 1
