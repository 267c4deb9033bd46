"""Starting and stopping the daemon from outside.

Whether one runs is known from its lock alone.  A signal goes only to the process
whose host, boot, pid namespace and start time are those in its record, and only
while the lock is held: never to an innocent process that was given its number.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from pattern_daemon.ensure import daemon_environment, forget_predecessor, run_command
from pattern_daemon.identity import differences, identity_of
from pattern_daemon.lock import DaemonLock
from pattern_daemon.log_view import lines, pid_of, readable
from pattern_daemon.record import DaemonRecord, read_record
from pattern_tracker.errors import PatternTrackerError
from pattern_tracker.file_lock import is_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pattern_tracker.state_dir import StateDir

POLL_SECONDS: Final = 0.05
READY_SECONDS: Final = 30
STOP_SECONDS: Final = 10
KILL_SECONDS: Final = 5
RECORD_SECONDS: Final = 5


class LifecycleError(PatternTrackerError):
    """The daemon could not be started or stopped."""


def start(state_dir: StateDir, config_file: Path, *, say: Callable[[str], None]) -> None:
    """Start the daemon and wait until it is ready; no more than a word if one runs.

    Raises:
        LifecycleError: it ended, or is there but does not deliver; with its reason.
        StateDirError, OSError: the state directory cannot be used.
    """
    state_dir.prepare()
    lock = DaemonLock.take(state_dir.daemon_lock)
    if lock is None:
        record = _record_of_holder(state_dir)
        say(f"already running (pid {record.pid})")
        return
    forget_predecessor(str(state_dir.root))
    process = _spawn(lock, state_dir, config_file)
    record = _await_ready(state_dir, process)
    say(f"started (pid {record.pid})")


def stop(state_dir: StateDir, *, say: Callable[[str], None]) -> None:
    """Stop the daemon: SIGTERM, a wait, SIGKILL; no more than a word if none runs.

    Raises:
        LifecycleError: it cannot be told which process it is, or it would not end.
    """
    if not is_held(state_dir.daemon_lock):
        say("not running")
        return
    record = _record_of_holder(state_dir)
    with ExitStack() as stack:
        target = Target(record, stack)
        target.signal(signal.SIGTERM, state_dir)
        say(f"waiting up to {STOP_SECONDS} s for pid {record.pid} to finish its batch")
        if not _gone_within(STOP_SECONDS, state_dir, target):
            say(f"pid {record.pid} did not end; killing it (nothing that is on disk is lost)")
            target.signal(signal.SIGKILL, state_dir)
            if not _gone_within(KILL_SECONDS, state_dir, target):
                raise LifecycleError(
                    f"pid {record.pid} cannot be killed: it waits for its disk, most likely."
                    " Look at it with `ps`, and try again."
                )
    say(f"stopped (pid {record.pid})")


class Target:
    """The recorded process, pinned where the system can, so that its number is not reused."""

    def __init__(self, record: DaemonRecord, stack: ExitStack) -> None:
        """Find the process.

        Raises:
            LifecycleError: it is not there, or is another one.
        """
        self._recorded = record.process
        # A handle on the process; None where the system has none (macOS, old Linux).
        self._pidfd: int | None = None
        if hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(record.pid)
            except ProcessLookupError:
                raise self._refusal(["no such process"]) from None
            except OSError:
                pass  # a kernel without it: the comparison has to do
            else:
                stack.callback(os.close, self._pidfd)
        self._compare()

    def signal(self, number: signal.Signals, state_dir: StateDir) -> None:
        """Send a signal; none once the lock is free, for then the daemon has ended.

        Raises:
            LifecycleError: the process is another one by now.
        """
        if not is_held(state_dir.daemon_lock):
            return
        try:
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                self._compare()
                os.kill(self._recorded.pid, number)
        except ProcessLookupError:
            pass  # it ended meanwhile, which is what was wanted

    def has_ended(self) -> bool:
        """Whether the process is gone, a successor's lock notwithstanding."""
        if self._pidfd is not None:
            # Readable once it has ended, even if nobody has waited for it yet.
            return bool(select.select([self._pidfd], [], [], 0)[0])
        return bool(differences(self._recorded, identity_of(self._recorded.pid)))

    def _compare(self) -> None:
        found = differences(self._recorded, identity_of(self._recorded.pid))
        if found:
            raise self._refusal(found)

    def _refusal(self, found: list[str]) -> LifecycleError:
        return LifecycleError(
            f"a daemon holds the lock, but it is not process {self._recorded.pid} of this"
            f" machine as its record says ({', '.join(found)}); nothing was signalled."
            " Stop it where it was started (another container or machine?)."
        )


def _spawn(lock: DaemonLock, state_dir: StateDir, config_file: Path) -> subprocess.Popen[bytes]:
    """Start the daemon with the lock, which from then on is its own."""
    try:
        return subprocess.Popen(
            run_command(lock.descriptor, str(state_dir.root), str(config_file)),
            pass_fds=(lock.descriptor,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Until its log is open it has no other place to say what is wrong.
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
            env=daemon_environment(),
        )
    finally:
        lock.release()


def _await_ready(state_dir: StateDir, process: subprocess.Popen[bytes]) -> DaemonRecord:
    for _ in _polls(READY_SECONDS):
        record = read_record(state_dir.daemon_record)
        if record and record.pid == process.pid:
            if record.ready:
                return record
            trouble = record.problem or (record.api if record.api and record.api.reason else None)
            if trouble:
                raise LifecycleError(
                    f"started (pid {process.pid}), but it does not deliver: {trouble.reason}"
                )
        if process.poll() is not None:
            raise LifecycleError(f"the daemon ended at once: {_last_words(state_dir, process)}")
    raise LifecycleError(
        f"started (pid {process.pid}), but not ready after {READY_SECONDS} s."
        " See `pattern-daemon logs`."
    )


def _last_words(state_dir: StateDir, process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace").strip()
    if said:
        return said.splitlines()[-1].removeprefix("pattern-daemon: ")
    own = [line for line in lines(state_dir.daemon_log) if pid_of(line) == process.pid]
    return readable(own[-1], colour=False) if own else f"exit status {process.returncode}"


def _record_of_holder(state_dir: StateDir) -> DaemonRecord:
    """The record of whoever holds the lock; it may have only just taken it."""
    for _ in _polls(RECORD_SECONDS):
        record = read_record(state_dir.daemon_record)
        if record:
            return record
    raise LifecycleError(
        f"a process holds {state_dir.daemon_lock} without saying which it is."
        f" Find it with `fuser '{state_dir.daemon_lock}'`."
    )


def _gone_within(seconds: int, state_dir: StateDir, target: Target) -> bool:
    # The lock alone does not tell: it is given back a moment before the end, and may be that of
    # a successor by now.  It decides where a dead process cannot be told from a living one.
    return any(target.has_ended() for _ in _polls(seconds)) or not is_held(state_dir.daemon_lock)


def _polls(seconds: float) -> Iterator[None]:
    """Let the caller look every so often, at once for the first time."""
    yield
    for _ in range(round(seconds / POLL_SECONDS)):
        time.sleep(POLL_SECONDS)
        yield
