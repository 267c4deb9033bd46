"""The status for people: a table on a terminal, the same lines without one elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pattern_daemon.status import Condition
from pattern_tracker.clock import utc_text
from pattern_tracker.command_line import printable
from pattern_tracker.settings import EMBEDDED

if TYPE_CHECKING:
    from pattern_daemon.status import DaemonStatus

_COLOURS = {Condition.RUNNING: "green", Condition.STARTING: "yellow", Condition.DEGRADED: "red"}


def as_json(status: DaemonStatus) -> str:
    """For programs: the status with its times as text, as in all JSON of this project."""
    shown: dict[str, Any] = msgspec.to_builtins(status)
    for part in (shown, shown["gate"] or {}):
        for key in ("since", "last_pass_at", "retry_at"):
            if part.get(key) is not None:
                part[key] = utc_text(part[key])
    return msgspec.json.format(msgspec.json.encode(shown)).decode()


def rows(status: DaemonStatus, *, now: float) -> list[tuple[str, str]]:
    """Label and text of each line."""
    backlog = status.backlog
    waiting = f"{backlog.events} events, {backlog.payloads} payloads not yet read"
    if backlog.events_for_others:
        waiting += f"; {backlog.events_for_others} events for other destinations"
    found = [
        ("daemon", _daemon(status)),
        ("destination", _destination(status)),
        ("gate", _gate(status, now)),
        ("waiting", waiting),
        ("last pass", utc_text(status.last_pass_at) if status.last_pass_at else ""),
        *(("problem", problem) for problem in status.problems),
        *(("note", note) for note in status.notes),
        ("log", status.log),
    ]
    # A reason may be in a server's words.
    return [(label, printable(text)) for label, text in found if text]


def as_lines(status: DaemonStatus, *, now: float) -> str:
    """For pipes and files."""
    return "".join(f"{label:<13}{text}\n" for label, text in rows(status, now=now))


def print_table(status: DaemonStatus, *, now: float) -> None:
    """For a terminal; NO_COLOR is honoured."""
    from rich.console import Console  # noqa: PLC0415 - start-up cost where there is no terminal
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows(status, now=now):
        colour = ""
        if label == "daemon":
            colour = _COLOURS.get(status.condition, "yellow")
        elif label == "problem":
            colour = "red"
        # Text, not markup: a reason may hold square brackets.
        table.add_row(Text(label, style="bold"), Text(text, style=colour))
    Console().print(table)


def _daemon(status: DaemonStatus) -> str:
    if status.pid is None or status.since is None:
        return str(status.condition)
    about = f"pid {status.pid}, version {status.version}, since {utc_text(status.since)}"
    return f"{status.condition} ({about})"


def _destination(status: DaemonStatus) -> str:
    if status.destination != EMBEDDED:
        return status.destination or ""
    if status.api is None:
        return "embedded API"
    restarts = f", {status.api.restarts} restarts" if status.api.restarts else ""
    return f"embedded API (pid {status.api.pid or 'none'}{restarts})"


def _gate(status: DaemonStatus, now: float) -> str:
    gate = status.gate
    if gate is None:
        return ""
    parts = [str(gate.state)]
    if gate.reason:
        parts.append(gate.reason)
    if gate.retry_at is not None:
        parts.append(f"next try in {max(0.0, gate.retry_at - now):.0f} s")
    if gate.remedy:
        parts.append(gate.remedy)
    return "; ".join(parts)
