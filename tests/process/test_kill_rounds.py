"""Hooks, daemon and API killed at random instants, round after round; see `tests.kill_rounds`."""

from __future__ import annotations

import os
import sys

import pytest

from tests.kill_rounds import KillRounds

ROUNDS = int(os.environ.get("KILL_ROUNDS", "20"))
SEED = int(os.environ.get("KILL_SEED", "7"))


@pytest.mark.timeout(60 + 10 * ROUNDS)
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes to kill through /proc")
def test_kills_at_random_instants_lose_nothing_double_nothing_and_leave_no_process() -> None:
    figures = KillRounds(seed=SEED).run(ROUNDS)
    print(figures)  # shown by `pytest -rP`

    assert figures.losses == 0
    assert figures.rounds == ROUNDS
    assert min(figures.hooks_killed, figures.daemons_killed, figures.apis_killed) >= ROUNDS // 5
    # Events were delivered while the killing went on, not only by the last, peaceful pass.
    assert figures.events_in_time >= figures.events // 3
