"""Files that are there whole or not at all: written beside their place, flushed, renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(target: Path, content: bytes, *, mode: int) -> None:
    """Put `content` in `target`'s place in one step; its directory is there already.

    Raises:
        OSError: that cannot be done; what was there still is.
    """
    temporary = write_beside(target, content, mode=mode)
    try:
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    flush_directory(target.parent)


def write_beside(target: Path, content: bytes, *, mode: int) -> Path:
    """A finished file in `target`'s directory, to be renamed over it, or to be removed.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def flush_directory(path: Path) -> None:
    """Let a rename inside `path` survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
