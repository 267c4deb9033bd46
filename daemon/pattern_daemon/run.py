"""The daemon as a process: lock, log, record, signals, and an orderly end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, ExitStack, suppress
from typing import TYPE_CHECKING, Final

from pattern_daemon.alarm import Alarm
from pattern_daemon.identity import identity_of
from pattern_daemon.lock import DaemonLock
from pattern_daemon.log import LogFile, describe, make_log
from pattern_daemon.log_view import readable
from pattern_daemon.loop import Loop
from pattern_daemon.record import DaemonRecord, read_record, remove_record
from pattern_daemon.self_report import SelfReport
from pattern_daemon.supervisor import ApiSupervisor
from pattern_daemon.watch import FileWatch, SpoolWatch
from pattern_tracker.clock import SystemClock
from pattern_tracker.drain import Drain
from pattern_tracker.embedded_api import EmbeddedApi
from pattern_tracker.errors import LedgerError, LedgerTooNewError, PatternTrackerError
from pattern_tracker.ledger.schema import open_for_reading
from pattern_tracker.version import __version__

if TYPE_CHECKING:
    from pattern_daemon.log import Log
    from pattern_daemon.place import Place
    from pattern_daemon.record import ApiState
    from pattern_tracker.clock import Clock
    from pattern_tracker.state_dir import StateDir

# A pass takes about 2 s; what is in flight after that is sent again by the next daemon.
PASS_GRACE_SECONDS: Final = 2.0


def run(place: Place, *, lock_descriptor: int | None = None) -> int:
    """Be the daemon until a signal ends it; returns the exit status.

    `lock_descriptor` is an inherited lock, which is held already.

    Raises:
        PatternTrackerError, OSError: it could not begin.
    """
    os.umask(0o077)
    os.chdir("/")
    _default_signals()
    with ExitStack() as stack:
        state_dir = place.state_dir
        state_dir.prepare()
        lock = _take_lock(state_dir, lock_descriptor)
        if lock is None:
            sys.stderr.write(f"pattern-daemon: already running{_by_whom(state_dir)}\n")
            return 1
        stack.callback(lock.release)
        file = LogFile(state_dir.daemon_log, echo=_echo if sys.stderr.isatty() else None)
        stack.callback(file.close)
        clock = SystemClock()
        log = make_log(file, clock=clock)
        record = _first_record(clock)
        report = SelfReport(record=record, path=state_dir.daemon_record, log=log, clock=clock)
        stack.callback(remove_record, state_dir.daemon_record)
        if lock_descriptor is not None:
            _let_go_of_starter()
        return _run_logged(place, lock, report, log, clock)


def _run_logged(place: Place, lock: DaemonLock, report: SelfReport, log: Log, clock: Clock) -> int:
    log.info("started", version=__version__, state_dir=str(place.state_dir.root))
    try:
        asyncio.run(_serve(place, lock, report, log, clock))
    except PatternTrackerError as error:
        log.critical("ended", reason=str(error))
        return 1
    except Exception as error:
        log.critical("ended", reason=describe(error))
        raise
    log.info("stopped")
    return 0


async def _serve(
    place: Place, lock: DaemonLock, report: SelfReport, log: Log, clock: Clock
) -> None:
    alarm = Alarm()
    state_dir = place.state_dir
    _refuse_newer_ledger(state_dir)
    async with AsyncExitStack() as stack:
        drain = await stack.enter_async_context(
            Drain(load_settings=place.load_settings, clock=clock)
        )

        def api_changed(state: ApiState | None) -> None:
            report.api_changed(state)
            if state and state.pid:  # what waited for it can go
                alarm.ring()

        api = ApiSupervisor(
            make_child=lambda: EmbeddedApi(state_dir, log=report.api_said),
            clock=clock,
            changed=api_changed,
        )
        stack.push_async_callback(api.stop)
        loop = Loop(
            run_pass=drain.run_pass,
            load_settings=place.load_settings,
            check_lock=lock.check,
            api=api,
            spool=SpoolWatch(state_dir.spool, clock=clock),
            config=FileWatch(place.config_file),
            report=report,
            sleep=alarm.sleep,
            clock=clock,
        )
        await _until_signalled(loop, alarm, log)


async def _until_signalled(loop: Loop, alarm: Alarm, log: Log) -> None:
    running = asyncio.create_task(loop.run())
    events = asyncio.get_running_loop()
    stopping = False

    def stop(number: signal.Signals) -> None:
        nonlocal stopping
        log.info("stopping", signal=number.name)
        loop.stop()
        alarm.ring()
        # The second signal is impatient.
        events.call_later(0 if stopping else PASS_GRACE_SECONDS, running.cancel)
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        events.add_signal_handler(number, stop, number)
    events.add_signal_handler(signal.SIGHUP, alarm.ring)
    try:
        await running
    except asyncio.CancelledError:
        if not stopping:
            raise
        log.info("a pass was broken off; what it had not delivered is sent again later")


def _refuse_newer_ledger(state_dir: StateDir) -> None:
    """Find that out before anything says "ready"; what else may be wrong, a pass deals with.

    Raises:
        LedgerTooNewError: a newer program wrote it.
    """
    try:
        connection = open_for_reading(state_dir.ledger)
    except LedgerTooNewError:
        raise
    except LedgerError:
        return
    if connection:
        connection.close()


def _take_lock(state_dir: StateDir, descriptor: int | None) -> DaemonLock | None:
    path = state_dir.daemon_lock
    if descriptor is None:
        return DaemonLock.take(path)
    return DaemonLock.adopt(path, descriptor)


def _by_whom(state_dir: StateDir) -> str:
    record = read_record(state_dir.daemon_record)
    return f" (pid {record.pid})" if record else ""


def _first_record(clock: Clock) -> DaemonRecord:
    process = identity_of(os.getpid())
    assert process is not None
    return DaemonRecord(process=process, version=__version__, since=clock.now())


def _default_signals() -> None:
    # A shell ignores these two for what it runs in the background, and a mask is inherited.
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _let_go_of_starter() -> None:
    """Whoever started the daemon may wait for the end of its stderr; the log is open now."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


def _echo(line: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"{readable(line, colour=False)}\n")
