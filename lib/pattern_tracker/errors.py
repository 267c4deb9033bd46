"""Exceptions, one class for each thing that a caller can do differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class PatternTrackerError(Exception):
    """Base of everything that this project raises on purpose.

    The message is fit to be shown to a user and ends in what they can do.
    """


class SettingsError(PatternTrackerError):
    """A configuration value cannot be used."""

    def __init__(self, *, key: str, value: object, source: str, problem: str) -> None:
        self.key = key
        self.value = value
        self.source = source
        self.problem = problem
        super().__init__(f"{key} = {value!r} (from {source}): {problem}")


class StateDirError(PatternTrackerError):
    """The state directory cannot be used as it is."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        self.path = path
        super().__init__(f"{path}: {problem}. {remedy}")


class LedgerError(PatternTrackerError):
    """The ledger cannot be used."""


class LedgerTooNewError(LedgerError):
    """The ledger was written by a newer version of this program."""

    def __init__(self, path: Path, *, found: int, supported: int) -> None:
        self.path = path
        self.found = found
        self.supported = supported
        super().__init__(
            f"{path} was written by a newer version (schema {found}, this program knows"
            f" {supported}). Update this program; nothing was changed."
        )


class LockBusyError(PatternTrackerError):
    """Another process holds the lock."""

    def __init__(self, path: Path, *, waited_seconds: float, doing: str) -> None:
        self.path = path
        self.waited_seconds = waited_seconds
        super().__init__(
            f"{doing}: another process holds {path.name} (waited {waited_seconds:.0f} s)."
            " Try again in a moment, or see `pattern-daemon status`."
        )


class EmbeddedApiError(PatternTrackerError):
    """The embedded intelligence API did not come up."""


def explain_os_error(error: OSError) -> str:
    """An error of the operating system, fit to be shown: what was refused, and what to look at."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}. Check its owner and its disk, and try again."
