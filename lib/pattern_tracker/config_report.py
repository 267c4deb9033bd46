"""What is configured, where each value came from, and what the daemon sees instead.

The rows that `pattern-tracker config` prints.  A token is only ever said to be
set, never shown in part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pattern_tracker.config_keys import KEYS
from pattern_tracker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pattern_tracker.config_keys import Key
    from pattern_tracker.settings import Loaded

NOT_SET: Final = "not set"
TOKEN_SET: Final = "set"  # noqa: S105 - what is shown in a token's place
NO_URL: Final = "embedded API (no URL is set)"


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigRow:
    """One setting, for a person to read.

    Attributes:
        key: Its name in the file, `section.key`.
        variable: Its environment variable; None if it has none.
        value: What a command in this shell uses.
        source: Where that came from.
        daemon_value: What a daemon that a hook started uses.
        daemon_source: Where that came from.
        differs: Whether the two are not the same; tokens are compared too.
    """

    key: str
    variable: str | None
    value: str
    source: str
    daemon_value: str
    daemon_source: str
    differs: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigReport:
    """All settings in the order of the documentation, and the file they may come from."""

    config_file: Path
    config_file_exists: bool
    rows: tuple[ConfigRow, ...]

    @property
    def differences(self) -> tuple[ConfigRow, ...]:
        """Rows where the daemon does not see what this shell sees."""
        return tuple(row for row in self.rows if row.differs)


def report_config(environ: Mapping[str, str], config_file: Path | None = None) -> ConfigReport:
    """Load the configuration as a shell and as a hook's daemon would.

    Raises:
        SettingsError: a value in the environment or the file cannot be used.
    """
    shell = load_settings(environ=environ, config_file=config_file)
    daemon = load_settings(environ=None, config_file=shell.config_file)
    return ConfigReport(
        config_file=shell.config_file,
        config_file_exists=shell.config_file.is_file(),
        rows=tuple(_row(key, shell, daemon) for key in KEYS),
    )


def _row(key: Key, shell: Loaded, daemon: Loaded) -> ConfigRow:
    here, there = getattr(shell.settings, key.field), getattr(daemon.settings, key.field)
    return ConfigRow(
        key=key.in_file,
        variable=key.variable,
        value=_shown(key, here),
        source=shell.sources[key.field],
        daemon_value=_shown(key, there),
        daemon_source=daemon.sources[key.field],
        differs=here != there,
    )


def _shown(key: Key, value: object) -> str:
    if key.kind == "token":
        return NOT_SET if value is None else TOKEN_SET
    if value is None:
        return NO_URL if key.field == "service_url" else NOT_SET
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
