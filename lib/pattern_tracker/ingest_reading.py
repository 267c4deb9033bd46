"""From spool files to readings: what each file is, redacted and extracted, before any ledger.

No input can wedge the line.  What does not parse is given time (it may still be
being written) and then quarantined; what is too large, or took the process down
twice while it was alone, is quarantined unread; what makes the extraction raise is
quarantined at once and reported.
"""

from __future__ import annotations

import errno
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from pattern_tracker.events import CaptureSource, CaptureState, Cause
from pattern_tracker.hook_payload import CAPTURE_NAMESPACE, PayloadError, capture_key, decode
from pattern_tracker.ingest_journal import IngestJournal
from pattern_tracker.ledger.captures import CaptureRow
from pattern_tracker.patterns.extract import Change, Filtered, extract
from pattern_tracker.spool import MAX_FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pattern_tracker.clock import Clock
    from pattern_tracker.hook_payload import HookPayload
    from pattern_tracker.redact import Redactor
    from pattern_tracker.spool import Spool, SpoolFile, TornFileWatch
    from pattern_tracker.state_dir import StateDir

# One transaction: large enough that its fsync is shared, small enough that
# neither memory nor the time to the next delivery suffers.
CHUNK_FILES: Final = 128
CHUNK_BYTES: Final = 4 * 1024 * 1024

# Of a session, a tool or an agent, in characters: what the API takes, and the ledger keeps.
NAME_LIMIT: Final = 255

# How many of them are remembered; a pass meets a handful.
MOST_NAMES: Final = 1_000

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


class Reader:
    """Reads spool files, chunk by chunk."""

    def __init__(
        self,
        *,
        state_dir: StateDir,
        spool: Spool,
        redactor: Redactor,
        torn: TornFileWatch,
        clock: Clock,
    ) -> None:
        self._spool = spool
        self._redactor = redactor
        self._torn = torn
        self._clock = clock
        self._journal = IngestJournal(state_dir.ingest_journal)
        # Names that come again and again, as they may be kept.
        self._names: dict[str, str] = {}
        # What went wrong with which file, for the log.
        self.problems: list[str] = []

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

    def _read(self, file: SpoolFile) -> Reading | None:
        """Make out what a file is; None while it may still be being written."""
        if self._journal.is_convicted(file.label):
            return self.set_aside(file, Cause.CRASHED_PARSER)
        if file.size > MAX_FILE_BYTES:
            return self.set_aside(file, Cause.TOO_LARGE)
        try:
            raw = self._spool.read(file)
            return None if raw is None else self._interpret(file, decode(raw))
        except OSError as error:
            if error.errno in _SHORTAGES:
                raise
            return self.set_aside(file, Cause.UNREADABLE, problem=str(error))
        except PayloadError as error:
            if error.cause != "not-json":
                return self.set_aside(file, error.cause, problem=error.detail)
            return self.set_aside(file, Cause.TORN) if self._torn.gives_up(file) else None
        except Exception as error:  # noqa: BLE001 - any fault of ours must cost this file only
            problem = f"{type(error).__name__} while extracting"
            return self.set_aside(file, Cause.CRASHED_PARSER, problem=problem)

    def _interpret(self, file: SpoolFile, payload: HookPayload) -> Reading:
        redactions: Counter[str] = Counter()

        def redact(text: str) -> str:
            clean = self._redactor.redact_text(text)
            redactions.update(clean.kinds)
            return clean.text

        found = extract(payload, redact=redact)
        filtered = isinstance(found, Filtered)
        key = capture_key(payload, name=file.label, mtime_ns=file.mtime_ns)
        payload = self._fit_to_keep(payload)
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

    def _fit_to_keep(self, payload: HookPayload) -> HookPayload:
        """What ledger and wire need of `payload` beside its changes.

        A project names its own agents and tools, so these are trusted no more than its code.
        """
        return msgspec.structs.replace(
            payload,
            hook_event_name=self._name(payload.hook_event_name),
            session_id=self._name(payload.session_id),
            tool_name=payload.tool_name and self._name(payload.tool_name),
            agent_id=payload.agent_id and self._name(payload.agent_id),
            agent_type=payload.agent_type and self._name(payload.agent_type),
            tool_input=None,
            tool_response=None,
        )

    def _name(self, text: str) -> str:
        known = self._names.get(text)
        if known is None:
            known = self._redactor.redact_text(text).text[:NAME_LIMIT]
            if len(text) <= NAME_LIMIT and len(self._names) < MOST_NAMES:
                self._names[text] = known
        return known

    def set_aside(self, file: SpoolFile, cause: str, *, problem: str = "") -> Reading:
        """A capture that only has its file to be known by."""
        key = uuid.uuid5(CAPTURE_NAMESPACE, f"unread {file.label} {file.mtime_ns} {file.size}")
        if problem:
            self.problems.append(f"{file.label} is quarantined as {key}: {problem}")
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

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)


def _order(reading: Reading) -> tuple[int, bool, str]:
    """Modification times tie often; then what came before the fact goes first."""
    return (
        reading.file.mtime_ns,
        reading.row.hook_event != "PreToolUse",
        reading.file.name,
    )
