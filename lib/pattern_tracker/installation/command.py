"""The order of the steps, for installing and for uninstalling."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pattern_tracker.claude_code.hook_merge import merge, remove
from pattern_tracker.claude_code.registration import registered_hooks
from pattern_tracker.claude_code.settings_file import edit
from pattern_tracker.clock import SystemClock
from pattern_tracker.errors import PatternTrackerError
from pattern_tracker.file_lock import is_held
from pattern_tracker.installation.configuration import take_over_environment
from pattern_tracker.installation.places import InstallationError, Places, find_places
from pattern_tracker.installation.program_files import (
    install_hook_scripts,
    install_launcher,
    install_links,
    remove_links,
    remove_program_files,
)
from pattern_tracker.installation.self_test import (
    DELIVERY_TIMEOUT_SECONDS,
    REMOTE_TIMEOUT_SECONDS,
    run_self_test,
)
from pattern_tracker.installation.steps import Steps
from pattern_tracker.settings import default_config_file, load_settings
from pattern_tracker.state_dir import StateDir

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pattern_tracker.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two commands; the exit status."""
    parser = argparse.ArgumentParser(prog="install.sh", description="Install pattern-tracker.")
    parser.add_argument("command", choices=("install", "uninstall"))
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--no-daemon", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args(arguments)
    steps = Steps(dry_run=options.dry_run)
    try:
        places = find_places(os.environ, options.data_dir)
        if options.command == "install":
            install(places, os.environ, steps, with_daemon=not options.no_daemon)
        else:
            uninstall(places, steps)
    except PatternTrackerError as error:
        sys.stderr.write(f"install.sh: {error}\n")
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"install.sh: {where}{error.strerror}. Repair that and run it again.\n")
        return 1
    return 0


def install(places: Places, environ: Mapping[str, str], steps: Steps, *, with_daemon: bool) -> None:
    """Everything after the private environment is there."""
    # Refused before the first step: a file that cannot be merged into means that nothing is done.
    edit(places.claude_settings, lambda settings: settings, dry_run=True)
    config_file = default_config_file()
    earlier = load_settings(environ=None).settings.state_dir
    settings = take_over_environment(environ, config_file, steps)
    state_dir = StateDir(root=settings.state_dir)
    if earlier != settings.state_dir and earlier.exists():
        old = f"PATTERN_CACHE_DIR={shlex.quote(str(earlier))}"
        steps.note(f"{earlier} keeps what it has; deliver that with: {old} pattern-tracker sync")
        steps.note(f"a daemon may still run there; stop it with: {old} pattern-daemon stop")
    _prepare(state_dir, steps)
    install_hook_scripts(places, steps)
    install_launcher(places, state_dir, config_file, environ, steps)
    install_links(places, environ, steps)
    _register(places, state_dir, steps)
    if with_daemon:
        _start_daemon(places, state_dir, steps)
    else:
        steps.skip("start the daemon (--no-daemon); `pattern-tracker sync` delivers by hand")
    _self_test(places, state_dir, settings, environ, steps, with_daemon=with_daemon)


def uninstall(places: Places, steps: Steps) -> None:
    """Take everything back but what the user may still need: configuration and state."""
    result = edit(places.claude_settings, remove, validate=False, dry_run=steps.dry_run)
    steps.report(f"remove the hooks from {places.claude_settings}", changed=result.changed)
    if result.backup:
        steps.note(f"the file as it was: {result.backup}")
    state_dir = StateDir(root=_state_root(steps))
    _stop_daemon(places, state_dir, steps)
    # Asked before the program that runs this takes itself away.
    kept = _what_is_kept(state_dir)
    remove_links(places, steps)
    remove_program_files(places, state_dir, steps)
    for line in kept:
        steps.note(line)


def _prepare(state_dir: StateDir, steps: Steps) -> None:
    changed = not (state_dir.spool.is_dir() and state_dir.turned_away.is_file())
    if not steps.dry_run:
        state_dir.prepare()
    steps.report(f"prepare the state directory {state_dir.root}", changed=changed)


def _register(places: Places, state_dir: StateDir, steps: Steps) -> None:
    entries = registered_hooks(places.hooks, state_dir.root)
    result = edit(
        places.claude_settings,
        lambda settings: merge(settings, entries),
        dry_run=steps.dry_run,
    )
    steps.report(
        f"register {len(entries)} hooks in {places.claude_settings}", changed=result.changed
    )
    if result.backup:
        steps.note(f"the file as it was: {result.backup}")
    if result.settings.get("disableAllHooks") is True:
        steps.note(
            f"disableAllHooks is true in {places.claude_settings}: set it to false to record"
        )


