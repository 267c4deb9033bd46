"""What the server's `metadata.error_type` means for the event that it is about.

The public service answers HTTP 400 to bad data, to an unknown parent and to a
stopped database alike; only the type tells them apart.  It is the name of a Python
or asyncpg exception, or one of a few words of its own.

What this module refuses to do: guess.  A type that is in no table is UNKNOWN, which
is retried a limited number of times, never treated as proof against the event.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """What an answer says about one event."""

    STORED = "stored"  # named as stored, or already there
    MISSING_PARENT = "missing-parent"  # the pattern it refers to is not there (yet)
    REJECTED = "rejected"  # bad data, for good
    UNKNOWN = "unknown"  # an error type nobody knows: a capped number of tries
    OUTAGE = "outage"  # not the event's fault: again later
    CONFLICT = "conflict"  # lost a race against an identical one: once more, at once


_OUTAGE: Final = frozenset(
    {
        # the network between the service and its database
        "ConnectionRefusedError",
        "ConnectionResetError",
        "ConnectionAbortedError",
        "ConnectionError",
        "BrokenPipeError",
        "OSError",
        "gaierror",
        "TimeoutError",
        "CancelledError",
        # asyncpg: the connection or its pool
        "InterfaceError",
        "InternalClientError",
        "PostgresConnectionError",
        "ConnectionDoesNotExistError",
        "ConnectionFailureError",
        "ConnectionRejectionError",
        "ClientCannotConnectError",
        "TooManyConnectionsError",
        "CannotConnectNowError",
        "AdminShutdownError",
        "CrashShutdownError",
        "IdleInTransactionSessionTimeoutError",
        "QueryCanceledError",
        "DeadlockDetectedError",
        "SerializationError",
        "LockNotAvailableError",
        "DiskFullError",
        "OutOfMemoryError",
        "InsufficientResourcesError",
        "ReadOnlySQLTransactionError",
        # for the service's operator: not installed, being migrated, or not permitted
        "UndefinedTableError",
        "UndefinedColumnError",
        "UndefinedFunctionError",
        "UndefinedObjectError",
        "InvalidCatalogNameError",
        "InvalidSchemaNameError",
        "InvalidPasswordError",
        "InvalidAuthorizationSpecificationError",
        "InsufficientPrivilegeError",
        # SQLite behind a service
        "OperationalError",
    }
)

_CONFLICT: Final = frozenset(
    {
        "foreign_key_violation",
        "ForeignKeyViolationError",
        "unique_violation",
        "UniqueViolationError",
    }
)

_REJECTED: Final = frozenset(
    {
        "validation_error",
        "StringDataRightTruncationError",
        "UntranslatableCharacterError",
        "CharacterNotInRepertoireError",
        "InvalidTextRepresentationError",
        "NumericValueOutOfRangeError",
        "NotNullViolationError",
        "CheckViolationError",
        "DataError",
        "IndexError",
    }
)

# The server's words, at their beginning or after its "Validation error: ".  Anchored,
# because the rest of an error text may quote the event.
_NOT_FOUND: Final = re.compile(
    r"(?:validation error: )?(?:parent )?pattern not found", re.IGNORECASE
)


def verdict_of(error_type: str, text: str) -> Verdict:
    """What a failure of one event means, by the type and the words of its error."""
    if error_type in _OUTAGE:
        return Verdict.OUTAGE
    if error_type in _CONFLICT:
        return Verdict.CONFLICT
    if _NOT_FOUND.match(text.lstrip()):
        return Verdict.MISSING_PARENT
    return Verdict.REJECTED if error_type in _REJECTED else Verdict.UNKNOWN
