"""The embedded API's supervisor: restarts with growing pauses, and an end without orphans."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pattern_daemon import supervisor
from pattern_daemon.supervisor import FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS, ApiSupervisor
from pattern_tracker.errors import EmbeddedApiError
from tests.fake_clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable


class World:
    """Children that live as long as the test says, and what the supervisor said."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.children: list[FakeChild] = []
        self.states: list[object] = []
        self.refuse = False

    def make(self) -> FakeChild:
        self.children.append(FakeChild(self))
        return self.children[-1]


class FakeChild:
    def __init__(self, world: World) -> None:
        self.world = world
        self.pid: int | None = None
        self.stopped = False
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def start(self) -> FakeChild:
        if self.world.refuse:
            raise EmbeddedApiError("address taken")
        self.pid = len(self.world.children)
        return self

    async def wait(self) -> int:
        return await self.ended

    async def stop(self) -> None:
        self.stopped = True
        self.pid = None


class SlowClock(FakeClock):
    """Notes the pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await super().sleep(seconds)


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> SlowClock:
    return SlowClock()


@pytest.fixture
def world(clock: SlowClock) -> World:
    return World(clock)


@pytest.fixture
def api(world: World, clock: SlowClock) -> ApiSupervisor:
    return ApiSupervisor(make_child=world.make, clock=clock, changed=world.states.append)


async def test_wanted_api_serves_and_says_so_once(api: ApiSupervisor, world: World) -> None:
    assert not api.serves
    await api.want(True)
    await api.settled()
    assert api.serves
    assert [api.came_up(), api.came_up()] == [True, False]
    assert [state.pid for state in world.states] == [1]

    await api.want(False)
    assert not api.serves
    assert world.children[0].stopped
    assert world.states[-1] is None


async def test_dead_child_is_replaced_after_a_pause(
    api: ApiSupervisor, world: World, clock: SlowClock
) -> None:
    await api.want(True)
    await api.settled()
    world.children[0].ended.set_result(-9)
    await until(lambda: len(world.children) == 2)
    await api.settled()
    assert clock.pauses == [FIRST_PAUSE_SECONDS]
    assert world.children[0].stopped
    down, up = world.states[1:]
    assert "signal 9" in down.reason
    assert (up.pid, up.restarts) == (2, 1)
    await api.stop()


async def test_pauses_grow_to_a_limit_and_start_anew_after_a_stable_time(
    api: ApiSupervisor, world: World, clock: SlowClock
) -> None:
    world.refuse = True
    await api.want(True)
    await until(lambda: len(clock.pauses) == 10)
    assert clock.pauses == sorted(clock.pauses)
    assert clock.pauses[-1] == LAST_PAUSE_SECONDS
    assert world.states[-1].reason == "address taken"

    world.refuse = False
    await api.settled()
    clock.advance(supervisor.STABLE_SECONDS)
    world.children[-1].ended.set_result(1)
    seen = len(clock.pauses)
    await until(lambda: len(clock.pauses) > seen)
    assert clock.pauses[-1] == FIRST_PAUSE_SECONDS
    await api.stop()


async def test_child_that_does_not_come_up_is_not_waited_for_for_ever(
    api: ApiSupervisor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "PATIENCE_SECONDS", 0.01)
    world.refuse = True
    await api.want(True)
    await api.settled()
    assert not api.serves
    await api.stop()


async def test_stopping_what_was_never_wanted_is_nothing(api: ApiSupervisor, world: World) -> None:
    await api.want(False)
    await api.stop()
    await api.settled()
    assert world.states == []
