"""install.sh: finding Python, refusing clearly, and one whole installation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.checkout import CHECKOUT, copy_shipped

NEEDED_TOOLS = ("dirname", "uname", "cat", "find", "sort", "cksum", "mkdir", "rm", "sh")
PYTHONS = ("python3.13", "python3.12", "python3.11", "python3")
FOREIGN = {"type": "command", "command": "true"}
INSTALL_TIMEOUT_SECONDS = 240


def run(*arguments, checkout=CHECKOUT, **environ):
    return subprocess.run(
        [checkout / "install.sh", *arguments],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=INSTALL_TIMEOUT_SECONDS,
    )


@pytest.fixture
def tools(tmp_path):
    """A PATH with the system's tools and Pythons that each test makes."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in NEEDED_TOOLS:
        (folder / name).symlink_to(shutil.which(name))

    def with_python(script):
        for name in PYTHONS:
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o700)
        return str(folder)

    return with_python


def test_help_says_what_each_option_does():
    done = run("--help")
    assert done.returncode == 0
    for option in ("--uninstall", "--no-daemon", "--dry-run"):
        assert option in done.stdout


def test_unknown_option_is_a_usage_error_and_does_nothing(private_home):
    done = run("--frobnicate")
    assert done.returncode == 2
    assert "--frobnicate" in done.stderr
    assert list(private_home.iterdir()) == []


def test_pyenv_shims_for_versions_that_are_not_there_are_no_python(tools, private_home):
    done = run(PATH=tools("echo 'pyenv: version not installed' >&2; exit 127"))
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert list(private_home.iterdir()) == []


def test_python_without_venv_is_told_which_package_to_install(tools, private_home):
    done = run(
        PATH=tools(f'case "$*" in *ensurepip*) exit 1 ;; esac\nexec \'{sys.executable}\' "$@"')
    )
    assert done.returncode == 1
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"sudo apt install python{version}-venv" in done.stderr
    assert list(private_home.iterdir()) == []


@pytest.mark.parametrize("home", ["", "relative"])
def test_home_must_be_absolute(home):
    done = run(HOME=home)
    assert done.returncode == 1
    assert "HOME" in done.stderr


@pytest.mark.parametrize("character", '"$`\\')
def test_place_that_the_programs_cannot_be_started_from_is_refused(tmp_path, character):
    home = tmp_path / f"a{character}b"
    home.mkdir()
    done = run(HOME=str(home))
    assert done.returncode == 1
    assert "XDG_DATA_HOME" in done.stderr
    assert f"a{character}b" in done.stderr
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("command", [(), ("--uninstall",)])
def test_dry_run_from_a_bare_checkout_changes_nothing(tools, private_home, command):
    # The interpreter beneath that of the tests, which has pip but nothing of ours.
    done = run(*command, "--dry-run", PATH=tools(f"exec '{sys._base_executable}' \"$@\""))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    assert list(private_home.iterdir()) == []


@pytest.fixture
def checkout(tmp_path):
    """A copy of what is shipped, in a folder with a space in its name, that may go again."""
    return copy_shipped(tmp_path / "check out")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A HOME with a space in its name, somebody else's hook, and somebody else's program."""
    home = tmp_path / "ho me"
    settings = home / ".claude" / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"hooks": {"Stop": [{"hooks": [FOREIGN]}]}, "model": "m"}))
    foreign = home / ".local" / "bin" / "pattern-intelligence"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("theirs")
    monkeypatch.setenv("HOME", str(home))
    yield home
    daemon = home / ".local" / "share" / "pattern-tracker" / "venv" / "bin" / "pattern-daemon"
    if daemon.exists():
        subprocess.run([daemon, "stop"], check=False, capture_output=True, timeout=30)


@pytest.mark.must_run_in_ci
@pytest.mark.timeout(300)
def test_installation_delivers_is_idempotent_and_can_be_taken_back(checkout, home):
    settings = home / ".claude" / "settings.json"
    before = settings.read_text()
    done = run(checkout=checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the API had it after" in done.stdout
    assert "pattern-intelligence is not ours" in done.stdout
    installed = settings.read_text()
    assert json.loads(installed)["hooks"]["Stop"][0] == {"hooks": [FOREIGN]}

    venv = home / ".local" / "share" / "pattern-tracker" / "venv"
    again = run(checkout=checkout)
    assert again.returncode == 0, again.stdout + again.stderr
    kinds = {line.split()[0] for line in again.stdout.splitlines() if line.startswith(" ")}
    assert "unchanged" in kinds
    assert [line for line in again.stdout.splitlines() if line.startswith("      done")] == [
        line for line in again.stdout.splitlines() if "test payload" in line
    ]
    assert settings.read_text() == installed

    # The interrupted case: the package is cut in half, the mark is not there.
    (venv / "installed-from").unlink()
    shutil.rmtree(next(venv.glob("lib/python*/site-packages/pattern_tracker")) / "ledger")
    repaired = run("--no-daemon", checkout=checkout)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert "the API had it after" in repaired.stdout

    removed = run("--uninstall", checkout=checkout)
    assert removed.returncode == 0, removed.stdout + removed.stderr
    assert json.loads(settings.read_text()) == json.loads(before)
    assert not venv.parent.exists()
    assert [path.name for path in (home / ".local" / "bin").iterdir()] == ["pattern-intelligence"]
    assert "(0 events and 0 payloads undelivered)" in removed.stdout
