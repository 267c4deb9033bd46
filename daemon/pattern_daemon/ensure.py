"""Sees to it that a daemon runs, at next to no cost where one does.

Run at every session's start, by path, as `python -I -S ensure.py STATE_DIR CONFIG_FILE`.
The lock is taken before anything but os, fcntl and sys is imported, and goes with the
process into the daemon that replaces it: of any number started at once, one becomes the
daemon and the others are gone in the time that a bare interpreter takes.

It creates nothing where the state directory is missing, and says nothing.
"""

# pathlib and contextlib must not be imported, and where the daemon begins there is no shell.
# ruff: noqa: PTH108, PTH118, PTH208, SIM105, S606
# No `from __future__ import annotations`: that is an import too.
import fcntl
import os
import sys

# What the daemon keeps of its starter's environment.  A cloned project can set any other.
KEPT_VARIABLES = ("HOME", "PATH", "LANG", "TMPDIR")
KEPT_PREFIX = "XDG_"


def main(state_dir: str, config_file: str) -> None:
    """Become the daemon of `state_dir` in a process of its own, unless there is one.

    Raises:
        OSError: there is no such directory, or its lock cannot be opened.
    """
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:  # a stream that is closed here: the lock must not take its place
        null = os.dup(null)
    lock = os.open(os.path.join(state_dir, "daemon.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        os.close(null)
        return
    forget_predecessor(state_dir)
    if os.fork():
        os.close(lock)  # the lock belongs to the open file, which the child has as well
        os.close(null)
        return
    try:
        _become_daemon(lock, null, state_dir, config_file)
    finally:
        os._exit(1)


def forget_predecessor(state_dir: str) -> None:
    """Remove what a daemon that was killed said of itself; for whoever holds the lock."""
    try:
        os.unlink(os.path.join(state_dir, "daemon.json"))
    except OSError:
        pass  # there is none, and if there is, nobody must believe it anyway


def run_command(lock: int, state_dir: str, config_file: str) -> list[str]:
    """The command line of a daemon that is handed its lock as a descriptor."""
    command = [sys.executable, "-I", "-m", "pattern_daemon", "run", "--lock-fd", str(lock)]
    return [*command, "--state-dir", state_dir, "--config", config_file]


def daemon_environment() -> dict[str, str]:
    """The part of this process's environment that the daemon gets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in KEPT_VARIABLES or name.startswith(KEPT_PREFIX)
    }


def _become_daemon(lock: int, null: int, state_dir: str, config_file: str) -> None:
    os.setsid()
    os.chdir("/")
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    # Whatever else was inherited is somebody's, who may wait for its end.
    for name in os.listdir("/dev/fd"):
        if int(name) > 2 and int(name) != lock:
            try:
                os.close(int(name))
            except OSError:  # the descriptor that the listing itself used
                pass
    os.set_inheritable(lock, True)  # noqa: FBT003 - positional only
    os.execve(sys.executable, run_command(lock, state_dir, config_file), daemon_environment())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3])
    except OSError:
        pass  # part of a hook, which never complains
