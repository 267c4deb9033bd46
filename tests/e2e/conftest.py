"""Where sessions of the real Claude Code run, and what they must leave behind: nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.claude_session import claude_binary
from tests.e2e.process_family import assert_nothing_runs_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def claude() -> Path:
    """The binary under test. Tests that ask for it carry the mark `must_run_in_ci`."""
    binary = claude_binary()
    if binary is None:
        pytest.skip("Claude Code is not installed: run `npm ci` in tests/e2e, or set CLAUDE_BINARY")
    return binary


@pytest.fixture
def home(private_home: Path, claude: Path) -> Iterator[Path]:
    """The HOME of the sessions and of the test; fails a test that leaves a process behind in it."""
    yield private_home
    assert_nothing_runs_in(private_home)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty directory to run sessions in."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder
