"""From spool files to ledger rows: read, redact, extract, commit, then unlink.

A chunk of files is one transaction.  A file leaves the spool only after the
commit that holds it; one whose key is known already leaves without a trace,
which is what makes a crash between the two harmless.

No input can wedge the line.  What does not parse is given time (it may still be
being written) and then quarantined; what is too large, or took the process down
twice while it was alone, is quarantined unread; what makes the extraction raise is quarantined at
once and reported.
"""

from __future__ import annotations

import errno
import sqlite3
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from pattern_tracker.client.wire import encode_event
from pattern_tracker.events import CaptureSource, CaptureState, Cause
from pattern_tracker.hook_payload import (
    CAPTURE_NAMESPACE,
    PayloadError,
    capture_key,
    decode,
    event_id,
)
from pattern_tracker.ingest_journal import IngestJournal
from pattern_tracker.ledger.captures import CaptureRow
from pattern_tracker.ledger.events import NewEvent
from pattern_tracker.patterns.extract import Change, Filtered, extract
from pattern_tracker.patterns.lineage import PlannedEvent, plan_events
from pattern_tracker.spool import MAX_FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pattern_tracker.clock import Clock
    from pattern_tracker.hook_payload import HookPayload
    from pattern_tracker.ledger import Ledger
    from pattern_tracker.redact import Redactor
    from pattern_tracker.spool import Spool, SpoolFile, TornFileWatch
    from pattern_tracker.state_dir import StateDir

# One transaction: large enough that its fsync is shared, small enough that
# neither memory nor the time to the next delivery suffers.
CHUNK_FILES: Final = 128
CHUNK_BYTES: Final = 4 * 1024 * 1024

# Of a session, a tool or an agent, in characters: what the API takes, and the ledger keeps.
NAME_LIMIT: Final = 255

