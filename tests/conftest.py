"""Every test gets a HOME of its own and none of the caller's configuration."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

# Their assertions are the oracle's words: they are to show values.
pytest.register_assert_rewrite("tests.core", "tests.oracle", "tests.kill_rounds")

# Ours, Claude Code's, and what would make our programs buffer other than for users.
OURS = (
    "PYTHONUNBUFFERED",
    "PATTERN_",
    "INTELLIGENCE_",
    "CIRCUIT_BREAKER_",
    "HEALTH_CHECK_",
    "XDG_",
    "CLAUDE_",
)


@pytest.fixture(autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A HOME that is thrown away, and an environment without our variables."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in list(os.environ):
        if name.startswith(OURS) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return home


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything is required, a test that must run and is skipped has failed."""
    report = yield
    required = os.environ.get("PATTERN_TRACKER_REQUIRE_ALL") == "1"
    if required and report.skipped and item.get_closest_marker("must_run_in_ci"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} must run here and was skipped: {report.longrepr}"
    return report
