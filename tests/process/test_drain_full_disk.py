"""A disk that fills up while a pass is at work: nothing is lost, and it goes on once there is room.

The small disk is mounted in a mount namespace of its own, where nobody else sees it, and this
file runs there once more, as a program.  (Through /proc/PID/root, SQLite would follow the link
out of the namespace.)
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

if __name__ == "__main__":  # `tests` is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.core import make_drain, make_settings, make_state_dir, put, tally, write_payload
from tests.fake_clock import FakeClock
from tests.intelligence_faults import Fault, FaultyIntelligence
from tests.oracle import assert_arrived, assert_books, assert_fresh_event_arrives, run_dry

NO_MOUNT = 77
MOUNTED = f'mount -t tmpfs -o "$1" tmpfs "$2" || exit {NO_MOUNT}; shift 2; exec "$@"'
PAYLOADS = 30
PAGE = 4096

# From "not one page" to "enough for all", in steps of a few pages.
FREE_PAGES = [*range(12), *range(12, 120, 9)]


def fill(disk: Path, *, but_pages: int) -> Path:
    """Take all room but so many pages; returns the file that holds it."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(PAGE))
    size = max(0, filler.stat().st_size - but_pages * PAGE)
    with filler.open("r+b") as file:
        file.truncate(size)
    return filler


def put_payloads(state_dir):
    payloads = [
        write_payload(
            f"def f{n}():\n    return '{'x' * 2_000}'\n", path=f"/home/user/project/f{n}.py"
        )
        for n in range(PAYLOADS)
    ]
    for order, payload in enumerate(payloads):
        put(state_dir, payload, mtime=1_749_999_000.0 + order)
    return payloads


async def run_on_full_disk(drain) -> int:
    """Passes that may fail, as the daemon would run them; how many did."""
    failed = 0
    for _ in range(3):
        try:
            await drain.run_pass()
        except (OSError, sqlite3.Error):
            failed += 1
    return failed


async def taking_in(disk: Path) -> None:
    """The disk fills up while files are taken in."""
    failed = 0
    for pages in FREE_PAGES:
        clock = FakeClock()
        state_dir = make_state_dir(disk / "state")
        payloads = put_payloads(state_dir)
        filler = fill(disk, but_pages=pages)
        async with FaultyIntelligence() as api:
            async with make_drain(make_settings(state_dir, api.url), clock) as drain:
                failed += await run_on_full_disk(drain)
                filler.unlink()
                await run_dry(drain, clock, state_dir)
                payloads.append(await assert_fresh_event_arrives(api, drain, clock, state_dir))
            assert_arrived(api, payloads)
        assert_books(state_dir, payloads)
        assert not state_dir.ingest_journal.exists()
        shutil.rmtree(state_dir.root)
    assert failed > len(FREE_PAGES), failed


async def delivering(disk: Path) -> None:
    """The disk fills up while events are delivered."""
    failed = 0
    for pages in FREE_PAGES:
        clock = FakeClock()
        state_dir = make_state_dir(disk / "state")
        payloads = put_payloads(state_dir)
        async with FaultyIntelligence() as api:
            async with make_drain(make_settings(state_dir, api.url), clock) as drain:
                api.mode = Fault.STATUS_500
                await drain.run_pass()
                assert tally(state_dir)["events", "waiting"] == PAYLOADS
                api.mode = Fault.OK
                filler = fill(disk, but_pages=pages)
                failed += await run_on_full_disk(drain)
                filler.unlink()
                await run_dry(drain, clock, state_dir)
                payloads.append(await assert_fresh_event_arrives(api, drain, clock, state_dir))
            assert_arrived(api, payloads)
        assert_books(state_dir, payloads)
        shutil.rmtree(state_dir.root)
    assert failed > 0


async def without_inodes(disk: Path) -> None:
    """There is room, and no file can be made."""
    clock = FakeClock()
    state_dir = make_state_dir(disk / "state")
    payloads = put_payloads(state_dir)
    fillers = []
    with suppress(OSError):
        for number in range(60):
            (filler := disk / f"filler{number}").touch()
            fillers.append(filler)
    async with FaultyIntelligence() as api:
        async with make_drain(make_settings(state_dir, api.url), clock) as drain:
            assert await run_on_full_disk(drain) > 0
            for filler in fillers:
                filler.unlink()
            await run_dry(drain, clock, state_dir)
        assert_arrived(api, payloads)
    assert_books(state_dir, payloads)


CASES = {
    "taking_in": (taking_in, "size=4m"),
    "delivering": (delivering, "size=4m"),
    "without_inodes": (without_inodes, f"size=8m,nr_inodes={PAYLOADS + 20}"),
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", CASES)
def test_full_disk_loses_nothing_and_goes_on_once_there_is_room(case, tmp_path):
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("needs Linux mount namespaces")
    disk = tmp_path / "disk"
    disk.mkdir()
    namespace = ["unshare", "--mount", "--map-root-user", "/bin/sh", "-c", MOUNTED, "sh"]
    program = [sys.executable, "-W", "error", __file__, case, str(disk)]
    done = subprocess.run(
        [*namespace, CASES[case][1], str(disk), *program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if done.returncode == NO_MOUNT or "unshare:" in done.stdout:
        pytest.skip("not permitted to mount a tmpfs")
    assert (done.returncode, done.stdout) == (0, "")


if __name__ == "__main__":
    asyncio.run(CASES[sys.argv[1]][0](Path(sys.argv[2])))
