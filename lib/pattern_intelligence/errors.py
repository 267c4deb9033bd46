"""Exceptions of the service, one class for each thing a caller can do differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pattern_tracker.errors import PatternTrackerError

if TYPE_CHECKING:
    from pathlib import Path

NOT_STARTED = 1
ADDRESS_TAKEN = 2


class IntelligenceError(PatternTrackerError):
    """Base; `exit_code` is what the command line ends with."""

    exit_code = NOT_STARTED


class AddressTakenError(IntelligenceError):
    """Somebody else listens where this process was told to."""

    exit_code = ADDRESS_TAKEN

    def __init__(self, address: str, *, setting: str) -> None:
        self.address = address
        self.setting = setting
        super().__init__(
            f"{address} is already in use. Stop the process that listens there,"
            f" or choose another address with {setting}."
        )


class AddressUnusableError(IntelligenceError):
    """Nobody listens there, and still this process cannot."""

    def __init__(self, address: str, problem: str, remedy: str) -> None:
        self.address = address
        super().__init__(f"{address}: {problem}. {remedy}")


class AccessTokenError(IntelligenceError):
    """A TCP address was asked for without a token that can be trusted."""


class StoreUnusableError(IntelligenceError):
    """The database cannot be opened; it was left as it is."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        self.path = path
        super().__init__(f"{path}: {problem}. {remedy}")


class StoreTooNewError(StoreUnusableError):
    """The database was written by a newer version of this program."""

    def __init__(self, path: Path, *, found: int, supported: int) -> None:
        self.found = found
        self.supported = supported
        super().__init__(
            path,
            f"was written by a newer version (schema {found}, this program knows {supported})",
            "Update this program; nothing was changed.",
        )


class StoreUnavailableError(IntelligenceError):
    """The open store failed; what was asked for was not done, and may be asked again.

    `error_type` is `store_full`, `store_corrupt`, `store_missing` or `store_unavailable`.
    """

    def __init__(self, problem: str, *, error_type: str = "store_unavailable") -> None:
        self.error_type = error_type
        super().__init__(f"The store is not available ({problem}). Nothing was stored; try again.")


class EventRefusedError(IntelligenceError):
    """One event cannot be stored, and says why; the events around it are not affected."""

    def __init__(self, error: str, *, error_type: str, pattern_id: str | None = None) -> None:
        self.error = error
        self.error_type = error_type
        self.pattern_id = pattern_id
        super().__init__(error)


class RequestRefusedError(IntelligenceError):
    """A whole request cannot be read; `status` is the HTTP status of the answer."""

    def __init__(self, error: str, *, error_type: str, status: int) -> None:
        self.error = error
        self.error_type = error_type
        self.status = status
        super().__init__(error)