# Of the process or the machine; they pass, and say nothing about the file.
_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What became of one spool file before it meets the ledger."""

    file: SpoolFile
    row: CaptureRow
    # Without what the tool was given and gave, and with names that may be kept.
    payload: HookPayload | None = None
    changes: tuple[Change, ...] = ()
    redactions: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class IngestReport:
    """What a pass took in; `problems` are for the log."""

    captures: int = 0
    events: int = 0
    quarantined: int = 0
    turned_away: int = 0
    problems: list[str] = field(default_factory=list)


class Ingest:
    """Takes files out of the spool and enters them in the ledger, for one destination."""

    def __init__(
        self,
        *,
        state_dir: StateDir,
        spool: Spool,
        ledger: Ledger,
        destination: int,
        redactor: Redactor,
        torn: TornFileWatch,
        clock: Clock,
    ) -> None:
        self._state_dir = state_dir
        self._spool = spool
        self._ledger = ledger
        self._destination = destination
        self._redactor = redactor
        self._torn = torn
        self._clock = clock
        self._journal = IngestJournal(state_dir.ingest_journal)
        self.report = IngestReport()

    def chunks(self, files: Sequence[SpoolFile]) -> Iterator[list[SpoolFile]]:
        """Cut `files` into transactions, in their order; suspects of a crash come alone."""
        chunk: list[SpoolFile] = []
        size = 0
        for file in files:
            if self._torn.is_pending(file):
                continue
            alone = self._journal.is_suspect(file.label)
            full = len(chunk) == CHUNK_FILES or size + file.size > CHUNK_BYTES
            if chunk and (alone or full):
                yield chunk
                chunk, size = [], 0
            if alone:
                yield [file]
                continue
            chunk.append(file)
            size += file.size
        if chunk:
            yield chunk

    def read(self, chunk: Sequence[SpoolFile]) -> list[Reading]:
        """Read, redact and extract the files of one chunk; touches no ledger.

        Raises:
            OSError: the journal cannot be written, or the machine is short of what it takes
                to open a file; the files stay.
        """
        names = [file.label for file in chunk]
        self._journal.begin(names)
        try:
            readings = [reading for file in chunk if (reading := self._read(file))]
        except OSError:
            self._journal.finish(names)  # no file is to blame
            raise
        self._journal.finish(names)
        readings.sort(key=_order)
        return readings

    def enter(self, readings: Sequence[Reading]) -> None:
        """Enter what was read, in one transaction, and take its files out of the spool.

        Raises:
            sqlite3.Error, OSError: nothing of it was entered; the files stay.
        """
        try:
            self._commit(readings)
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - any fault of ours must cost one file only
            self._commit_one_by_one(readings, error)

    def _commit_one_by_one(self, readings: Sequence[Reading], error: Exception) -> None:
        if len(readings) == 1:
            problem = f"{type(error).__name__} while entering it"
            file = readings[0].file
            self._commit([self._set_aside(file, Cause.CRASHED_PARSER, problem=problem)])
            return
        for reading in readings:
            try:
                self._commit([reading])
            except (sqlite3.Error, OSError):
                raise
            except Exception as fault:  # noqa: BLE001 - as above
                self._commit_one_by_one([reading], fault)

    def _commit(self, readings: Sequence[Reading]) -> None:
        with self._ledger.transaction():
            events = [self._enter(reading) for reading in readings]
        for reading, entered in zip(readings, events, strict=True):
            if entered is not None:
                self.report.captures += 1
                self.report.quarantined += reading.row.state is CaptureState.QUARANTINED
                self.report.events += entered
            if reading.row.file:
                self._spool.move_to(self._state_dir.quarantine, reading.file, reading.row.file)
            else:
                self._spool.remove(reading.file)

    def count_turned_away(self) -> None:
        """Bring what the hooks could only count into the book of captures."""
        count = self._state_dir.turned_away_count()
        self.report.turned_away += self._ledger.count_turned_away(count)

    def _read(self, file: SpoolFile) -> Reading | None:
        """Make out what a file is; None while it may still be being written."""
        if self._journal.is_convicted(file.label):
            return self._set_aside(file, Cause.CRASHED_PARSER)
        if file.size > MAX_FILE_BYTES:
            return self._set_aside(file, Cause.TOO_LARGE)
        try:
            raw = self._spool.read(file)
            return None if raw is None else self._interpret(file, decode(raw))
        except OSError as error:
            if error.errno in _SHORTAGES:
                raise
            return self._set_aside(file, Cause.UNREADABLE, problem=str(error))
        except PayloadError as error:
            if error.cause != "not-json":
                return self._set_aside(file, error.cause, problem=error.detail)
            return self._set_aside(file, Cause.TORN) if self._torn.gives_up(file) else None
        except Exception as error:  # noqa: BLE001 - any fault of ours must cost this file only
            problem = f"{type(error).__name__} while extracting"
            return self._set_aside(file, Cause.CRASHED_PARSER, problem=problem)

    def _interpret(self, file: SpoolFile, payload: HookPayload) -> Reading:
        redactions: Counter[str] = Counter()

        def redact(text: str) -> str:
            clean = self._redactor.redact_text(text)
            redactions.update(clean.kinds)
            return clean.text

        found = extract(payload, redact=redact)
        filtered = isinstance(found, Filtered)
        key = capture_key(payload, name=file.label, mtime_ns=file.mtime_ns)
        payload = _fit_to_keep(payload, redact)
        return Reading(
            file=file,
            row=CaptureRow(
                key=key,
                state=CaptureState.FILTERED if filtered else CaptureState.INGESTED,
                cause=found.rule if isinstance(found, Filtered) else Cause.NONE,
                via=CaptureSource.HOOK,
                session_id=payload.session_id or None,
                hook_event=payload.hook_event_name,
                tool=payload.tool_name or "",
                captured_at=file.mtime_ns // 1_000_000,
                entered_at=self._now_ms(),
            ),
            payload=payload,
            changes=() if isinstance(found, Filtered) else found,
            redactions=redactions,
        )

    def _set_aside(self, file: SpoolFile, cause: str, *, problem: str = "") -> Reading:
        """A capture that only has its file to be known by."""
        key = uuid.uuid5(CAPTURE_NAMESPACE, f"unread {file.label} {file.mtime_ns} {file.size}")
        if problem:
            self.report.problems.append(f"{file.label} is quarantined as {key}: {problem}")
        return Reading(
            file=file,
            row=CaptureRow(
                key=key,
                state=CaptureState.QUARANTINED,
                cause=cause,
                captured_at=file.mtime_ns // 1_000_000,
                entered_at=self._now_ms(),
                file=f"{key}.json",
            ),
        )

    def _enter(self, reading: Reading) -> int | None:
        """Returns how many events it made, None where the capture is known already."""
        capture = self._ledger.captures.enter(reading.row)
        if capture is None:
            return None
        events = 0
        for change in reading.changes:
            for planned in plan_events(change, version_of=self._version_of):
                event = self._new_event(reading, change, planned)
                entered = self._ledger.events.enter(
                    event, capture=capture, destination=self._destination, now=self._now_ms()
                )
                events += entered is not None
        return events

    def _version_of(self, pattern_id: str) -> str | None:
        return self._ledger.events.version_of(pattern_id, destination=self._destination)

    def _new_event(self, reading: Reading, change: Change, planned: PlannedEvent) -> NewEvent:
        payload = reading.payload
        assert payload is not None
        identity = event_id(reading.row.key, planned.slot)
        pattern = planned.pattern
        body = encode_event(
            event_id=str(identity),
            session_id=payload.session_id,
            occurred_at=_utc(reading.row.captured_at),
            event_type=planned.event_type,
            pattern_id=pattern.pattern_id,
            pattern_name=pattern.name,
            pattern_version=planned.version,
            tool_name=payload.tool_name,
            file_path=change.path,
            language=pattern.language,
            code=pattern.code,
            sha256=pattern.sha256,
            size_bytes=pattern.size,
            fingerprint_only=pattern.fingerprint_only,
            parent_pattern_ids=planned.parents,
            agent_id=payload.agent_id,
            agent_type=payload.agent_type,
            redactions=reading.redactions,
        )
        return NewEvent(
            event_id=identity,
            event_type=planned.event_type,
            pattern_id=pattern.pattern_id,
            version=planned.version,
            parents=planned.parents,
            body=body,
        )

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)


def _fit_to_keep(payload: HookPayload, redact: Callable[[str], str]) -> HookPayload:
    """What ledger and wire need of `payload` beside its changes.

    A project names its own agents and tools, so these are trusted no more than its code.
    """

    def name(text: str | None) -> str | None:
        return text and redact(text)[:NAME_LIMIT]

    return msgspec.structs.replace(
        payload,
        hook_event_name=name(payload.hook_event_name),
        session_id=name(payload.session_id),
        tool_name=name(payload.tool_name),
        agent_id=name(payload.agent_id),
        agent_type=name(payload.agent_type),
        tool_input=None,
        tool_response=None,
    )


def _order(reading: Reading) -> tuple[int, bool, str]:
    """Modification times tie often; then what came before the fact goes first."""
    return (
        reading.file.mtime_ns,
        reading.row.hook_event != "PreToolUse",
        reading.file.name,
    )


def _utc(epoch_ms: int) -> str:
    """As the API takes it: 2026-01-31T12:00:00.000Z."""
    seconds, milliseconds = divmod(epoch_ms, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03d}Z"
