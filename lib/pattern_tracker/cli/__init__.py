"""The command line of `pattern-tracker`.

Each command lives in a module of its own that is imported only when it is
called, and imports only what it needs: a status line or a prompt may call us
all day.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from pattern_tracker.command_line import abandon_stdout, flush_or_abandon_stdout, whole_number
from pattern_tracker.errors import PatternTrackerError, explain_os_error
from pattern_tracker.events import EventState
from pattern_tracker.standard_streams import open_closed_streams
from pattern_tracker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

# What a shell reports for a process that SIGINT ended.
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    open_closed_streams()
    options = _parser().parse_args(arguments)
    try:
        status: int = _run(options)
    except PatternTrackerError as error:
        sys.stderr.write(f"pattern-tracker: {error}\n")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        abandon_stdout()
        return 0
    except OSError as error:
        sys.stderr.write(f"pattern-tracker: {explain_os_error(error)}\n")
        flush_or_abandon_stdout()
        return 1
    return status


def _run(options: argparse.Namespace) -> int:
    from importlib import import_module  # noqa: PLC0415 - see the module's text

    command = import_module(f"pattern_tracker.cli.{options.command}_command")
    status: int = command.run(options)
    sys.stdout.flush()
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pattern-tracker",
        description="Shows and moves what Claude Code wrote, on its way to the intelligence API.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    stats = commands.add_parser("stats", help="where everything stands")
    stats.add_argument("--json", action="store_true", help="as JSON, schema 1")

    commands.add_parser(
        "sync",
        help="take in and deliver what waits, now and without the daemon",
        description="Exits with 1 if nothing moved while events wait.",
    )

    events = commands.add_parser("events", help="the newest events")
    events.add_argument(
        "--state",
        choices=[str(state) for state in EventState],
        help="only those in this state",
    )
    events.add_argument(
        "--limit", type=whole_number(at_least=1), default=20, metavar="N", help="at most N (20)"
    )
    events.add_argument("--json", action="store_true", help="one JSON object a line")

    config = commands.add_parser(
        "config",
        help="each setting, its source, and where shell and daemon differ",
    )
    config.add_argument("--json", action="store_true", help="as JSON")
    return parser
