"""Where an installation puts things."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pattern_tracker.claude_code.registration import HOOK_SCRIPTS
from pattern_tracker.claude_code.settings_file import claude_settings_path
from pattern_tracker.errors import PatternTrackerError
from pattern_tracker.settings import APPLICATION

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMANDS: Final = ("pattern-tracker", "pattern-daemon", "pattern-intelligence")
# What a started program may know of its surroundings, besides HOME, PATH and LANG.
XDG_VARIABLES: Final = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")


class InstallationError(PatternTrackerError):
    """A step of the installation cannot be done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """All paths absolute.  `data` belongs to the installer; everything else has other users."""

    data: Path
    home: Path
    claude_settings: Path

    @property
    def venv(self) -> Path:
        return self.data / "venv"

    @property
    def hooks(self) -> Path:
        """Copies of the hook scripts; `registration.is_ours` knows them by this place."""
        return self.data / "hooks"

    @property
    def links(self) -> Path:
        return self.home / ".local" / "bin"

    def program(self, name: str) -> Path:
        """A command of ours inside the private environment."""
        return self.venv / "bin" / name


def find_places(environ: Mapping[str, str], data: Path | None) -> Places:
    """Places for the user whose HOME is in `environ`; `data` instead of the platform's.

    Raises:
        InstallationError: there is no HOME.
    """
    home = Path(environ.get("HOME", ""))
    if not home.is_absolute():
        raise InstallationError("HOME is not set to an absolute path. Set it and run this again.")
    if data is None:
        import platformdirs  # noqa: PLC0415 - absent where a dry run starts from a bare checkout

        data = platformdirs.user_data_path(APPLICATION)
    return Places(data=data, home=home, claude_settings=claude_settings_path(environ, home))


def hook_script_sources() -> Path:
    """The folder that the hook scripts are copied from: in the package, or in a checkout.

    Raises:
        InstallationError: the package is incomplete.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "hook_scripts", package.parent.parent / "hooks"):
        if all((folder / name).is_file() for name in HOOK_SCRIPTS):
            return folder
    raise InstallationError(f"{package} has no hook scripts. Run install.sh from a fresh checkout.")


def daemon_entry() -> tuple[Path, Path]:
    """The interpreter and the script that start the daemon.

    Raises:
        InstallationError: the package is incomplete.
    """
    # Found, not imported: the library does not depend on the daemon.
    found = find_spec("pattern_daemon")
    if found is None or found.origin is None:
        raise InstallationError("The daemon is missing. Run install.sh from a fresh checkout.")
    return Path(sys.executable), Path(found.origin).with_name("ensure.py")
