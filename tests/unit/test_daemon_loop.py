"""The loop: when it runs a pass, what it survives, and what ends it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pattern_daemon import pacing
from pattern_daemon.identity import ProcessIdentity
from pattern_daemon.lock import LockLostError
from pattern_daemon.log import LogFile, make_log
from pattern_daemon.log_view import lines
from pattern_daemon.loop import Loop
from pattern_daemon.record import DaemonRecord, read_record
from pattern_daemon.self_report import SelfReport
from pattern_daemon.watch import FileWatch, SpoolWatch
from pattern_tracker.delivery import DeliveryReport
from pattern_tracker.drain import PassReport
from pattern_tracker.errors import LedgerTooNewError
from pattern_tracker.ingest import IngestReport
from pattern_tracker.settings import Settings
from tests.fake_clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESS = ProcessIdentity(pid=7, host="h", boot_id="b", pid_namespace="n", start_time="1")


class FakeApi:
    def __init__(self) -> None:
        self.serves = False
        self.fresh = False
        self.wanted: list[bool] = []

    async def want(self, wanted: bool) -> None:
        self.wanted.append(wanted)

    async def settled(self) -> None:
        pass

    def came_up(self) -> bool:
        fresh, self.fresh = self.fresh, False
        return fresh


class Stage:
    """A loop whose passes are scripted; it stops when the script is at its end."""

    def __init__(self, tmp_path: Path) -> None:
        self.clock = FakeClock()
        self.began = self.clock.monotonic()
        self.path = tmp_path
        self.spool = tmp_path / "spool"
        self.spool.mkdir()
        self.config = tmp_path / "config.toml"
        self.settings = Settings(state_dir=tmp_path, service_url="http://127.0.0.1:9")
        self.api = FakeApi()
        self.script: list[PassReport | Exception] = []
        # (seconds since the beginning, forced) of each pass.
        self.passes: list[tuple[float, bool]] = []
        self.sleeps: list[float] = []
        # What happens during the n-th sleep; True rings the alarm.
        self.during: dict[int, object] = {}
        self.log_file = LogFile(tmp_path / "log")
        self.report = SelfReport(
            record=DaemonRecord(process=PROCESS, version="1", since=0.0),
            path=tmp_path / "daemon.json",
            log=make_log(self.log_file, clock=self.clock),
            clock=self.clock,
        )
        self.check_lock = lambda: None

    async def run_pass(self, *, forced: bool) -> PassReport:
        self.passes.append((round(self.clock.monotonic() - self.began, 3), forced))
        outcome = self.script.pop(0)
        if not self.script:
            self.loop.stop()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def sleep(self, seconds: float) -> bool:
        act = self.during.get(len(self.sleeps))
        self.sleeps.append(seconds)
        rung = bool(act()) if callable(act) else False
        if not rung:
            self.clock.advance(seconds)
        return rung

    async def play(self, *script: PassReport | Exception) -> list[float]:
        self.script = list(script)
        self.loop = Loop(
            run_pass=self.run_pass,
            load_settings=lambda: self.settings,
            check_lock=self.check_lock,
            api=self.api,
            spool=SpoolWatch(self.spool, clock=self.clock),
            config=FileWatch(self.config),
            report=self.report,
            sleep=self.sleep,
            clock=self.clock,
        )
        await self.loop.run()
        return [at for at, _ in self.passes]

    def logged(self) -> list[str]:
        return [line.split('"event":"')[1].split('"')[0] for line in lines(self.path / "log")]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.log_file.close()


async def test_idle_loop_runs_a_pass_in_minutes_and_looks_often(stage: Stage) -> None:
    assert await stage.play(PassReport(), PassReport()) == [0.0, pacing.IDLE_SECONDS]
    assert max(stage.sleeps) <= 0.5


async def test_new_payload_calls_for_a_pass_at_the_next_look(stage: Stage) -> None:
    stage.during[20] = (stage.spool / "a.json").touch
    _, second = await stage.play(PassReport(), PassReport())
    assert second < 11


async def test_changed_configuration_calls_for_a_pass(stage: Stage) -> None:
    stage.during[3] = stage.config.touch
    _, second = await stage.play(PassReport(), PassReport())
    assert second < 3


async def test_ringing_calls_for_a_pass(stage: Stage) -> None:
    stage.during[0] = lambda: True
    assert await stage.play(PassReport(), PassReport()) == [0.0, 0.0]


async def test_failures_back_off_and_new_payloads_do_not_hurry_them(stage: Stage) -> None:
    (stage.spool / "a.json").touch()
    full = OSError(errno.ENOSPC, "No space left on device")
    times = await stage.play(full, full, full, PassReport(), PassReport())
    assert times[:4] == [0.0, 0.2, 0.6, 1.4]
    assert stage.logged().count("pass failed") == 1
    assert stage.logged().count("passes work again") == 1


async def test_failure_is_in_the_record_until_a_pass_works(stage: Stage) -> None:
    await stage.play(OSError(errno.ENOSPC, "No space left on device"))
    shown = read_record(stage.path / "daemon.json")
    assert shown is not None
    assert shown.problem is not None
    assert (shown.problem.kind, shown.problem.reason) == ("OSError", "No space left on device")
    await stage.play(PassReport())
    shown = read_record(stage.path / "daemon.json")
    assert shown is not None
    assert shown.problem is None


async def test_fault_of_unknown_make_is_survived_and_its_text_not_told(stage: Stage) -> None:
    assert len(await stage.play(KeyError("hunter2"), PassReport())) == 2
    assert "hunter2" not in (stage.path / "log").read_text()


@pytest.mark.parametrize(
    "error",
    [LedgerTooNewError(Path("/x"), found=2, supported=1), LockLostError(Path("/x"))],
    ids=lambda error: type(error).__name__,
)
async def test_what_must_end_it_does(stage: Stage, error: Exception) -> None:
    with pytest.raises(type(error)):
        await stage.play(error, PassReport())
    assert len(stage.passes) == 1


async def test_lost_lock_ends_it_before_the_pass(stage: Stage) -> None:
    def lost() -> None:
        raise LockLostError(Path("/x"))

    stage.check_lock = lost
    with pytest.raises(LockLostError):
        await stage.play(PassReport())
    assert stage.passes == []


async def test_first_pass_with_a_fresh_api_is_forced(stage: Stage) -> None:
    stage.settings = Settings(state_dir=stage.path)
    stage.api.serves = stage.api.fresh = True
    await stage.play(PassReport(more=True), PassReport())
    assert [forced for _, forced in stage.passes] == [True, False]
    assert stage.api.wanted == [True, True]
    assert stage.report.record.ready


async def test_without_its_api_it_takes_payloads_in_and_is_not_ready(stage: Stage) -> None:
    stage.settings = Settings(state_dir=stage.path)
    await stage.play(PassReport(ingest=IngestReport(captures=1)))
    assert not stage.report.record.ready


async def test_configured_service_needs_no_api(stage: Stage) -> None:
    await stage.play(PassReport())
    assert stage.api.wanted == [False]
    assert stage.report.record.ready


async def test_gate_decides_when_to_come_back(stage: Stage) -> None:
    waits = DeliveryReport(reason="refused", next_try_at=stage.clock.now() + 12)
    assert await stage.play(PassReport(delivery=waits), PassReport()) == [0.0, 12.0]
    assert stage.logged().count("not sending") == 1


async def test_looks_are_more_frequent_while_somebody_works(stage: Stage) -> None:
    await stage.play(PassReport(ingest=IngestReport(captures=1)), PassReport())
    assert stage.sleeps[0] == 0.2
    assert stage.sleeps[-2] == 0.5


async def test_quiet_passes_do_not_write_the_record(stage: Stage) -> None:
    await stage.play(PassReport(), PassReport(more=True), PassReport(more=True), PassReport())
    path = stage.path / "daemon.json"
    inode = path.stat().st_ino
    await stage.play(PassReport(more=True), PassReport(more=True), PassReport())
    assert path.stat().st_ino == inode
