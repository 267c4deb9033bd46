from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pattern_tracker.atomic_file import replace_file, write_beside


def names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def test_file_is_replaced_with_its_new_mode_and_nothing_beside_it(tmp_path):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    replace_file(target, b"new", mode=0o700)
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o700
    assert names(tmp_path) == ["file"]


def test_file_that_a_failed_write_was_to_replace_stays(tmp_path, monkeypatch):
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(target, b"new", mode=0o600)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_file_that_cannot_be_renamed_leaves_nothing_behind(tmp_path):
    target = tmp_path / "directory"
    (target / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        replace_file(target, b"new", mode=0o600)
    assert names(tmp_path) == ["directory"]


def test_file_written_beside_its_place_leaves_the_place_alone(tmp_path):
    written = write_beside(tmp_path / "file", b"new", mode=0o600)
    assert written.parent == tmp_path
    assert Path(written).read_bytes() == b"new"
    assert not (tmp_path / "file").exists()
