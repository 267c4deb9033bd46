"""Hook scripts, links and the daemon's launcher: putting them there, taking them back.

Every file appears by rename, so that a Claude Code session that is running never
starts half a script.  Files of other people are never overwritten or removed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pattern_tracker.atomic_file import replace_file
from pattern_tracker.claude_code.registration import HOOK_SCRIPTS
from pattern_tracker.installation.places import (
    COMMANDS,
    XDG_VARIABLES,
    Places,
    daemon_entry,
    hook_script_sources,
)
from pattern_tracker.state_dir import DIRECTORY_MODE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pattern_tracker.installation.steps import Steps
    from pattern_tracker.state_dir import StateDir

_PRIVATE_EXECUTABLE = 0o700


def install_hook_scripts(places: Places, steps: Steps) -> None:
    """Copy the hook scripts to their place."""
    sources = hook_script_sources()
    changed = False
    for name in HOOK_SCRIPTS:
        content = (sources / name).read_bytes()
        changed |= _write_executable(places.hooks / name, content, dry_run=steps.dry_run)
    steps.report(f"copy the hook scripts to {places.hooks}", changed=changed)


def install_launcher(
    places: Places,
    state_dir: StateDir,
    config_file: Path,
    environ: Mapping[str, str],
    steps: Steps,
) -> None:
    """Write the script with which a session's first hook starts the daemon."""
    text = launcher_text(places, state_dir, config_file, environ)
    changed = _write_executable(state_dir.launcher, text.encode(), dry_run=steps.dry_run)
    steps.report(f"write {state_dir.launcher}", changed=changed)


def launcher_text(
    places: Places, state_dir: StateDir, config_file: Path, environ: Mapping[str, str]
) -> str:
    """A POSIX script that starts the daemon and gives it nothing of its caller's environment.

    It is started from a hook, where a cloned project's settings can have set any
    variable; only what was true at installation is handed on.
    """
    known = {"HOME": str(places.home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    known |= {name: environ[name] for name in XDG_VARIABLES if environ.get(name, "")[:1] == "/"}
    interpreter, script = daemon_entry()
    command = (interpreter, "-I", "-S", script, state_dir.root, config_file)
    words = [
        "exec /usr/bin/env -i",
        *(shlex.quote(f"{name}={value}") for name, value in known.items()),
        # Through a shell, because env would take a path with a = in it for a variable.
        """/bin/sh -c 'exec "$@"' launch-daemon""",
        *(shlex.quote(str(word)) for word in command),
    ]
    body = " \\\n  ".join(words)
    return f"#!/bin/sh\n# Written by install.sh; run it again instead of editing this.\n{body}\n"


def install_links(places: Places, environ: Mapping[str, str], steps: Steps) -> None:
    """Make the commands available in `~/.local/bin`."""
    for name in COMMANDS:
        link, target = places.links / name, places.program(name)
        if _is_there(link) and not _is_our_link(link, name):
            steps.note(f"{link} is not ours and stays; use {target}, or remove it and run again")
            continue
        changed = not (link.is_symlink() and link.readlink() == target)
        if changed and not steps.dry_run:
            _link(link, target)
        steps.report(f"link {link}", changed=changed)
    if str(places.links) not in environ.get("PATH", "").split(os.pathsep):
        steps.note(f'{places.links} is not on PATH; add it: export PATH="{places.links}:$PATH"')


def remove_links(places: Places, steps: Steps) -> None:
    """Take back the links that are ours."""
    for name in COMMANDS:
        link = places.links / name
        if _is_our_link(link, name):
            if not steps.dry_run:
                link.unlink()
            steps.report(f"remove {link}", changed=True)


def remove_program_files(places: Places, state_dir: StateDir, steps: Steps) -> None:
    """Remove what lies in places that only the installer and its programs use."""
    outside = [state_dir.intelligence_socket.parent]  # a short one, where the usual is too long
    if outside == [state_dir.root]:
        outside = []
    for path in (state_dir.launcher, *outside, places.hooks, places.venv):
        if _is_there(path):
            if not steps.dry_run:
                _remove(path)
            steps.report(f"remove {path}", changed=True)
    if not steps.dry_run and places.data.is_dir() and not any(places.data.iterdir()):
        places.data.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _is_our_link(link: Path, name: str) -> bool:
    """Whether an installation of ours, in whatever data directory, made the link."""
    ours = ("pattern-tracker", "venv", "bin", name)
    return link.is_symlink() and link.readlink().parts[-4:] == ours


def _write_executable(path: Path, content: bytes, *, dry_run: bool) -> bool:
    """Put the file in its place in one step; whether that was (or would be) needed."""
    if path.is_file() and path.read_bytes() == content and os.access(path, os.X_OK):
        return False
    if not dry_run:
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        replace_file(path, content, mode=_PRIVATE_EXECUTABLE)
    return True


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pattern-tracker-", dir=link.parent) as folder:
        fresh = Path(folder) / link.name
        fresh.symlink_to(target)
        fresh.replace(link)
