"""`pattern-tracker events`."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from pattern_tracker.cli.output import print_json, print_line, print_rows
from pattern_tracker.clock import utc_text
from pattern_tracker.ledger.summary import read_events
from pattern_tracker.settings import load_settings
from pattern_tracker.state_dir import StateDir

if TYPE_CHECKING:
    import argparse

    from pattern_tracker.ledger.summary import EventLine

HEADINGS = ("entered", "state", "what", "pattern", "tool", "session", "event", "answer")
# At a terminal the whole id would break every line; pipes and --json have it.
_SHORT_ID = 8


def run(options: argparse.Namespace) -> int:
    """Print the newest events, newest first."""
    settings = load_settings(environ=os.environ).settings
    ledger = StateDir(root=settings.state_dir).ledger
    lines = list(read_events(ledger, state=options.state, limit=options.limit))
    if options.json:
        for line in lines:
            print_json(_as_json(line), compact=True)
    elif not sys.stdout.isatty():
        print_rows(HEADINGS, [_row(line) for line in lines])
    elif lines:
        print_rows(HEADINGS, [_row(line, id_length=_SHORT_ID) for line in lines])
    else:
        print_line("no events")
    return 0


def _as_json(line: EventLine) -> dict[str, Any]:
    shown = {"schema": 1, **msgspec.to_builtins(line)}
    for key in ("entered_at", "settled_at"):
        if shown[key] is not None:
            shown[key] = utc_text(shown[key] / 1000)
    return shown


def _row(line: EventLine, *, id_length: int | None = None) -> tuple[str, ...]:
    entered = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line.entered_at / 1000))
    return (
        entered,
        f"{line.state} ({line.cause})" if line.cause else line.state,
        line.event_type.removeprefix("pattern_"),
        line.pattern_id,
        line.tool,
        (line.session_id or "")[:8],
        line.event_id[:id_length],
        line.answer or "",
    )
