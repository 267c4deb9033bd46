"""Which hooks are registered, and how one of ours is told from somebody else's.

Observed with Claude Code 2.1.197: a command hook is run by `/bin/sh -c`; exit
status 2 of a PreToolUse hook blocks the tool; the exec form (`args`) is ignored
by older clients, which would then start a bare shell on the payload.  Hence the
shell form with a tail that always succeeds and prints nothing.  Asynchronous
hooks are killed at the end of `claude -p`, so all of these are synchronous.

The shell that Claude Code has started already reads `capture.sh` itself: starting a
second one would cost as much again as all the rest of the hook (`tests/bench`).
It does so in a subshell, because a `.` that fails ends a shell, with status 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

CAPTURE_SCRIPT: Final = "capture.sh"
SESSION_START_SCRIPT: Final = "session_start.sh"
TURN_END_SCRIPT: Final = "turn_end.sh"
# The last is started by the two before it, never registered.
HOOK_SCRIPTS: Final = (
    CAPTURE_SCRIPT,
    SESSION_START_SCRIPT,
    TURN_END_SCRIPT,
    "check_cap.sh",
)

# The installer's directory ends in these two on every platform; together with a
# script's name they mark a command as ours wherever the directory lies.
OUR_DIRECTORY: Final = ("pattern-tracker", "hooks")

EDITING_TOOLS: Final = "Write|Edit|NotebookEdit"
_ALWAYS_SUCCEEDS: Final = "2>/dev/null || :"

# A path between single quotes, as `_quoted` writes it.
_WORD: Final = r"'((?:[^']|'\"'\"')*)'"
_READ: Final = re.compile(rf"\(set -- {_WORD}; \. {_WORD}\) {re.escape(_ALWAYS_SUCCEEDS)}")
_STARTED: Final = re.compile(rf"{_WORD} {_WORD}(?: {re.escape(_ALWAYS_SUCCEEDS)})?")

# A hook takes milliseconds.  Without this a hung disk (a dead network file
# system) would hold every tool for Claude Code's default of 600 s; with much
# less, a 50 MB payload on a busy laptop would be cut.  It also lifts SessionEnd
# from its default of 1.5 s.  A hook that times out does not block the tool.
TIMEOUT_SECONDS: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class HookEntry:
    """One hook of ours: the event, the tools it is for (None: not a tool event), the command."""

    event: str
    matcher: str | None
    command: str

    def as_hook(self) -> dict[str, Any]:
        """The hook as Claude Code's settings spell it."""
        return {"type": "command", "command": self.command, "timeout": TIMEOUT_SECONDS}

    def as_group(self) -> dict[str, Any]:
        """A matcher group that holds only this hook."""
        matcher = {} if self.matcher is None else {"matcher": self.matcher}
        return {**matcher, "hooks": [self.as_hook()]}


def hook_command(script: Path, state_dir: Path | str) -> str:
    """The shell form under which a script is registered; both paths absolute."""
    if script.name == CAPTURE_SCRIPT:
        return f"(set -- {_quoted(state_dir)}; . {_quoted(script)}) {_ALWAYS_SUCCEEDS}"
    # The others have to know where they lie, which only a started script does.
    return f"{_quoted(script)} {_quoted(state_dir)} {_ALWAYS_SUCCEEDS}"


def _quoted(path: Path | str) -> str:
    # shlex.quote leaves plain words bare; one shape for all paths is easier to recognise.
    return "'" + str(path).replace("'", "'\"'\"'") + "'"


def registered_hooks(hooks_dir: Path, state_dir: Path) -> tuple[HookEntry, ...]:
    """Everything that belongs in Claude Code's settings, in the order of a session."""
    capture = hook_command(hooks_dir / CAPTURE_SCRIPT, state_dir)
    session_start = hook_command(hooks_dir / SESSION_START_SCRIPT, state_dir)
    turn_end = hook_command(hooks_dir / TURN_END_SCRIPT, state_dir)
    return (
        HookEntry(event="SessionStart", matcher=None, command=session_start),
        HookEntry(event="PreToolUse", matcher=EDITING_TOOLS, command=capture),
        HookEntry(event="PostToolUse", matcher=EDITING_TOOLS, command=capture),
        HookEntry(event="PostToolUse", matcher="Bash", command=capture),
        HookEntry(event="PostToolUseFailure", matcher=EDITING_TOOLS, command=capture),
        HookEntry(event="PostToolUseFailure", matcher="Bash", command=capture),
        HookEntry(event="SubagentStop", matcher=None, command=capture),
        HookEntry(event="Stop", matcher=None, command=turn_end),
        HookEntry(event="SessionEnd", matcher=None, command=capture),
    )


def is_ours(hook: object) -> bool:
    """Whether this installer, in any version and any data directory, wrote the hook.

    A command that does more than ours ever did (a wrapper, a second command) is
    the user's own, even if it calls our script.
    """
    command = hook.get("command") if isinstance(hook, dict) else None
    if not isinstance(command, str):
        return False
    if read := _READ.fullmatch(command):
        script = _unquoted(read[2])
    elif started := _STARTED.fullmatch(command):
        script = _unquoted(started[1])
    else:
        return False
    return script.name in HOOK_SCRIPTS and script.parts[-3:-1] == OUR_DIRECTORY


def _unquoted(word: str) -> PurePath:
    return PurePath(word.replace("'\"'\"'", "'"))
