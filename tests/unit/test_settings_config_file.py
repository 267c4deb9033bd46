"""Changing keys of `config.toml` in place."""

from __future__ import annotations

import pytest

from pattern_tracker.config_file import read_config, write_config_values
from pattern_tracker.errors import SettingsError

COMMENTED = """\
# mine
[service] # the API
url = "http://old"  # keep me

[cache]
max_age_days = 3
"""


def identity(path):
    """What changes when a file is written or replaced; reading moves only its access time."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


def test_write_creates_a_private_file_and_its_folder(tmp_path):
    path = tmp_path / "new" / "config.toml"
    assert write_config_values(path, {"service.url": "http://h", "service.token": "abc"})
    assert read_config(path) == {"service.url": "http://h", "service.token": "abc"}
    assert path.stat().st_mode & 0o777 == 0o600


def test_write_keeps_comments_and_order(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(COMMENTED)
    write_config_values(path, {"service.url": "http://new", "service.token": "t"})
    assert path.read_text() == COMMENTED.replace(
        'url = "http://old"  # keep me\n', 'url = "http://new"  # keep me\ntoken = "t"\n'
    )


def test_write_of_what_is_there_changes_nothing(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(COMMENTED)
    before = identity(path)
    assert not write_config_values(path, {"service.url": "http://old"})
    assert identity(path) == before


def test_write_of_none_removes_a_key(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(COMMENTED)
    assert write_config_values(path, {"service.url": None})
    assert read_config(path) == {"cache.max_age_days": 3}


@pytest.mark.parametrize(
    "value", ['quote " back \\ slash', "tab\tnul\x01", "ünïcode", "# no comment"]
)
def test_written_text_reads_back(tmp_path, value):
    path = tmp_path / "config.toml"
    write_config_values(path, {"cache.dir": value})
    write_config_values(path, {"tracking.enabled": False, "cache.max_size_mb": 2.5})
    assert read_config(path) == {
        "cache.dir": value,
        "tracking.enabled": False,
        "cache.max_size_mb": 2.5,
    }


@pytest.mark.parametrize(
    "text",
    [
        "service.url = 'http://a'\n",
        "service = { url = 'http://a' }\n",
        "[service]\nurl = '''\na'''\n",
    ],
)
def test_write_refuses_a_layout_that_it_cannot_follow(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match="by hand"):
        write_config_values(path, {"service.url": "http://b"})
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_write_goes_through_a_symlink(tmp_path):
    target = tmp_path / "dotfiles.toml"
    target.write_text(COMMENTED)
    link = tmp_path / "config.toml"
    link.symlink_to(target)
    write_config_values(link, {"cache.max_age_days": 4})
    assert link.is_symlink()
    assert read_config(target)["cache.max_age_days"] == 4
