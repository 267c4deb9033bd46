"""Which files were being parsed when a process died.

Written before a chunk is parsed and cleared right after, without fsync: it is
about the process dying, not the machine.  Files named in a journal that was
left over are *suspects*: they are parsed one at a time, so that the next crash
has one name to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pattern_tracker.state_dir import FILE_MODE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Once may be a kill or the machine running out of memory for another reason.
CRASHES_TO_CONVICT: Final = 2


class _Journal(msgspec.Struct):
    parsing: list[str] = []
    # File name -> how often a process died while it was parsed alone.
    suspects: dict[str, int] = {}


class IngestJournal:
    """The journal of one state directory; only whoever holds the drain lock uses it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._suspects = self._read_left_over()

    def is_suspect(self, name: str) -> bool:
        """Whether the file was being parsed when an earlier process died."""
        return name in self._suspects

    def is_convicted(self, name: str) -> bool:
        """Whether the file took processes down often enough not to be opened again."""
        return self._suspects.get(name, 0) >= CRASHES_TO_CONVICT

    def begin(self, names: Sequence[str]) -> None:
        """These files are about to be parsed."""
        self._write(_Journal(parsing=list(names), suspects=self._suspects))

    def finish(self, names: Sequence[str]) -> None:
        """They were parsed, well or badly, and the process still lives."""
        for name in names:
            self._suspects.pop(name, None)
        if self._suspects:
            self._write(_Journal(suspects=self._suspects))
        else:
            self._path.unlink(missing_ok=True)

    def _read_left_over(self) -> dict[str, int]:
        try:
            journal = msgspec.json.decode(self._path.read_bytes(), type=_Journal)
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError:
            return {}  # torn by the crash; if a file is to blame, the next one tells
        alone = len(journal.parsing) == 1
        for name in journal.parsing:
            journal.suspects[name] = journal.suspects.get(name, 0) + alone
        return journal.suspects

    def _write(self, journal: _Journal) -> None:
        self._path.touch(mode=FILE_MODE)
        self._path.write_bytes(msgspec.json.encode(journal))
