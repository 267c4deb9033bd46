"""Which daemon is meant: its state directory and its configuration file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pattern_tracker.settings import Settings
    from pattern_tracker.state_dir import StateDir


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Both paths absolute, because the daemon changes its directory."""

    state_dir: StateDir
    config_file: Path

    def load_settings(self) -> Settings:
        """What the daemon goes by: the file only, since a hook's environment is not to be trusted.

        Raises:
            SettingsError: a value cannot be used.
        """
        from pattern_tracker.settings import load_settings  # noqa: PLC0415 - start-up cost

        loaded = load_settings(environ=None, config_file=self.config_file)
        return replace(loaded.settings, state_dir=self.state_dir.root)
