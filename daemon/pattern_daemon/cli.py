"""The command line of `pattern-daemon`; what a command needs is imported only to run it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pattern_daemon.place import Place
from pattern_tracker.command_line import abandon_stdout, flush_or_abandon_stdout, whole_number
from pattern_tracker.errors import (
    PatternTrackerError,
    SettingsError,
    StateDirError,
    explain_os_error,
)
from pattern_tracker.standard_streams import open_closed_streams
from pattern_tracker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FAILED: Final = 1
_STATE_DIR_VARIABLE: Final = "PATTERN_CACHE_DIR"
_NO_FILE: Final = Path(os.devnull)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1 (failed) or what `status` says: 3 not running, 4 degraded."""
    open_closed_streams()
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace, Place], int] = options.run_command
    try:
        status = command(options, _place(options))
        sys.stdout.flush()
    except PatternTrackerError as error:
        sys.stderr.write(f"pattern-daemon: {error}\n")
    except BrokenPipeError:
        abandon_stdout()
        return 0
    except OSError as error:
        sys.stderr.write(f"pattern-daemon: {explain_os_error(error)}\n")
        flush_or_abandon_stdout()
    else:
        return status
    return FAILED


def _place(options: argparse.Namespace) -> Place:
    from pattern_tracker.settings import default_config_file, load_settings  # noqa: PLC0415 - as above
    from pattern_tracker.state_dir import StateDir  # noqa: PLC0415 - as above

    config_file = getattr(options, "config", None) or default_config_file()
    root = getattr(options, "state_dir", None)
    if root is None:
        own = {name: value for name, value in os.environ.items() if name == _STATE_DIR_VARIABLE}
        try:
            # Only this variable: the others do not matter to a daemon, not even if they are wrong.
            root = load_settings(environ=own, config_file=config_file).settings.state_dir
        except SettingsError as error:
            # A daemon that runs must be found, and stopped, with the file broken meanwhile.
            if options.run_command not in {_stop, _status, _logs}:
                raise
            root = load_settings(environ=own, config_file=_NO_FILE).settings.state_dir
            sys.stderr.write(f"pattern-daemon: {error}; looking in {root}\n")
    return Place(state_dir=StateDir(root=root.absolute()), config_file=config_file.absolute())


def _start(_: argparse.Namespace, place: Place) -> int:
    from pattern_daemon import lifecycle  # noqa: PLC0415 - as above

    _tell_what_stays_here(place)
    lifecycle.start(place.state_dir, place.config_file, say=_say)
    return 0


def _stop(_: argparse.Namespace, place: Place) -> int:
    from pattern_daemon import lifecycle  # noqa: PLC0415 - as above

    lifecycle.stop(place.state_dir, say=_say)
    return 0


def _restart(options: argparse.Namespace, place: Place) -> int:
    return _stop(options, place) or _start(options, place)


def _run(options: argparse.Namespace, place: Place) -> int:
    from pattern_daemon.run import run  # noqa: PLC0415 - as above

    return run(place, lock_descriptor=options.lock_fd)


def _ensure(_: argparse.Namespace, place: Place) -> int:
    from pattern_daemon import ensure  # noqa: PLC0415 - as above

    try:
        ensure.main(str(place.state_dir.root), str(place.config_file))
    except FileNotFoundError as error:
        raise StateDirError(
            place.state_dir.root, "does not exist", "`pattern-daemon start` makes it."
        ) from error
    return 0


def _status(options: argparse.Namespace, place: Place) -> int:
    from pattern_daemon import status_view  # noqa: PLC0415 - as above
    from pattern_daemon.status import EXIT_STATUS, read_status  # noqa: PLC0415 - as above
    from pattern_tracker.clock import SystemClock  # noqa: PLC0415 - as above

    now = SystemClock().now()
    status = read_status(place.state_dir, place.load_settings, now=now)
    if options.json:
        _say(status_view.as_json(status))
    elif sys.stdout.isatty():
        status_view.print_table(status, now=now)
    else:
        sys.stdout.write(status_view.as_lines(status, now=now))
    return EXIT_STATUS[status.condition]


def _logs(options: argparse.Namespace, place: Place) -> int:
    from pattern_daemon.log_view import print_log  # noqa: PLC0415 - as above

    print_log(place.state_dir.daemon_log, last=options.lines, following=options.follow)
    return 0


def _tell_what_stays_here(place: Place) -> None:
    """Say which of the shell's settings the daemon will not see."""
    from pattern_tracker.settings import load_settings  # noqa: PLC0415 - as above

    loaded = load_settings(environ=os.environ, config_file=place.config_file)
    own = place.load_settings()
    here = [
        source.removeprefix("environment ")
        for field, source in loaded.sources.items()
        if source.startswith("environment ")
        and field != "state_dir"
        and getattr(loaded.settings, field) != getattr(own, field)
    ]
    if here:
        sys.stderr.write(
            f"note: {', '.join(here)} of this shell does not reach the daemon, which reads"
            f" {place.config_file} only; `pattern-tracker config` shows both\n"
        )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    place = argparse.ArgumentParser(add_help=False)
    # No default: given before the command, it must survive the command's own parser.
    unset = argparse.SUPPRESS
    place.add_argument(
        "--state-dir", type=Path, metavar="DIR", default=unset, help="spool, ledger, lock and log"
    )
    place.add_argument(
        "--config", type=Path, metavar="FILE", default=unset, help="instead of config.toml"
    )
    parser = argparse.ArgumentParser(
        prog="pattern-daemon",
        description="Delivers what the hooks recorded to the intelligence API.",
        parents=[place],
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, run_command: Callable[[argparse.Namespace, Place], int], text: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, parents=[place])
        command.set_defaults(run_command=run_command)
        return command

    add("start", _start, "start the daemon and wait until it is ready")
    add("stop", _stop, "stop it: SIGTERM, a wait, SIGKILL")
    add("restart", _restart, "stop, then start")
    status = add("status", _status, "exit 0: running, 3: not running, 4: degraded")
    status.add_argument("--json", action="store_true", help="for programs")
    run = add("run", _run, "be the daemon, in the foreground, until SIGTERM or Ctrl-C")
    run.add_argument("--lock-fd", type=int, metavar="N", help="descriptor with the lock held")
    add("ensure", _ensure, "start it if it does not run; do not wait, say nothing")
    logs = add("logs", _logs, "print the log")
    logs.add_argument("-f", "--follow", action="store_true", help="and go on until Ctrl-C")
    logs.add_argument(
        "-n", "--lines", type=whole_number(at_least=0), metavar="N", help="only the last N lines"
    )
    return parser
