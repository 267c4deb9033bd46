"""The vocabulary of the two books: what states a capture and an event can be in.

A *capture* is one payload that a hook (or a library call) handed over.  An
*event* is one thing that the intelligence API is owed because of it.  Each is
in exactly one state at any time; a state is never left out of a sum.
"""

from __future__ import annotations

from enum import StrEnum


class CaptureState(StrEnum):
    """Where a payload stands."""

    SPOOLED = "spooled"  # a file in the spool; the only state that is not a ledger row
    INGESTED = "ingested"  # its events are in the ledger
    FILTERED = "filtered"  # nothing to deliver; the cause names the rule
    QUARANTINED = "quarantined"  # could not be read; the raw file is kept
    DROPPED = "dropped"  # deliberately lost; the cause says why


class EventState(StrEnum):
    """Where an event stands."""

    WAITING = "waiting"  # owed to the API, its body is on disk
    DELIVERED = "delivered"  # an answer named it as stored
    QUARANTINED = "quarantined"  # the API refuses this very event; body and answer are kept
    EXPIRED = "expired"  # older than the user's limit before it could be delivered
    DROPPED = "dropped"  # deliberately lost; the cause says why


class EventType(StrEnum):
    """What happened to a pattern, in the words of the intelligence API."""

    CREATED = "pattern_created"
    MODIFIED = "pattern_modified"
    APPLIED = "pattern_applied"


class CaptureSource(StrEnum):
    """By which way a capture came in."""

    HOOK = "hook"


class Cause(StrEnum):
    """Why a row is in its state, where the state alone does not say it.

    Filter rules have names of their own (`pattern_tracker.patterns`).
    """

    NONE = ""
    TURNED_AWAY = "turned-away"  # the hook could not store it: spool over its cap, or disk trouble
    TORN = "torn"  # never became a whole JSON text
    TOO_LARGE = "too-large"
    UNREADABLE = "unreadable"
    CRASHED_PARSER = "crashed-parser"
    REJECTED = "rejected"  # the API refuses it while it accepts others
    UNKNOWN_ANSWER = "unknown-answer"  # an answer nobody can read, time and again
    TOO_OLD = "too-old"
