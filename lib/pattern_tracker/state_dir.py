"""The state directory: what lies where, and who may look at it.

Everything that must survive a restart is in this one directory, private to its
owner (directories 0700, files 0600).  The layout is part of the contract with
the hook scripts, which know `spool/`, `disabled`, `full`, `cap-kib`,
`turned-away` and `launch-daemon` by name.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from pattern_tracker.errors import StateDirError

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

# The hooks only ever append to the file, because on a full disk there is no creating
# it; and it is never empty, because only a file that owns a block can still grow there.
TURNED_AWAY_PREFIX = b"\n"

# sockaddr_un holds 104 bytes on macOS and 108 on Linux, the final NUL included.
SOCKET_PATH_LIMIT_BYTES = 103
SHARED_DIRECTORY = Path("/tmp")  # noqa: S108 - a private directory is made in it and checked


@dataclass(frozen=True, kw_only=True, slots=True)
class StateDir:
    """Names inside the state directory; touching the disk only in `prepare`."""

    root: Path

    @property
    def spool(self) -> Path:
        """One file per payload, written by the hooks."""
        return self.root / "spool"

    @property
    def quarantine(self) -> Path:
        """Raw payloads that could not be read as what they claim to be."""
        return self.root / "quarantine"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.sqlite3"

    @property
    def drain_lock(self) -> Path:
        """Held (flock) by whoever writes the ledger, for one pass."""
        return self.root / "drain.lock"

    @property
    def daemon_lock(self) -> Path:
        """Held (flock) by the daemon for as long as it lives."""
        return self.root / "daemon.lock"

    @property
    def daemon_record(self) -> Path:
        """What the living daemon says of itself; believed only while the lock is held."""
        return self.root / "daemon.json"

    @property
    def daemon_log(self) -> Path:
        return self.root / "daemon.log"

    @property
    def launcher(self) -> Path:
        """Script written by the installer; `session_start.sh` runs it where it exists."""
        return self.root / "launch-daemon"

    @property
    def disabled_flag(self) -> Path:
        """While it exists the hooks record nothing."""
        return self.root / "disabled"

    @property
    def full_flag(self) -> Path:
        """While it exists the hooks only count."""
        return self.root / "full"

    @property
    def cap_file(self) -> Path:
        """The cap on the spool in KiB, as a decimal number, for the hooks."""
        return self.root / "cap-kib"

    @property
    def turned_away(self) -> Path:
        """One byte per payload that a hook could not store, after `TURNED_AWAY_PREFIX`."""
        return self.root / "turned-away"

    @property
    def ingest_journal(self) -> Path:
        """Names the spool files being parsed, so that a crash can be blamed on one."""
        return self.root / "ingesting"

    @property
    def intelligence_database(self) -> Path:
        """The embedded intelligence API's own store."""
        return self.root / "intelligence.sqlite3"

    @property
    def intelligence_socket(self) -> Path:
        """Where the embedded intelligence API listens.

        A path that a socket address cannot hold is replaced by a short one in a
        private directory under /tmp: not TMPDIR, which a daemon and a shell may
        have different ones of.
        """
        path = self.root / "intelligence.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT_BYTES:
            return path
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        short = SHARED_DIRECTORY / f"pattern-tracker-{os.getuid()}-{digest}"
        return short / "intelligence.sock"

    def turned_away_count(self) -> int:
        """How many payloads the hooks could not store since the file was made."""
        try:
            return max(0, self.turned_away.stat().st_size - len(TURNED_AWAY_PREFIX))
        except FileNotFoundError:
            return 0

    def prepare(self) -> None:
        """Create what is missing and take away other users' access.

        Raises:
            StateDirError: the directory belongs to someone else or cannot be made.
        """
        for directory in (self.root, self.spool, self.quarantine, self.intelligence_socket.parent):
            make_private_directory(directory)
        fd = os.open(self.turned_away, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
        try:
            if os.fstat(fd).st_size == 0:
                os.write(fd, TURNED_AWAY_PREFIX)
        finally:
            os.close(fd)


def make_private_directory(path: Path) -> None:
    """Make `path` a directory of mode 0700 that belongs to this user.

    Raises:
        StateDirError: it is not a directory, belongs to someone else, or cannot be made.
    """
    try:
        _make_directory(path)
        # Where anyone may create names, a link may be somebody's trap.
        shared = bool(path.parent.stat().st_mode & stat.S_IWOTH)
        found = path.lstat() if shared else path.stat()
    except (FileExistsError, NotADirectoryError) as error:
        raise StateDirError(
            path,
            "a file lies where a directory must be",
            "Move it away, or set PATTERN_CACHE_DIR to another directory.",
        ) from error
    except OSError as error:
        raise StateDirError(
            path,
            f"cannot be created ({error.strerror})",
            "Make its parent writable, or set PATTERN_CACHE_DIR to a directory that is.",
        ) from error
    if shared and (not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid()):
        # To give it to this user would be what whoever put it there is waiting for.
        raise StateDirError(
            path,
            f"was put there by user {found.st_uid}, where anyone can",
            f"Have it removed (sudo rm -r '{path}'), or set PATTERN_CACHE_DIR to a directory in"
            " your home whose path is short.",
        )
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StateDirError(
            path,
            f"belongs to user {found.st_uid}, this process runs as {os.getuid()}",
            f"Give it back (sudo chown -R {os.getuid()} '{path}') and do not run as root.",
        )
    if stat.S_IMODE(found.st_mode) != DIRECTORY_MODE:
        path.chmod(DIRECTORY_MODE)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    except FileNotFoundError:
        if path.parent == path:
            raise
        # Not by `parents=True`, which leaves their mode to the umask: whoever can write a
        # parent can put another directory in this one's place.
        _make_directory(path.parent)
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
