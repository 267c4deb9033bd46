"""Runs the real Claude Code once, without a terminal and offline, against a scripted model.

`run_claude` starts the binary with an empty environment, a HOME of the test's own, and, where the
system permits it, in a network that consists of a loopback interface and nothing else. What it
starts it also ends: at the timeout, everything that descends from it goes too.

It never installs anything: `npm ci` in this folder does, and `claude_binary` only looks.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tests.e2e.process_family import end_session, processes_of
from tests.e2e.scripted_model import ScriptedModel, serving
from tests.e2e.sealed_network import isolation_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.e2e.scripted_model import Turn

HERE = Path(__file__).parent
# Read at import: by the time a test runs, its environment holds no CLAUDE_ variables any more.
NAMED_BINARY = os.environ.get("CLAUDE_BINARY")
TOOLS = "Bash,Read,Write,Edit,NotebookEdit,Agent"
STARTUP_SECONDS = 10.0
TEMPORARY = ".claude/tmp"

WRITES = "Write|Edit|NotebookEdit"
RECORDED = (
    ("PreToolUse", WRITES),
    ("PostToolUse", WRITES),
    ("PostToolUseFailure", WRITES),
    ("PostToolUse", "Bash"),
    ("PostToolUseFailure", "Bash"),
    ("SessionStart", None),
    ("Stop", None),
    ("SessionEnd", None),
    ("SubagentStop", None),
)


def claude_binary() -> Path | None:
    """`CLAUDE_BINARY`, else the native binary that `npm ci` brought; None where there is neither.

    The platform's own package is looked at first: it is there also after
    `npm ci --ignore-scripts`, which leaves `.bin/claude` a stub.
    """
    if NAMED_BINARY:
        return Path(NAMED_BINARY).absolute()
    modules = HERE / "node_modules"
    found = [*modules.glob("@anthropic-ai/claude-code-*/claude"), modules / ".bin" / "claude"]
    return next((path for path in found if os.access(path, os.X_OK)), None)


def hook_settings(command: str | Callable[[str], str]) -> dict[str, Any]:
    """Settings that run `command`, or what it returns for an event, at each recorded event."""
    hooks: dict[str, list[dict[str, Any]]] = {}
    for event, matcher in RECORDED:
        line = command if isinstance(command, str) else command(event)
        group: dict[str, Any] = {"hooks": [{"type": "command", "command": line}]}
        hooks.setdefault(event, []).append(
            group if matcher is None else {"matcher": matcher} | group
        )
    return {"hooks": hooks}


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """What the model was told about one of its calls."""

    tool: str
    is_error: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a session went.

    `stdout` is the object that `--output-format json` prints, {} where it printed none.
    `requests` are all bodies that the model was sent. `duration` is in seconds.
    """

    returncode: int
    stdout: dict[str, Any]
    stderr: str
    requests: list[dict[str, Any]]
    tool_results: list[ToolResult]
    played_out: bool
    isolated: bool
    duration: float

    @property
    def session_id(self) -> str:
        return str(self.stdout["session_id"])


class ClaudeTimedOutError(AssertionError):
    """The session did not end in time; it and what it started have been killed.

    `requests` is how many the model had been sent, `running` what ran at the end, by pid: together
    they say whether Claude Code waited for the model, a tool, a hook, or itself.
    """

    def __init__(self, *, timeout: float, requests: int, running: dict[int, str]) -> None:
        self.timeout = timeout
        self.requests = requests
        self.running = running
        super().__init__(f"still running {timeout} s on, after {requests} requests: {running}")


def run_claude(
    prompt: str,
    *,
    turns: Sequence[Turn],
    home: Path,
    project: Path,
    settings: Mapping[str, Any] | None = None,
    project_settings: Mapping[str, Any] | None = None,
    extra_env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    timeout: float = 45,
    binary: Path | None = None,
) -> Result:
    """Play `turns` to one `claude -p PROMPT` in `project` and wait for its end.

    `settings` replaces `HOME/.claude/settings.json`, `project_settings` the project's; None leaves
    what is there. `extra_env` is added to an otherwise empty environment, `args` come before the
    prompt. Raises `ClaudeTimedOutError` after `timeout` seconds.
    """
    _write_settings(home, settings)
    _write_settings(project, project_settings)
    (home / TEMPORARY).mkdir(parents=True, exist_ok=True)
    model = ScriptedModel(turns)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        launch = _Launch(
            command=[str(binary or claude_binary()), *_arguments(args), "--", prompt],
            environment=session_environment(home) | dict(extra_env or {}),
            home=home,
            project=project,
            out=out,
            err=err,
        )
        started = time.monotonic()
        returncode = _play(launch, model, timeout)
        return Result(
            returncode=returncode,
            stdout=_json_object(_text_of(out)),
            stderr=_text_of(err),
            requests=model.requests,
            tool_results=_tool_results(model.main_requests),
            played_out=model.played_out,
            isolated=bool(isolation_prefix()),
            duration=time.monotonic() - started,
        )


