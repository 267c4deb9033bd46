"""What the everyday session is worth: its events at the API, and its entries in both books."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pattern_tracker.patterns.identity import pattern_id
from tests.e2e.everyday_session import (
    FILES_AFTER,
    FILES_BEFORE,
    GREET,
    REPORT,
    SHAPES_AFTER,
    SHAPES_BEFORE,
    SHAPES_EDITED,
)
from tests.e2e.stored_events import StoredEvent

if TYPE_CHECKING:
    from pathlib import Path

LANGUAGES = {"py": "python", "ini": "ini", "ipynb": "notebook"}

# Of the 18 payloads: each of the 6 changes comes before and after the fact; two Bash calls, and
# the starts and ends of session, subagent and turn, change no file that we know of.
EVERYDAY_CAPTURES: dict[str, Any] = {
    "total": 18,
    "spooled": 0,
    "ingested": 6,
    "filtered": 12,
    "quarantined": 0,
    "dropped": 0,
    "causes": {"filtered": {"before-the-fact": 6, "not-a-file-change": 6}},
}


def events_book(*, waiting: int = 0, delivered: int = 0) -> dict[str, Any]:
    """The book of events in which nothing has gone wrong."""
    lost = {"quarantined": 0, "expired": 0, "dropped": 0}
    total = waiting + delivered
    return {"total": total, "waiting": waiting, "delivered": delivered, **lost, "causes": {}}


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Makes the events that are expected of one session in `project`."""

    project: Path
    session_id: str

    def created(self, tool: str, name: str, code: str, *, agent_id: str = "") -> StoredEvent:
        """Code that was not known before."""
        return self._event("pattern_created", tool, name, code, agent_id=agent_id)

    def modified(
        self, tool: str, name: str, code: str, *, before: str, version: str
    ) -> StoredEvent:
        """Code that replaced `before`."""
        parent = pattern_id(LANGUAGES[name.rpartition(".")[2]], before)
        return self._event("pattern_modified", tool, name, code, version=version, parents=(parent,))

    def _event(
        self,
        event_type: str,
        tool: str,
        name: str,
        code: str,
        *,
        version: str = "1.0.0",
        parents: tuple[str, ...] = (),
        agent_id: str = "",
    ) -> StoredEvent:
        language = LANGUAGES[name.rpartition(".")[2]]
        return StoredEvent(
            path=str(self.project / name),
            version=version,
            event_type=event_type,
            pattern_id=pattern_id(language, code),
            parents=parents,
            language=language,
            code=code,
            tool=tool,
            session_id=self.session_id,
            agent_id=agent_id,
        )


def everyday_events(project: Path, *, session_id: str, agent_id: str) -> list[StoredEvent]:
    """The events of a session that has been played in `project`, sorted.

    A file that was there when it was first changed is told as it was, too: as the parent.
    `agent_id` is the subagent's.
    """
    one = Expected(project=project, session_id=session_id)
    ini, book = FILES_BEFORE["settings.ini"], FILES_BEFORE["study.ipynb"]
    # Claude Code lays a notebook's JSON out in its own way.
    book_after = (project / "study.ipynb").read_text(encoding="utf-8")
    events = [
        one.created("Write", "greet.py", GREET),
        one.created("Write", "settings.ini", ini),
        one.modified(
            "Write", "settings.ini", FILES_AFTER["settings.ini"], before=ini, version="1.0.1"
        ),
        one.created("Edit", "shapes.py", SHAPES_BEFORE),
        one.modified("Edit", "shapes.py", SHAPES_EDITED, before=SHAPES_BEFORE, version="1.0.1"),
        one.modified("Edit", "shapes.py", SHAPES_AFTER, before=SHAPES_EDITED, version="1.0.2"),
        one.created("NotebookEdit", "study.ipynb", book),
        one.modified("NotebookEdit", "study.ipynb", book_after, before=book, version="1.0.1"),
        one.created("Write", "report.py", REPORT, agent_id=agent_id),
    ]
    return sorted(events)
