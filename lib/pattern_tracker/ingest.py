"""From readings to ledger rows: enter, commit, then unlink.

A chunk of files is one transaction.  A file leaves the spool only after the
commit that holds it; one whose key is known already leaves without a trace,
which is what makes a crash between the two harmless.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pattern_tracker.client.wire import encode_event
from pattern_tracker.events import CaptureState, Cause
from pattern_tracker.hook_payload import event_id
from pattern_tracker.ingest_reading import Reader, Reading
from pattern_tracker.ledger.events import NewEvent
from pattern_tracker.patterns.lineage import PlannedEvent, plan_events

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pattern_tracker.clock import Clock
    from pattern_tracker.ledger import Ledger
    from pattern_tracker.patterns.extract import Change
    from pattern_tracker.redact import Redactor
    from pattern_tracker.spool import Spool, SpoolFile, TornFileWatch
    from pattern_tracker.state_dir import StateDir


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
        self._clock = clock
        self._reader = Reader(
            state_dir=state_dir, spool=spool, redactor=redactor, torn=torn, clock=clock
        )
        self.report = IngestReport(problems=self._reader.problems)

    def chunks(self, files: Sequence[SpoolFile]) -> Iterator[list[SpoolFile]]:
        """Cut `files` into transactions, in their order; suspects of a crash come alone."""
        return self._reader.chunks(files)

    def take(self, chunk: Sequence[SpoolFile]) -> None:
        """Enter the files of one chunk and take them out of the spool.

        Raises:
            sqlite3.Error, OSError: nothing of the chunk was entered; the files stay.
        """
        readings = self._reader.read(chunk)
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
            self._commit([self._reader.set_aside(file, Cause.CRASHED_PARSER, problem=problem)])
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
            parent_known=change.before_known,
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


def _utc(epoch_ms: int) -> str:
    """As the API takes it: 2026-01-31T12:00:00.000Z."""
    seconds, milliseconds = divmod(epoch_ms, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03d}Z"
