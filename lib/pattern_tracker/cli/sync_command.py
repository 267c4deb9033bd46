"""`pattern-tracker sync`: passes until nothing moves, with or without a daemon."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pattern_tracker.cli.output import print_line
from pattern_tracker.clock import SystemClock
from pattern_tracker.drain import Drain, PassReport
from pattern_tracker.embedded_api import serving
from pattern_tracker.errors import LedgerError
from pattern_tracker.file_lock import is_held
from pattern_tracker.ledger.summary import read_summary
from pattern_tracker.settings import load_settings
from pattern_tracker.spool import usage_of
from pattern_tracker.state_dir import StateDir

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from pattern_tracker.settings import Settings


def run(options: argparse.Namespace) -> int:  # noqa: ARG001 - every command takes them
    """Deliver what waits; 1 if nothing moved while events wait."""
    try:
        return asyncio.run(_sync())
    except sqlite3.Error as error:
        raise LedgerError(
            f"the ledger cannot be written ({error}). Make room on the disk, and check that the"
            " state directory is yours (`pattern-tracker config` shows it); what lies there stays."
        ) from error


async def _sync() -> int:
    settings = _load()
    state_dir = StateDir(root=settings.state_dir)
    state_dir.prepare()
    totals = _Totals()
    async with AsyncExitStack() as stack:
        if settings.service_url is None:
            await stack.enter_async_context(serving(state_dir))
        drain = await stack.enter_async_context(Drain(load_settings=_load, clock=SystemClock()))
        if is_held(state_dir.drain_lock):
            sys.stderr.write("another process is draining right now; waiting for it\n")
        show = stack.enter_context(_progress(_backlog(settings, state_dir)))
        report = PassReport(more=True)
        # An API that is down must not keep payloads from being taken in.
        while report.more and (report.ingest.captures or not report.delivery.reason):
            report = await drain.run_pass(
                forced=not totals.passes, progress=lambda now: show(totals.moved + now.moved)
            )
            totals.add(report)
            if report.damaged:
                print_line(f"the ledger was damaged and is kept as {report.damaged}")
    waiting = _waiting(settings, state_dir)
    print_line(totals.told(waiting, report))
    return 1 if waiting and not totals.moved else 0


@dataclass(slots=True)
class _Totals:
    """What all passes of this command did."""

    passes: int = 0
    captures: int = 0
    delivered: int = 0
    moved: int = 0

    def add(self, report: PassReport) -> None:
        self.passes += 1
        self.captures += report.ingest.captures
        self.delivered += report.delivery.delivered
        self.moved += report.moved

    def told(self, waiting: int, last: PassReport) -> str:
        """One line: what moved, what did not, and why."""
        parts = [f"{self.captures} captures taken in", f"{self.delivered} events delivered"]
        if waiting:
            why = f" ({last.delivery.reason})" if last.delivery.reason else ""
            parts.append(f"{waiting} waiting{why}")
        if last.spooled:
            parts.append(f"{last.spooled} files not complete yet")
        return ", ".join(parts)


def _load() -> Settings:
    loaded = load_settings(environ=os.environ)
    in_file = load_settings(environ=None, config_file=loaded.config_file).settings
    # Whether to record is for the hooks' own environment or the file to say; a variable
    # of this shell must not switch it off for every session.
    return replace(loaded.settings, tracking_enabled=in_file.tracking_enabled)


def _waiting(settings: Settings, state_dir: StateDir) -> int:
    """How many events wait for the present destination; others are not for this command."""
    return read_summary(state_dir.ledger).waiting.get(settings.destination, 0)


def _backlog(settings: Settings, state_dir: StateDir) -> int:
    """How many steps there are, as far as can be told: a payload is taken in, then delivered."""
    spooled = usage_of(state_dir.spool).count
    try:
        waiting = _waiting(settings, state_dir)
    except LedgerError:
        waiting = 0  # a damaged one is set aside by the pass, a newer one stops it
    return 2 * spooled + waiting


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's standard error; nothing elsewhere."""
    if not sys.stderr.isatty() or not total:
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only for a terminal
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)

        def show(moved: int) -> None:
            # A capture may become several events, known only once it is read.
            bar.update(task, completed=moved, total=max(total, moved))

        yield show