def _start_daemon(places: Places, state_dir: StateDir, steps: Steps) -> None:
    running = is_held(state_dir.daemon_lock)
    if not steps.dry_run:
        _run(places, "pattern-daemon", "start")
    steps.report("start the daemon", changed=not running)


def _stop_daemon(places: Places, state_dir: StateDir, steps: Steps) -> None:
    if not places.program("pattern-daemon").is_file():
        return
    running = is_held(state_dir.daemon_lock)
    if not steps.dry_run:
        try:
            _run(places, "pattern-daemon", "stop")
        except InstallationError as error:
            # A broken installation must still be removable.
            steps.note(f"the daemon could not be stopped: {error}")
            return
    steps.report("stop the daemon", changed=running)


def _self_test(
    places: Places,
    state_dir: StateDir,
    settings: Settings,
    environ: Mapping[str, str],
    steps: Steps,
    *,
    with_daemon: bool,
) -> None:
    what = "send a test payload through the registered hook"
    if steps.dry_run:
        steps.report(f"{what} and follow it until the API has it", changed=True)
        return
    enabled = load_settings(environ=environ).settings.tracking_enabled
    if not (enabled and settings.tracking_enabled) or state_dir.disabled_flag.exists():
        steps.skip(f"{what}: recording is switched off")
        return
    patience = REMOTE_TIMEOUT_SECONDS if settings.service_url else DELIVERY_TIMEOUT_SECONDS
    seconds = run_self_test(
        claude_settings=places.claude_settings,
        ledger=state_dir.ledger,
        environ=environ,
        mark=secrets.token_hex(8),
        clock=SystemClock(),
        push=(lambda: None) if with_daemon else (lambda: _sync(places, steps)),
        timeout_seconds=patience if with_daemon else 0.0,
    )
    if seconds is not None:
        steps.report(f"{what}: the API had it after {seconds * 1000:.0f} ms", changed=True)
    _run(places, "pattern-tracker", "stats", quiet=False)
    if seconds is None:
        raise InstallationError(
            "Everything is installed, but the API did not take the test payload; the table says"
            " why. It is kept and delivered when that is repaired."
        )


def _sync(places: Places, steps: Steps) -> None:
    try:
        _run(places, "pattern-tracker", "sync")
    except InstallationError as error:
        steps.note(f"{error}")


def _run(places: Places, program: str, *arguments: str, quiet: bool = True) -> None:
    command = [str(places.program(program)), *arguments]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        check=False,
        text=True,
        errors="replace",
    )
    if done.returncode:
        said = (done.stdout or "").strip().splitlines()[-1:]
        raise InstallationError(
            f"{shlex.join(command)} ended with status {done.returncode}: {' '.join(said)}"
            " Repair that and run install.sh again."
        )


def _state_root(steps: Steps) -> Path:
    try:
        return load_settings(environ=None).settings.state_dir
    except PatternTrackerError as error:
        from pattern_tracker.settings import default_state_dir  # noqa: PLC0415

        steps.note(f"the configuration cannot be used ({error}); looking in the default place")
        return default_state_dir()


def _what_is_kept(state_dir: StateDir) -> list[str]:
    """State and configuration are the user's; the embedded API's database lies there too."""
    kept = []
    if state_dir.root.exists():
        remedy = f"to delete it: rm -r {shlex.quote(str(state_dir.root))}"
        kept.append(f"kept {state_dir.root} ({_undelivered(state_dir)} undelivered); {remedy}")
    config_file = default_config_file()
    if config_file.exists():
        kept.append(f"kept {config_file}; to delete it: rm {shlex.quote(str(config_file))}")
    return kept


def _undelivered(state_dir: StateDir) -> str:
    from pattern_tracker.ledger.summary import read_summary  # noqa: PLC0415

    spooled = sum(1 for _ in state_dir.spool.glob("*.json"))
    try:
        waiting = sum(read_summary(state_dir.ledger).waiting.values())
    except PatternTrackerError as error:
        return f"{spooled} payloads and an unknown number of events ({error})"
    return f"{waiting} events and {spooled} payloads"
