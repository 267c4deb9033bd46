"""The command line of `pattern-intelligence`; whatever serves is imported only to serve."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pattern_intelligence.defaults import (
    HOST,
    PORT,
    RETENTION_DAYS,
    TCP_REQUESTS_PER_MINUTE,
)
from pattern_intelligence.errors import NOT_STARTED, IntelligenceError
from pattern_tracker.command_line import whole_number
from pattern_tracker.errors import PatternTrackerError
from pattern_tracker.standard_streams import open_closed_streams
from pattern_tracker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1 (could not start) or 2 (usage, address taken)."""
    open_closed_streams()
    parser = _parser()
    options = parser.parse_args(arguments)
    options.tcp = options.host is not None or options.port is not None
    if options.socket and options.tcp:
        parser.error("--socket excludes --host and --port")
    if options.token_file and not options.tcp:
        parser.error("--token-file is for TCP: give --host or --port too")
    # Database, socket and locks are nobody else's business.
    os.umask(0o077)
    # Only now: `--help` and a mistyped option need no web server.
    from pattern_intelligence.launch import launch  # noqa: PLC0415

    try:
        launch(options, announce=_announce)
    except PatternTrackerError as error:
        sys.stderr.write(f"pattern-intelligence: {error}\n")
        return error.exit_code if isinstance(error, IntelligenceError) else NOT_STARTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pattern-intelligence", description="The reference intelligence API, on SQLite."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve",
        help="answer requests until SIGTERM",
        description="Without --host and --port it listens on a unix socket.",
    )
    serve.add_argument("--socket", type=Path, metavar="PATH", help="unix socket to listen on")
    serve.add_argument("--host", metavar="H", help=f"TCP address (default {HOST})")
    serve.add_argument(
        "--port",
        type=whole_number(at_least=0, at_most=65_535),
        metavar="N",
        help=f"TCP port (default {PORT}; 0: any)",
    )
    serve.add_argument(
        "--token-file",
        type=Path,
        metavar="PATH",
        help="file of mode 0600 with the token for TCP, instead of INTELLIGENCE_API_TOKEN",
    )
    serve.add_argument("--database", type=Path, metavar="PATH", help="SQLite file")
    serve.add_argument(
        "--retention-days",
        type=whole_number(at_least=0),
        default=RETENTION_DAYS,
        metavar="N",
        help="forget events and code after N days (default %(default)s; 0: never)",
    )
    serve.add_argument(
        "--requests-per-minute",
        type=whole_number(at_least=0),
        metavar="N",
        help=f"0: no limit (default {TCP_REQUESTS_PER_MINUTE} on TCP, 0 on a socket)",
    )
    serve.add_argument(
        "--until-stdin-closes", action="store_true", help="stop when stdin reaches its end"
    )
    return parser


def _announce(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
