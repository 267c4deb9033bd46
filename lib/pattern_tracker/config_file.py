"""`config.toml`: reading it strictly, and changing a few keys in place.

Keys are handled flat, as `section.key`.  A file that holds or names a secret is
read only if nobody else can read it.  Writing keeps comments and everything
else; a layout that line-wise editing cannot follow (a dotted key, an inline
table) is refused rather than rewritten.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from typing import TYPE_CHECKING, Final

from pattern_tracker.config_keys import KEYS, TOKEN_FILE_KEY, expanded_path
from pattern_tracker.errors import SettingsError
from pattern_tracker.state_dir import DIRECTORY_MODE, FILE_MODE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VALID_KEYS: Final = tuple(sorted({*(key.in_file for key in KEYS), TOKEN_FILE_KEY}))
_TOKEN_KEY = "service.token"  # noqa: S105 - the name of a key
_PROXY_KEY = "service.proxy"
# A token is a line, not a document; this is what is read of a file named by mistake.
_TOKEN_FILE_LIMIT_BYTES = 16_384


class ConfigFileError(SettingsError):
    """The file as a whole, or a key's name in it, cannot be used."""

    def __init__(self, path: Path, problem: str, *, key: str = "") -> None:
        super().__init__(key=key, value=None, source=str(path), problem=problem)
        self.args = (f"{path}: {problem}",)


