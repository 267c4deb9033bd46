"""The line that each step of an installation prints."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from pattern_tracker.command_line import abandon_stdout


@dataclass(frozen=True, kw_only=True, slots=True)
class Steps:
    """How far to go, and one line about each step on standard output."""

    dry_run: bool = False

    def report(self, what: str, *, changed: bool) -> None:
        """A step whose outcome is known; `what` reads after "done" and after "would"."""
        done = "would" if self.dry_run else "done"
        self._line(done if changed else "unchanged", what)

    def skip(self, what: str) -> None:
        """A step that is not needed, and why."""
        self._line("skipped", what)

    def note(self, what: str) -> None:
        """Something that the user should know, ending in what to do."""
        self._line("note", what)

    def _line(self, kind: str, what: str) -> None:
        try:
            sys.stdout.write(f"{kind:>10}  {what}\n")
            sys.stdout.flush()  # the programs that steps start write to the same place
        except BrokenPipeError:
            abandon_stdout()  # `./install.sh | head`: no reason to stop half way
