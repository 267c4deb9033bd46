"""Editing settings.json: what changes, what stays, and what is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from pattern_tracker.claude_code import settings_file
from pattern_tracker.claude_code.hook_merge import ShapeError, merge, remove
from pattern_tracker.claude_code.registration import registered_hooks
from pattern_tracker.claude_code.settings_file import (
    SettingsFileError,
    claude_settings_path,
    edit,
    read_settings,
)

ENTRIES = registered_hooks(Path("/d/pattern-tracker/hooks"), Path("/state"))
MOVED = registered_hooks(Path("/elsewhere/pattern-tracker/hooks"), Path("/state 2"))
FOREIGN = {"type": "command", "command": "theirs"}


def install(settings):
    return merge(settings, ENTRIES)


def identity(path):
    """What changes when a file is written or replaced; reading moves only its access time."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


def names_in(folder):
    return [entry.name for entry in folder.iterdir()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".claude" / "settings.json"


@pytest.fixture
def write(path):
    def write(content):
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
        return path

    return write


def test_merge_replaces_a_moved_installation_where_it_stands():
    before = install({"hooks": {"Stop": [{"hooks": [FOREIGN]}]}})
    before["hooks"]["Stop"][1]["hooks"].append(FOREIGN)
    after = merge(before, MOVED)
    assert json.dumps(after) == json.dumps(before).replace(
        "/d/pattern-tracker", "/elsewhere/pattern-tracker"
    ).replace("'/state'", "'/state 2'")


def test_merge_takes_out_doubles_and_obsolete_places():
    before = install({})
    (group,) = before["hooks"]["Stop"]
    before["hooks"]["Stop"].append(copy.deepcopy(group))
    before["hooks"]["PreCompact"] = [copy.deepcopy(group)]
    assert merge(before, ENTRIES) == install({})


def test_merge_refuses_what_is_not_an_object():
    with pytest.raises(ShapeError, match="hooks: must be an object"):
        merge({"hooks": []}, ENTRIES)


def test_remove_keeps_a_foreign_hook_in_our_group():
    before = install({})
    before["hooks"]["Stop"][0]["hooks"].append(FOREIGN)
    assert remove(before) == {"hooks": {"Stop": [{"hooks": [FOREIGN]}]}}


def test_edit_creates_a_private_file(path):
    result = edit(path, install)
    assert result.changed
    assert result.backup is None
    assert read_settings(path) == install({})
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().endswith("}\n")


def test_edit_twice_changes_nothing(path):
    edit(path, install)
    before = identity(path)
    assert not edit(path, install).changed
    assert identity(path) == before
    assert names_in(path.parent) == ["settings.json"]


def test_edit_keeps_style_mode_and_a_backup(write):
    text = '{\n\t"b": "ü",\r\n\t"a": [1]\n}'.replace("\r\n", "\n").replace("\n", "\r\n")
    path = write("")
    path.write_bytes(text.encode())
    path.chmod(0o644)
    result = edit(path, install)
    assert result.backup == path.with_name("settings.json.backup-1")
    assert result.backup.read_bytes() == text.encode()
    assert result.backup.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o777 == 0o644
    written = path.read_bytes().decode()
    assert written.startswith('{\r\n\t"b": "ü",\r\n\t"a": [')
    assert written.endswith("}")
    assert edit(path, remove).backup == path.with_name("settings.json.backup-2")


def test_edit_writes_through_a_symlink(path, tmp_path):
    target = tmp_path / "dotfiles" / "claude.json"
    target.parent.mkdir()
    target.write_text("{}")
    path.parent.mkdir()
    path.symlink_to(target)
    result = edit(path, install)
    assert path.is_symlink()
    assert read_settings(target) == install({})
    assert names_in(target.parent) == ["claude.json"]
    assert result.backup.parent == path.parent


@pytest.mark.parametrize("text", ["", " \n", "\ufeff"])
def test_edit_takes_an_empty_file_for_empty_settings(write, text):
    path = write(text)
    edit(path, install)
    assert json.loads(path.read_bytes().decode("utf-8-sig")) == install({})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n  "a": 1,\n}', "line 3, column 1"),
        ("[]", "must hold a JSON object"),
        ('{"a": 1, "a": 2}', "'a' appears twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1e999}', "cannot be written again"),
        ("[" * 100_000, "not valid JSON"),
        ('{"hooks": []}', "must be an object"),
    ],
)
def test_edit_refuses_and_touches_nothing(write, text, said):
    path = write(text)
    with pytest.raises(SettingsFileError, match=said):
        edit(path, install)
    assert path.read_text() == text
    assert names_in(path.parent) == ["settings.json"]


def test_edit_refuses_what_is_not_utf8(write):
    path = write("")
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(SettingsFileError, match="not UTF-8"):
        edit(path, install)


def test_edit_names_a_foreign_hook_that_disables_the_file(write):
    path = write({"hooks": {"Stop": [{"hooks": [{**FOREIGN, "timeout": "10"}]}]}})
    with pytest.raises(SettingsFileError, match=r"hooks\.Stop\[0\]\.hooks\[0\]\.timeout"):
        edit(path, install)


def test_edit_takes_our_hooks_out_of_a_file_that_is_broken_elsewhere(write):
    broken = {"hooks": {"Stop": [{"hooks": [{"type": "shell"}]}]}}
    path = write(install(broken))
    edit(path, remove, validate=False)
    assert read_settings(path) == broken


def test_edit_notices_a_writer_in_between_and_starts_again(write):
    path = write({"first": 1})
    writes = iter(['{"second": 2}'])

    def change(settings):
        text = next(writes, None)
        if text:
            path.write_text(text)
        return install(settings)

    edit(path, change)
    assert read_settings(path) == install({"second": 2})
    assert path.with_name("settings.json.backup-1").read_text() == '{"second": 2}'


def test_edit_gives_up_when_it_is_never_left_alone(write):
    path = write({})

    def change(settings):
        path.write_text(json.dumps({"n": settings.get("n", 0) + 1}))
        return install(settings)

    with pytest.raises(SettingsFileError, match="another program"):
        edit(path, change)
    assert names_in(path.parent) == ["settings.json"]


def test_edit_as_a_dry_run_only_says(write):
    path = write({"a": 1})
    result = edit(path, install, dry_run=True)
    assert result.changed
    assert read_settings(path) == {"a": 1}
    assert names_in(path.parent) == ["settings.json"]


def test_edit_leaves_the_old_file_when_the_rename_fails(write, monkeypatch):
    path = write({"a": 1})

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(settings_file.Path, "replace", fail)
    with pytest.raises(SettingsFileError, match="No space left"):
        edit(path, install)
    assert read_settings(path) == {"a": 1}
    assert not list(path.parent.glob(".settings*"))


def test_settings_path_honours_claude_config_dir():
    home = Path("/home/me")
    assert claude_settings_path({}, home) == home / ".claude" / "settings.json"
    moved = claude_settings_path({"CLAUDE_CONFIG_DIR": "/c"}, home)
    assert moved == Path("/c/settings.json")
