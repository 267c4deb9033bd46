"""Noticing payloads and a changed configuration."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pattern_daemon.watch import COARSEST_TIME_SECONDS, FileWatch, SpoolWatch
from tests.fake_clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path


def settled(path: Path, clock: FakeClock, *, left: int = 0) -> SpoolWatch:
    watch = SpoolWatch(path, clock=clock)
    watch.expect(left)
    assert not watch.has_news()
    clock.advance(COARSEST_TIME_SECONDS)
    assert not watch.has_news()
    return watch


def test_new_payload_is_news_until_a_pass_has_been(tmp_path: Path) -> None:
    watch = settled(tmp_path, FakeClock())
    (tmp_path / "a.json").touch()
    assert watch.has_news()
    assert watch.has_news()
    watch.expect(1)
    assert not watch.has_news()


def test_own_removals_are_no_news(tmp_path: Path) -> None:
    (tmp_path / "a.json").touch()
    watch = settled(tmp_path, FakeClock(), left=1)
    (tmp_path / "a.json").unlink()
    watch.expect(0)
    assert not watch.has_news()


def test_what_is_no_payload_is_no_news(tmp_path: Path) -> None:
    watch = settled(tmp_path, FakeClock())
    (tmp_path / ".a.json.tmp").touch()
    assert not watch.has_news()


def test_payload_in_the_same_tick_as_the_last_look_is_noticed(tmp_path: Path) -> None:
    clock = FakeClock()
    watch = settled(tmp_path, clock)
    (tmp_path / "a.json").touch()
    assert watch.has_news()
    seen = tmp_path.stat().st_mtime_ns
    watch.expect(0)
    (tmp_path / "a.json").unlink()
    (tmp_path / "b.json").touch()
    os.utime(tmp_path, ns=(seen, seen))  # as a coarse clock would leave it
    assert watch.has_news()


def test_settled_folder_is_not_read(tmp_path: Path) -> None:
    watch = settled(tmp_path, FakeClock())
    before = tmp_path.stat().st_mtime_ns
    (tmp_path / "a.json").touch()
    os.utime(tmp_path, ns=(before, before))
    assert not watch.has_news()


def test_missing_folder_is_news(tmp_path: Path) -> None:
    assert SpoolWatch(tmp_path / "missing", clock=FakeClock()).has_news()


def test_file_that_comes_changes_and_goes_is_news_once_each(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    watch = FileWatch(path)
    assert not watch.has_news()
    for change in (lambda: path.write_text("a"), lambda: path.write_text("bc"), path.unlink):
        change()
        assert [watch.has_news(), watch.has_news()] == [True, False]
