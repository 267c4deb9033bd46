"""What two parts have to spell alike, and what neither may import from the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pattern_daemon import ensure
from pattern_daemon.record import DaemonRecord
from pattern_intelligence import contract, handlers
from pattern_tracker.client import wire
from pattern_tracker.client.destination import API_PATH
from pattern_tracker.daemon_record import DaemonSummary
from pattern_tracker.state_dir import StateDir

CHECKOUT = Path(__file__).resolve().parents[2]
STATE = StateDir(root=Path("/state"))
HOOKS = "\n".join(script.read_text() for script in (CHECKOUT / "hooks").glob("*.sh"))


@pytest.mark.parametrize(
    "path",
    [
        STATE.spool,
        STATE.disabled_flag,
        STATE.full_flag,
        STATE.cap_file,
        STATE.turned_away,
        STATE.launcher,
    ],
    ids=lambda path: path.name,
)
def test_hooks_know_the_state_directory_by_the_same_names(path: Path) -> None:
    assert re.search(rf'\$1/{path.name}["/]', HOOKS)


def test_ensure_takes_the_daemons_lock() -> None:
    assert STATE.daemon_lock.name in Path(ensure.__file__).read_text()


def test_client_and_reference_api_speak_of_the_same_events_at_the_same_place() -> None:
    assert set(contract.OPERATIONS) == wire.EVENT_TYPES
    assert handlers.PREFIX == API_PATH


def test_stats_reads_what_the_daemon_writes() -> None:
    assert set(DaemonSummary.__struct_fields__) <= set(DaemonRecord.__struct_fields__)
