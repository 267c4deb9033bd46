"""Changing Claude Code's `settings.json` without ever leaving it worse.

The file is the user's: a backup is put beside it, the new text is validated,
flushed and renamed over it in one step, and where the file is a symlink (a
dotfiles repository) the file behind it is the one that changes.  What cannot be
parsed, or would make Claude Code ignore the file, is refused and left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pattern_tracker.atomic_file import flush_directory, write_beside
from pattern_tracker.claude_code import hook_rules
from pattern_tracker.claude_code.hook_merge import ShapeError
from pattern_tracker.errors import PatternTrackerError
from pattern_tracker.state_dir import DIRECTORY_MODE, FILE_MODE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DEFAULT_INDENT = "  "
# Another program that writes at the same instant gets this many chances to finish.
_ATTEMPTS = 5
_BYTE_ORDER_MARK = "\ufeff"


class SettingsFileError(PatternTrackerError):
    """Claude Code's settings file cannot be changed safely; nothing was touched."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}. Nothing was changed.")


class _ModifiedMeanwhileError(Exception):
    """Somebody else wrote the file after it was read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """What an edit did, or would do: `backup` is None where nothing was overwritten."""

    changed: bool
    settings: dict[str, Any]
    backup: Path | None = None


def claude_settings_path(environ: Mapping[str, str], home: Path) -> Path:
    """Where Claude Code keeps the user's settings; `CLAUDE_CONFIG_DIR` moves it."""
    configured = environ.get("CLAUDE_CONFIG_DIR", "")
    directory = Path(configured).absolute() if configured else home / ".claude"
    return directory / "settings.json"


def read_settings(path: Path) -> dict[str, Any]:
    """The file's content; empty where there is no file.

    Raises:
        SettingsFileError: not JSON, or not an object.
    """
    return _parse(path, _decode(path, _read(path) or b""))


def edit(
    path: Path,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    validate: bool = True,
    dry_run: bool = False,
) -> Edit:
    """Apply `change` to the file's content.

    Where the content stays the same the file is not written.  `validate=False`
    is for taking hooks out, which cannot make a file worse that Claude Code
    already ignores.

    Raises:
        SettingsFileError: the file cannot be read, parsed, accepted or written.
    """
    for _ in range(_ATTEMPTS):
        raw = _read(path)
        text = _decode(path, raw or b"")
        before = _parse(path, text)
        if validate:
            _refuse_broken(path, before)
        after = _changed(path, before, change)
        if validate and (unexpected := hook_rules.problems(after)):
            raise SettingsFileError(
                path, f"the result would be invalid ({unexpected[0]}); please report this"
            )
        if _same(before, after):
            return Edit(changed=False, settings=before)
        if dry_run:
            return Edit(changed=True, settings=after)
        content = _encode(path, after, like=text)
        with contextlib.suppress(_ModifiedMeanwhileError):
            backup = _replace_if_unchanged(path, expected=raw, content=content)
            return Edit(changed=True, settings=after, backup=backup)
    raise SettingsFileError(path, "another program keeps writing it; close it and run this again")


def _changed(
    path: Path, before: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    try:
        return change(before)
    except ShapeError as error:
        raise SettingsFileError(path, f"{error}; repair it and run this again") from None


def _refuse_broken(path: Path, settings: dict[str, Any]) -> None:
    broken = hook_rules.problems(settings)
    if broken:
        raise SettingsFileError(
            path,
            "Claude Code ignores this whole file because of a hook that is not ours"
            f" ({'; '.join(map(str, broken))}); repair or remove that hook and run this again",
        )


def _same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return json.dumps(before) == json.dumps(after)  # order counts, which == would not see


def _read(path: Path) -> bytes | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SettingsFileError(path, "is not a regular file; put one in its place")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsFileError(
            path, f"cannot be read ({error.strerror}); make it readable and run this again"
        ) from error


def _decode(path: Path, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise SettingsFileError(path, f"is not UTF-8 (byte {error.start}); repair it") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    if not text.strip(_BYTE_ORDER_MARK + " \t\r\n"):
        return {}
    try:
        settings = json.loads(
            text.removeprefix(_BYTE_ORDER_MARK),
            object_pairs_hook=_without_doubles,
            parse_constant=_not_json,
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        problem = f"is not valid JSON: {error.msg} at {place}; repair it and run this again"
        raise SettingsFileError(path, problem) from None
    except (ValueError, RecursionError) as error:
        raise SettingsFileError(path, f"is not valid JSON: {error}; repair it") from None
    if not isinstance(settings, dict):
        raise SettingsFileError(path, "must hold a JSON object ({...}); repair it")
    return settings


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        # Writing would silently drop the first of the two.
        raise ValueError(f"the key {double!r} appears twice in one object")
    return result


def _not_json(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON value")


def _encode(path: Path, settings: dict[str, Any], *, like: str) -> bytes:
    """`settings` in the style of the text that it replaces."""
    found = re.search(r"\{\r?\n([ \t]+)\S", like)
    indent = found.group(1) if found else _DEFAULT_INDENT
    try:
        # The text may hold escapes for what UTF-8 cannot; those stay escapes.
        text = json.dumps(settings, indent=indent, ensure_ascii=like.isascii(), allow_nan=False)
        end = "\n" if not like or like.endswith("\n") else ""
        newline = "\r\n" if "\r\n" in like else "\n"
        mark = _BYTE_ORDER_MARK if like.startswith(_BYTE_ORDER_MARK) else ""
        return (mark + (text + end).replace("\n", newline)).encode()
    except ValueError as error:
        raise SettingsFileError(path, f"holds what cannot be written again ({error})") from None


def _replace_if_unchanged(path: Path, *, expected: bytes | None, content: bytes) -> Path | None:
    """Put `content` in the file's place; the backup of what was there, if anything was."""
    target = path.resolve()
    try:
        target.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        mode = FILE_MODE if expected is None else stat.S_IMODE(target.stat().st_mode)
        temporary = write_beside(target, content, mode=mode)
        try:
            if _read(path) != expected:
                raise _ModifiedMeanwhileError
            backup = None if expected is None else _back_up(path, expected)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        flush_directory(target.parent)
    except OSError as error:
        problem = f"cannot be written ({error.strerror}); make {target.parent} writable"
        raise SettingsFileError(path, problem) from error
    return backup


def _back_up(path: Path, content: bytes) -> Path:
    """A copy under the first free number; it may hold secrets, so only its owner can read it."""
    for number in range(1, 10_000):
        backup = path.with_name(f"{path.name}.backup-{number}")
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(descriptor)
            return backup
    raise SettingsFileError(path, "has 9,999 backups beside it; remove some")
