"""Runs the hook scripts as Claude Code runs them, under any shell.

Claude Code starts `/bin/sh -c COMMAND`, and the script's `#!/bin/sh` picks the second shell. To see
both under another shell without touching the system, the scripts are copied with their first line
pointing at that shell, which then also plays the part of `/bin/sh`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pattern_tracker.claude_code.registration import hook_command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HOOKS = Path(__file__).resolve().parent.parent / "hooks"
SESSION = "0d6f3a52-55f0-4c7e-9d39-6f5a2a0f8d11"
SHELLS = {
    "dash": ("dash", "sh"),
    "bash_as_sh": ("bash", "sh"),
    "bash": ("bash", "bash"),
    "busybox": ("busybox", "sh"),
}
"""Label: the program, and the name that it is called by."""


def registered_command(script: Path | str, state_dir: Path | str) -> str:
    """The string that stands in Claude Code's settings for `script`."""
    return hook_command(Path(script), state_dir)


def make_state_dir(path: Path) -> Path:
    """A state directory as the installer leaves it.

    One byte stands in `turned-away` from the start: only a file that owns a block can grow on a
    full disk.
    """
    path.mkdir(mode=0o700, parents=True)
    (path / "turned-away").write_bytes(b"\n")
    return path


def poll(condition: Callable[[], bool], *, seconds: float = 20.0) -> bool:
    """Whether `condition` came true in `seconds` of real time; for real processes only."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@dataclass(frozen=True, kw_only=True)
class Hook:
    """The hook scripts, a shell to run them, and the state directory that they are given."""

    shell: Path
    scripts: Path
    state: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def command(self, script: str = "capture.sh", *, state: str | None = None) -> list[str]:
        """The argument vector that Claude Code would execute."""
        given = str(self.state) if state is None else state
        return [str(self.shell), "-c", registered_command(self.scripts / script, given)]

    def run(
        self,
        payload: bytes = b"",
        script: str = "capture.sh",
        *,
        state: str | None = None,
        **popen: Any,
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs one hook to its end; `payload` goes to stdin unless `stdin` is given."""
        if "stdin" not in popen:
            popen["input"] = payload
        return subprocess.run(
            self.command(script, state=state),
            capture_output=True,
            check=False,
            timeout=50,
            **{"env": dict(self.env), **popen},
        )

    def start(self, script: str = "capture.sh", **popen: Any) -> subprocess.Popen[bytes]:
        """Starts one hook with a pipe on stdin, in a process group of its own."""
        return subprocess.Popen(
            self.command(script),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **{"env": dict(self.env), **popen},
        )

    def with_env(self, **variables: str) -> Hook:
        """The same hook with more variables in its environment."""
        return replace(self, env={**self.env, **variables})

    def at(self, state: Path) -> Hook:
        """The same hook with another state directory."""
        return replace(self, state=state)

    def stored(self) -> list[bytes]:
        """The content of every file in the spool, by name."""
        return [path.read_bytes() for path in self.files()]

    def files(self) -> list[Path]:
        """Every file in the spool, by name; none where there is no spool."""
        spool = self.state / "spool"
        return sorted(spool.iterdir()) if spool.is_dir() else []

    def turned_away(self) -> int:
        """How many payloads were counted instead of stored."""
        return (self.state / "turned-away").stat().st_size - 1


def make_hook(label: str, folder: Path, *, scripts_in: str = "hooks") -> Hook | None:
    """The hooks under the shell `label`, everything below `folder`; None where it is absent."""
    program, name = SHELLS[label]
    found = shutil.which(program)
    if found is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    shell = folder / name
    shell.symlink_to(Path(found).resolve())
    return Hook(
        shell=shell,
        scripts=copy_hooks(folder / scripts_in, shell),
        state=make_state_dir(folder / "state"),
        env={"HOME": os.environ["HOME"], "PATH": os.defpath, "CLAUDE_CODE_SESSION_ID": SESSION},
    )


def copy_hooks(target: Path, shell: Path) -> Path:
    """Copies of the shipped scripts in `target` that start `shell` instead of `/bin/sh`."""
    target.mkdir(parents=True)
    for script in HOOKS.glob("*.sh"):
        text = script.read_text().removeprefix("#!/bin/sh\n")
        (target / script.name).write_text(f"#!{shell}\n{text}")
        (target / script.name).chmod(0o755)
    return target


def assert_harmless(done: subprocess.CompletedProcess[bytes]) -> None:
    """Exit status 0 and not a byte on either stream."""
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