@dataclass(frozen=True, kw_only=True)
class _Launch:
    """One start of the binary. Its output goes to files: a detached child may hold a pipe open."""

    command: Sequence[str]
    environment: dict[str, str]
    home: Path
    project: Path
    out: IO[bytes]
    err: IO[bytes]


def session_environment(home: Path) -> dict[str, str]:
    """All that Claude Code gets to see, but for the address of the model."""
    environment = {
        "HOME": str(home),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "ANTHROPIC_API_KEY": "sk-ant-dummy",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
        "IS_SANDBOX": "1",  # the private namespace can make us look like root
        # Else /tmp/claude-UID: another user's where the namespace changes the uid, and Claude Code
        # then ends at once, in silence and with status 0.
        "CLAUDE_CODE_TMPDIR": str(home / TEMPORARY),
    }
    if not isolation_prefix():
        # Second best: whatever asks for another host is sent to a port where nobody listens.
        environment |= {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        environment |= {"NO_PROXY": "127.0.0.1"}
    return environment


def _write_settings(folder: Path, settings: Mapping[str, Any] | None) -> None:
    if settings is not None:
        file = folder / ".claude" / "settings.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings, indent=2), encoding="utf-8")


def _arguments(extra: Sequence[str]) -> list[str]:
    fixed = ["-p", "--permission-mode", "acceptEdits", "--allowedTools", TOOLS]
    return [*fixed, "--output-format", "json", *extra]


def _play(launch: _Launch, model: ScriptedModel, timeout: float) -> int:
    with _started(launch) as (process, listener), serving(model, listener):
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            running = processes_of(launch.home)
            raise ClaudeTimedOutError(
                timeout=timeout, requests=len(model.requests), running=running
            ) from None
        finally:
            end_session(process, launch.home)


@contextmanager
def _started(launch: _Launch) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    ours, theirs = socket.socketpair()
    seal = "sealed" if isolation_prefix() else "open"
    entry = [sys.executable, "-I", str(HERE / "sealed_network.py"), str(theirs.fileno()), seal]
    with ours, theirs:
        process = subprocess.Popen(
            [*isolation_prefix(), *entry, *launch.command],
            cwd=launch.project,
            env=launch.environment,
            stdin=subprocess.DEVNULL,
            stdout=launch.out,
            stderr=launch.err,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        try:
            listener = _received_listener(ours)
        except (OSError, IndexError) as error:
            end_session(process, launch.home)
            raise RuntimeError(f"the session did not start: {_text_of(launch.err)}") from error
        yield process, listener


def _received_listener(control: socket.socket) -> socket.socket:
    control.settimeout(STARTUP_SECONDS)
    _, descriptors, _, _ = socket.recv_fds(control, 16, 1)
    return socket.socket(fileno=descriptors[0])


def _text_of(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")


def _json_object(printed: str) -> dict[str, Any]:
    try:
        value = json.loads(printed)
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _tool_results(main_requests: Sequence[dict[str, Any]]) -> list[ToolResult]:
    blocks = [
        block
        for message in (main_requests[-1]["messages"] if main_requests else [])
        if isinstance(message["content"], list)
        for block in message["content"]
    ]
    names = {block["id"]: block["name"] for block in blocks if block["type"] == "tool_use"}
    return [
        ToolResult(
            tool=names[block["tool_use_id"]],
            is_error=bool(block.get("is_error")),
            text=_content_text(block.get("content", "")),
        )
        for block in blocks
        if block["type"] == "tool_result"
    ]


def _content_text(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(b.get("text", "") for b in content)
