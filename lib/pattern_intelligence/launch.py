"""From parsed options to a running service: defaults, token, state directory."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from pattern_intelligence.access_token import find_token
from pattern_intelligence.address import TcpAddress, UnixAddress
from pattern_intelligence.defaults import HOST, PORT, TCP_REQUESTS_PER_MINUTE
from pattern_intelligence.serve import ServeConfig, serve
from pattern_tracker.clock import SystemClock
from pattern_tracker.settings import default_state_dir
from pattern_tracker.state_dir import StateDir, make_private_directory

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def launch(options: argparse.Namespace, *, announce: Callable[[str], None]) -> None:
    """Serve as `options` say, until told to stop.

    Raises:
        PatternTrackerError: the service could not start; the message says what to do.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(serve(_config(options), clock=SystemClock(), announce=announce))


def _config(options: argparse.Namespace) -> ServeConfig:
    # Only the default places are ours to create and to make private.
    state_dir = StateDir(root=default_state_dir())
    if options.database is None or (options.socket is None and not options.tcp):
        make_private_directory(state_dir.root)
        make_private_directory(state_dir.intelligence_socket.parent)
    database = options.database or state_dir.intelligence_database
    limit: int | None = options.requests_per_minute
    if limit is None:
        limit = TCP_REQUESTS_PER_MINUTE if options.tcp else 0
    return ServeConfig(
        address=_address(options, state_dir),
        database=database.absolute(),
        token=_token(options),
        retention_days=options.retention_days,
        requests_per_minute=limit,
        until_stdin_closes=options.until_stdin_closes,
    )


def _address(options: argparse.Namespace, state_dir: StateDir) -> TcpAddress | UnixAddress:
    if options.tcp:
        return TcpAddress(
            host=options.host or HOST,
            port=PORT if options.port is None else options.port,
        )
    return UnixAddress(path=(options.socket or state_dir.intelligence_socket).absolute())


def _token(options: argparse.Namespace) -> str | None:
    if not options.tcp:
        return None
    return find_token(token_file=options.token_file, environment=os.environ)
