"""README.md is true: its commands run, in its order, on a fresh HOME from a bare checkout."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pattern_tracker.config_keys import KEYS, TOKEN_FILE_KEY
from tests.checkout import CHECKOUT, copy_shipped

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (CHECKOUT / "README.md").read_text()
PROGRAMS = ("pattern-tracker", "pattern-daemon", "pattern-intelligence")

# The commands that the README names in passing, as they are run here: what follows, in the
# README's words, to the command line and its exit status.
IN_PASSING = {
    "pattern-tracker stats [--json]": ("pattern-tracker stats --json", 0),
    "pattern-tracker events [--state S] [--limit N] [--json]": (
        "pattern-tracker events --state delivered --limit 1 --json",
        0,
    ),
    "pattern-tracker events --state quarantined": ("pattern-tracker events --state quarantined", 0),
    "pattern-tracker sync": ("pattern-tracker sync", 0),
    "pattern-tracker config [--json]": ("pattern-tracker config --json", 0),
    "pattern-tracker config": ("pattern-tracker config", 0),
    "pattern-daemon logs [-f]": ("pattern-daemon logs", 0),
    "pattern-daemon start": ("pattern-daemon start", 0),
    "pattern-daemon status": ("pattern-daemon status", 0),
    # These two do not come back by themselves.
    "pattern-daemon run": ("pattern-daemon run --help", 0),
    "pattern-intelligence serve": ("pattern-intelligence serve --help", 0),
}


def console_commands() -> list[str]:
    """What stands behind `$` in the README's console blocks, in order."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def commands_in_passing() -> set[str]:
    """Every `pattern-…` command line in backticks."""
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
    return {span for span in spans if span.split()[0] in PROGRAMS and len(span.split()) > 1}


class User:
    """Somebody with an empty HOME who types what the README says."""

    def __init__(self, home: Path, checkout: Path) -> None:
        self.checkout = checkout
        self.env = {
            "HOME": str(home),
            "PATH": f"{home}/.local/bin:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
        }

    def types(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            shlex.split(command),
            cwd=self.checkout,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


@pytest.fixture
def user(private_home: Path, tmp_path: Path) -> Iterator[User]:
    somebody = User(private_home, copy_shipped(tmp_path / "checkout"))
    yield somebody
    if (private_home / ".local/bin/pattern-daemon").exists():
        somebody.types("pattern-daemon stop")


@pytest.mark.must_run_in_ci
@pytest.mark.timeout(600)
def test_every_command_of_the_readme_does_what_it_says(user: User) -> None:
    commands = console_commands()
    assert commands[0] == "./install.sh"
    assert commands[-1] == "./install.sh --uninstall"
    for command in commands[:-1]:
        if command == "tests/run":  # what runs right now
            assert (CHECKOUT / "tests" / "run").stat().st_mode & 0o111
            continue
        done = user.types(command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        if command == "./install.sh":
            assert re.search(r"the API had it after \d+ ms", done.stdout)
    for words in sorted(commands_in_passing()):
        command, status = IN_PASSING[words]
        done = user.types(command)
        assert done.returncode == status, (command, done.stdout, done.stderr)
    assert user.types("pattern-daemon restart").returncode == 0
    assert user.types("pattern-daemon ensure").returncode == 0
    assert user.types("pattern-daemon stop").returncode == 0
    assert user.types("pattern-daemon status").returncode == 3
    assert user.types(commands[-1]).returncode == 0
    assert not (Path(user.env["HOME"]) / ".local/bin/pattern-daemon").exists()


def test_every_setting_of_the_readme_exists_and_every_setting_is_there() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    shown = {f"{section}.{key}" for section, keys in tomllib.loads(block).items() for key in keys}
    known = {key.in_file for key in KEYS} | {TOKEN_FILE_KEY}
    assert shown <= known
    assert all(name in README or name.split(".")[1] in block for name in known)
    assert all(key.variable in README for key in KEYS if key.variable)


def test_every_test_that_the_documents_name_exists() -> None:
    tests = "\n".join(file.read_text() for file in CHECKOUT.glob("tests/**/test_*.py"))
    for document in [CHECKOUT / "README.md", *CHECKOUT.glob("docs/*.md")]:
        for name in re.findall(r"`((?:tests/|test_)[^`\s]+)`", document.read_text()):
            if name.startswith("tests/"):
                assert list(CHECKOUT.glob(name)), (document.name, name)
            else:
                assert f"def {name}(" in tests, (document.name, name)


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in [CHECKOUT / "README.md", *CHECKOUT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), (document.name, target)
