"""One recorded payload, through the hook exactly as registered, followed until it is delivered."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import TYPE_CHECKING, Any

from pattern_tracker.claude_code.registration import EDITING_TOOLS, is_ours
from pattern_tracker.claude_code.settings_file import read_settings
from pattern_tracker.events import EventState
from pattern_tracker.installation.places import InstallationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from uuid import UUID

    from pattern_tracker.clock import Clock

    # The state of each event of a capture by event id; None while the capture is unknown.
    EventsOfCapture = Callable[[], Mapping[str, str] | None]

# Long enough for a first start of daemon and API on a slow disk.
DELIVERY_TIMEOUT_SECONDS = 60.0
# An API of somebody else's is there or it is not, and a person is waiting.
REMOTE_TIMEOUT_SECONDS = 15.0
_POLL_SECONDS = 0.02
_HOOK_TIMEOUT_SECONDS = 30.0


def sample_payload(mark: str) -> dict[str, Any]:
    """A PostToolUse payload as Claude Code 2.1.197 sends it, marked as a test by its names."""
    path = "/pattern-tracker-self-test/hello.py"
    content = f'print("pattern-tracker self-test {mark}")\n'
    return {
        "session_id": f"selftest-{mark}",
        "transcript_path": "/pattern-tracker-self-test/transcript.jsonl",
        "cwd": "/pattern-tracker-self-test",
        "permission_mode": "acceptEdits",
        "hook_event_name": "PostToolUse",
        "tool_name": "Write",
        "tool_input": {"file_path": path, "content": content},
        "tool_response": {
            "type": "create",
            "filePath": path,
            "content": content,
            "structuredPatch": [],
            "originalFile": None,
            "userModified": False,
        },
        "tool_use_id": f"toolu_selftest{mark}",
        "duration_ms": 1,
    }


def registered_command(claude_settings: Path) -> str:
    """The command that Claude Code would run after a Write, read back from its settings.

    Raises:
        InstallationError: it is not registered.
    """
    groups = read_settings(claude_settings).get("hooks", {}).get("PostToolUse", [])
    for group in groups:
        if group.get("matcher") == EDITING_TOOLS:
            for hook in group.get("hooks", []):
                if is_ours(hook):
                    return str(hook["command"])
    raise InstallationError(f"{claude_settings} lost the hooks meanwhile. Run install.sh again.")


def run_hook(command: str, payload: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Run a hook as Claude Code does: by `/bin/sh -c`, the payload and a newline on stdin.

    Raises:
        InstallationError: the hook failed or printed something, which it must never do.
    """
    line = json.dumps(payload, ensure_ascii=False).encode() + b"\n"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        input=line,
        env={**environ, "CLAUDE_CODE_SESSION_ID": str(payload["session_id"])},
        cwd="/",
        capture_output=True,
        check=False,
        timeout=_HOOK_TIMEOUT_SECONDS,
    )
    if done.returncode or done.stdout or done.stderr:
        raise InstallationError(
            f"The hook ended with status {done.returncode} and printed"
            f" {(done.stdout + done.stderr)!r}. Run by hand what the settings hold: {command}"
        )


async def wait_until_delivered(
    look: EventsOfCapture, *, clock: Clock, timeout_seconds: float = DELIVERY_TIMEOUT_SECONDS
) -> bool:
    """Whether all events of the capture were delivered within the time."""
    deadline = clock.monotonic() + timeout_seconds
    while True:
        events = look()
        if events and all(state == EventState.DELIVERED for state in events.values()):
            return True
        if clock.monotonic() >= deadline:
            return False
        await clock.sleep(_POLL_SECONDS)


def run_self_test(
    *,
    claude_settings: Path,
    ledger: Path,
    environ: Mapping[str, str],
    mark: str,
    clock: Clock,
    push: Callable[[], None],
    timeout_seconds: float = DELIVERY_TIMEOUT_SECONDS,
) -> float | None:
    """Seconds from the hook's start to the API's acknowledgement; None if it did not come.

    `push` is called once the payload is in the spool: it runs a pass where no
    daemon is there to do it.
    """
    # Imported late: a dry run and an uninstallation work without these dependencies.
    from pattern_tracker.hook_payload import capture_key, decode  # noqa: PLC0415
    from pattern_tracker.ledger.summary import events_of_capture  # noqa: PLC0415

    payload = sample_payload(mark)
    key: UUID = capture_key(decode(json.dumps(payload).encode()), name="", mtime_ns=0)
    started = clock.monotonic()
    run_hook(registered_command(claude_settings), payload, environ)
    push()
    delivered = asyncio.run(
        wait_until_delivered(
            lambda: events_of_capture(ledger, key), clock=clock, timeout_seconds=timeout_seconds
        )
    )
    return clock.monotonic() - started if delivered else None