def read_config(path: Path) -> dict[str, object]:
    """All values of the file by `section.key`; empty where there is no file.

    Raises:
        SettingsError: not TOML, an unknown key, or a token or a proxy's password that
            others can read.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read()
            found = os.fstat(stream.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigFileError(
            path, f"cannot be read ({error.strerror}); make it readable"
        ) from error
    values = parse_config(text, path)
    if _TOKEN_KEY in values or "@" in str(values.get(_PROXY_KEY, "")):
        _refuse_unless_private(path, found)
    if _TOKEN_KEY in values and TOKEN_FILE_KEY in values:
        problem = f"{_TOKEN_KEY} and {TOKEN_FILE_KEY} are both set; remove one"
        raise ConfigFileError(path, problem, key=TOKEN_FILE_KEY)
    return values


def parse_config(text: bytes, path: Path) -> dict[str, object]:
    """Values by `section.key`; `path` is only for messages."""
    import tomllib  # noqa: PLC0415 - start-up cost where there is no file

    try:
        document = tomllib.loads(text.decode())
    except UnicodeDecodeError:
        raise ConfigFileError(path, "is not UTF-8; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigFileError(path, f"is not valid TOML: {error}; repair that line") from None
    values: dict[str, object] = {}
    for section, table in document.items():
        if not isinstance(table, dict):
            raise _unknown(path, section)
        values |= {f"{section}.{name}": value for name, value in table.items()}
    for key in values:
        if key not in VALID_KEYS:
            raise _unknown(path, key)
    return values


def _unknown(path: Path, key: str) -> ConfigFileError:
    import difflib  # noqa: PLC0415 - only on the way to an error

    section, _, name = key.rpartition(".")
    nearest = difflib.get_close_matches(key, VALID_KEYS, n=1, cutoff=0.0)[0]
    if not section:  # a key above the first [section], or right name without its section
        nearest = next((valid for valid in VALID_KEYS if valid.endswith(f".{name}")), nearest)
    wanted_section, _, wanted = nearest.partition(".")
    problem = f"unknown key {key!r}; did you mean {wanted!r} in [{wanted_section}]?"
    return ConfigFileError(path, problem, key=key)


def read_token_file(named: object, *, place: str) -> str:
    """The token in the file that `service.token_file` names, without surrounding blanks.

    Raises:
        SettingsError: the file is missing, empty, or readable by others.
    """

    def refuse(problem: str) -> SettingsError:
        return SettingsError(key=TOKEN_FILE_KEY, value=named, source=place, problem=problem)

    if not isinstance(named, str):
        raise refuse("must be the path of a file, in quotes")
    try:
        path = expanded_path(named)
        with path.open("rb") as stream:
            _refuse_unless_private(path, os.fstat(stream.fileno()))
            token = stream.read(_TOKEN_FILE_LIMIT_BYTES).decode("ascii", errors="strict").strip()
    except UnicodeDecodeError:
        raise refuse("holds something that is not a token; write only the token into it") from None
    except ValueError as error:
        raise refuse(str(error)) from None
    except OSError as error:
        raise refuse(f"cannot be read ({error.strerror}); create it with mode 600") from error
    if not token:
        raise refuse("is an empty file; write the token into it")
    return token


def _refuse_unless_private(path: Path, found: os.stat_result) -> None:
    quoted = shlex.quote(str(path))
    if found.st_uid != os.getuid():
        problem = (
            f"holds a secret but belongs to user {found.st_uid};"
            f" run: sudo chown {os.getuid()} {quoted} && chmod 600 {quoted}"
        )
        raise ConfigFileError(path, problem)
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigFileError(path, f"holds a secret that others can read; run: chmod 600 {quoted}")


def write_config_values(path: Path, values: Mapping[str, str | float | bool | None]) -> bool:
    """Set keys (`section.key`) in the file, or remove those that are None.

    The rest of the file stays as it is; the result has mode 0600 and replaces
    the file in one step (where it is a symlink, the file behind it).  Returns
    whether anything changed.

    Raises:
        SettingsError: the file cannot be used, or its layout cannot be followed.
    """
    target = path.resolve()
    try:
        before = target.read_bytes()
    except FileNotFoundError:
        before = b""
    current = parse_config(before, path)
    changed = {key: value for key, value in values.items() if current.get(key) != value}
    if not changed:
        return False
    lines = before.decode().splitlines()
    for key, value in changed.items():
        _set_line(lines, key, value)
    after = "\n".join(lines).encode() + b"\n"
    wanted = {key: value for key, value in (current | changed).items() if value is not None}
    if _parsed_or_none(after, path) != wanted:
        keys = ", ".join(changed)
        raise ConfigFileError(path, f"its layout cannot be edited here; set {keys} in it by hand")
    _replace(target, after)
    return True


def _parsed_or_none(text: bytes, path: Path) -> dict[str, object] | None:
    try:
        return parse_config(text, path)
    except SettingsError:
        return None


def _set_line(lines: list[str], key: str, value: str | float | bool | None) -> None:  # noqa: FBT001
    section, _, name = key.partition(".")
    start, end = _section_range(lines, section)
    at = next((i for i in range(start, end) if re.match(rf"\s*{name}\s*=", lines[i])), None)
    if value is None:
        if at is not None:
            del lines[at]
    elif at is not None:
        lines[at] = f"{name} = {_toml(value)}{_comment_of(lines[at])}"
    elif start < 0:
        lines += [*([""] if lines else []), f"[{section}]", f"{name} = {_toml(value)}"]
    else:
        lines.insert(_after_last_text(lines, start, end), f"{name} = {_toml(value)}")


def _section_range(lines: list[str], section: str) -> tuple[int, int]:
    """Index after the section's header, and of the next header; (-1, -1) without it."""
    headers = [i for i, line in enumerate(lines) if re.match(r"\s*\[", line)]
    wanted = re.compile(rf"\s*\[\s*{section}\s*\]")
    start = next((i for i in headers if wanted.match(lines[i])), None)
    if start is None:
        return -1, -1
    return start + 1, next((i for i in headers if i > start), len(lines))


def _after_last_text(lines: list[str], start: int, end: int) -> int:
    while end > start and not lines[end - 1].strip():
        end -= 1
    return end


def _comment_of(line: str) -> str:
    simple = re.fullmatch(r"""[^=]*=\s*(?:"[^"\\]*"|'[^']*'|[^#"']*?)(\s*#.*)?""", line)
    return (simple.group(1) or "") if simple else ""


def _toml(value: str | float | bool) -> str:  # noqa: FBT001
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"'
        + "".join(c if ord(c) >= 32 and ord(c) != 127 else f"\\u{ord(c):04x}" for c in escaped)
        + '"'
    )


def _replace(path: Path, content: bytes) -> None:
    from pattern_tracker.atomic_file import replace_file  # noqa: PLC0415 - not for readers

    path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    replace_file(path, content, mode=FILE_MODE)
