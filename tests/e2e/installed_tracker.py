"""The tracker in a HOME as the installer leaves it there, with the programs of this checkout.

Commands are real processes, started as a user's shell would start them. What the tests know, they
read from the files that these leave.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pattern_daemon import ensure
from pattern_tracker.claude_code.hook_merge import merge
from pattern_tracker.claude_code.registration import OUR_DIRECTORY, registered_hooks
from pattern_tracker.config_file import write_config_values
from pattern_tracker.ledger.summary import read_events
from pattern_tracker.settings import default_config_file, load_settings
from pattern_tracker.state_dir import StateDir
from pattern_tracker.stats import collect_stats
from tests.e2e.process_family import assert_nothing_runs_in
from tests.intelligence_process import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPTS = Path(__file__).parents[2] / "hooks"
COMMAND_SECONDS = 40.0


@dataclass(frozen=True, kw_only=True)
class InstalledTracker:
    """Hook scripts, state directory and `config.toml` of the HOME of this process."""

    hooks: Path
    state_dir: StateDir
    config_file: Path

    def hook_settings(self) -> dict[str, Any]:
        """Claude Code's settings with our hooks, and nothing else."""
        return merge({}, registered_hooks(self.hooks, self.state_dir.root))

    def configure(self, values: dict[str, str | float | bool | None]) -> None:
        """Set keys (`section.key`) of `config.toml`."""
        write_config_values(self.config_file, values)

    def write_launcher(self) -> None:
        """Let a session's start see to it that the daemon runs."""
        entry = [sys.executable, "-I", "-S", ensure.__file__]
        words = [*entry, str(self.state_dir.root), str(self.config_file)]
        self.state_dir.launcher.write_text(f"#!/bin/sh\nexec {shlex.join(words)}\n")
        self.state_dir.launcher.chmod(0o700)

    def stats(self) -> dict[str, Any]:
        """What `pattern-tracker stats --json` is made of."""
        settings = load_settings(environ={}, config_file=self.config_file).settings
        return collect_stats(settings, self.state_dir, now=time.time())

    def wait_until_settled(self, *, waiting: int = 0) -> None:
        """Wait until the spool is empty and exactly `waiting` events are undelivered."""

        def settled() -> bool:
            stats = self.stats()
            return not stats["captures"]["spooled"] and stats["events"]["waiting"] == waiting

        wait_until(settled, what=f"an empty spool and {waiting} waiting events")

    def event_ids(self, *, state: str) -> set[str]:
        """The ids of the ledger's events in `state`."""
        return {e.event_id for e in read_events(self.state_dir.ledger, state=state, limit=1000)}

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """A daemon that was started and is stopped by its own commands."""
        started = run_command("pattern-daemon", "start")
        try:
            assert started.returncode == 0, started
            yield
        finally:
            stopped = run_command("pattern-daemon", "stop")
        assert stopped.returncode == 0, stopped


def copy_hook_scripts(data: Path) -> Path:
    """Copy our hook scripts to their place below `data`; returns it."""
    hooks = data.joinpath(*OUR_DIRECTORY)
    shutil.copytree(SCRIPTS, hooks)
    return hooks


def run_command(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of our commands to its end, with the environment of this process."""
    command = [str(Path(sysconfig.get_path("scripts")) / name), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS
    )


@contextmanager
def installed_tracker(data: Path) -> Iterator[InstalledTracker]:
    """A tracker whose hook scripts lie below `data`; fails if it leaves a process behind.

    The state directory lies where it is short enough to hold a unix socket.
    """
    with tempfile.TemporaryDirectory(prefix="pt-") as short:
        state_dir = StateDir(root=Path(short) / "état $HOME")
        state_dir.prepare()
        tracker = InstalledTracker(
            hooks=copy_hook_scripts(data), state_dir=state_dir, config_file=default_config_file()
        )
        tracker.configure({"cache.dir": str(state_dir.root)})
        yield tracker
        # The embedded API's HOME is the state directory.
        assert_nothing_runs_in(state_dir.root)
