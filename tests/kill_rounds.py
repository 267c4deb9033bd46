"""Kills hooks, daemons and APIs at random instants, and then counts.

    python tests/kill_rounds.py --rounds 200 --seed 7

Real hooks keep feeding payloads into one state directory while a real daemon, with its
embedded API, is killed and started again.  At the end every payload whose hook ended well
must be in the ledger once, its events at the API once and as they were captured, nothing
else may be there, a fresh event must get through, and no process may be left.

Where processes are told apart by their command line (Linux), the API is killed as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":  # `tests` is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pattern_tracker.clock import SystemClock
from pattern_tracker.drain import Drain
from pattern_tracker.embedded_api import EmbeddedApi
from pattern_tracker.settings import load_settings
from tests.core import tally, write_payload
from tests.daemon_process import DaemonHome, wait_until, words_of
from tests.hook_runner import Hook, make_hook
from tests.oracle import Expected, capture_key, capture_keys, stored_by_embedded_api

if TYPE_CHECKING:
    from collections.abc import Iterator

HOOKS_PER_ROUND = 10
HOOKS_AT_ONCE = 4
ROUND_SECONDS = 0.7
# A round in so many begins with a person who types `pattern-tracker sync`.
ROUNDS_PER_SYNC = 5
SYNCS_AT_THE_END = 200

# Short waits after a failure, so that each round sees deliveries again.
CONFIG = """
[breaker]
failure_threshold = 3
timeout = 0.2
[health]
interval = 0.2
timeout = 0.2
"""


@dataclass
class Figures:
    """What was done, and what was lost by it: `losses` must stay 0."""

    rounds: int = 0
    hooks: int = 0
    hooks_killed: int = 0
    daemons_killed: int = 0
    apis_killed: int = 0
    syncs: int = 0
    events: int = 0
    # Of these, how many were there before the killing was over.
    events_in_time: int = 0
    torn: int = 0
    losses: int = 0


@dataclass
class Payloads:
    """What was handed to hooks: for certain, or perhaps (the hook was killed)."""

    certain: list[dict[str, Any]] = field(default_factory=list)
    perhaps: list[dict[str, Any]] = field(default_factory=list)


class KillRounds:
    """One run; `run` raises AssertionError for whatever is not as it must be."""

    def __init__(self, *, seed: int) -> None:
        self._random = random.Random(seed)
        self._home = DaemonHome()
        self._home.state.prepare()
        self._home.configure(CONFIG)
        hook = make_hook("dash", self._home.root / "h") or make_hook(
            "bash_as_sh", self._home.root / "b"
        )
        assert hook is not None, "there is no shell"
        self._hook: Hook = hook.at(self._home.state.root)
        self._payloads = Payloads()
        self._daemon: subprocess.Popen[bytes] | None = None
        self._numbers = iter(range(10**9))
        self.figures = Figures()

    def run(self, rounds: int) -> Figures:
        """So many rounds, and the reckoning."""
        try:
            with ThreadPoolExecutor(HOOKS_AT_ONCE) as feeders:
                for _ in range(rounds):
                    self._round(feeders)
            self.figures.events_in_time = len(stored_by_embedded_api(self._home.state))
            self._end_daemon(signal.SIGTERM)
            wait_until(lambda: not list(self._family()), what="the end of every process")
            asyncio.run(self._sync_until_nothing_waits())
            self._fresh_event_gets_through()
            self._end_daemon(signal.SIGTERM)
            wait_until(lambda: not list(self._family()), what="the end of every process")
            self._reckon()
        finally:
            if self._daemon and self._daemon.poll() is None:
                self._end_daemon(signal.SIGKILL)
            self._home.close()
        return self.figures

    def _round(self, feeders: ThreadPoolExecutor) -> None:
        self._start_daemon()
        self.figures.rounds += 1
        if self.figures.rounds % ROUNDS_PER_SYNC == 0:
            self._sync_beside_the_daemon()
        fed = [feeders.submit(self._feed, **self._next_hook()) for _ in range(HOOKS_PER_ROUND)]
        instants = sorted(self._random.uniform(0, ROUND_SECONDS) for _ in range(2))
        began = time.monotonic()
        for instant, kill in zip(
            instants, self._random.sample([self._kill_daemon, self._kill_api], 2), strict=True
        ):
            # Real instants in the lives of real processes: the reason for a sleep.
            time.sleep(max(0.0, began + instant - time.monotonic()))
            kill()
        for feeding in fed:
            feeding.result()

    def _next_hook(self) -> dict[str, Any]:
        random_ = self._random
        number = next(self._numbers)
        code = f"def f{number}():\n    return '{'x' * random_.choice([10, 400, 60_000])}'\n"
        before = f"# before {number}\n" if random_.random() < 0.3 else None
        payload = write_payload(
            code,
            path=f"/home/user/project/f{number}.py",
            before=before,
            tool_use_id=f"toolu_{random_.getrandbits(80):020x}",
        )
        kill_after = random_.uniform(0, 0.008) if random_.random() < 0.2 else None
        return {
            "payload": payload,
            "wait": random_.uniform(0, ROUND_SECONDS / 3),
            "kill_after": kill_after,
            "twice": random_.random() < 0.1,  # two registrations of the hook
        }

    def _feed(
        self, payload: dict[str, Any], *, wait: float, kill_after: float | None, twice: bool
    ) -> None:
        time.sleep(wait)
        ended_well = self._run_hook(payload, kill_after)
        if twice:
            ended_well |= self._run_hook(payload, None)
        (self._payloads.certain if ended_well else self._payloads.perhaps).append(payload)

    def _run_hook(self, payload: dict[str, Any], kill_after: float | None) -> bool:
        """Whether the hook came to its end, as Claude Code would see it."""
        self.figures.hooks += 1
        with self._hook.start() as process:
            killer = None
            if kill_after is not None:
                killer = threading.Timer(kill_after, _kill_group, [process.pid])
                killer.start()
            with suppress(BrokenPipeError):
                process.communicate(json.dumps(payload).encode())
            if killer:
                killer.cancel()
                killer.join()
        if process.returncode == 0:
            return True
        assert process.returncode == -signal.SIGKILL, process.returncode
        self.figures.hooks_killed += 1
        return False

    def _start_daemon(self) -> None:
        if self._daemon is None or self._daemon.poll() is not None:
            self._daemon = self._home.run_in_foreground()

    def _kill_daemon(self) -> None:
        if self._daemon is not None and self._daemon.poll() is None:
            self._end_daemon(signal.SIGKILL)
            self.figures.daemons_killed += 1
            self._start_daemon()

    def _end_daemon(self, number: signal.Signals) -> None:
        if self._daemon is not None:
            with suppress(ProcessLookupError):
                self._daemon.send_signal(number)
            self._daemon.wait(20)

    def _kill_api(self) -> None:
        for pid, words in self._family():
            if "pattern_intelligence" in words:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.figures.apis_killed += 1

    def _family(self) -> Iterator[tuple[int, list[str]]]:
        """Every living process that was started for this state directory, however deep."""
        if not Path("/proc").is_dir():
            return
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                words = words_of(int(entry.name), "cmdline")
                if any(str(self._home.state.root) in word for word in words):
                    yield int(entry.name), words

    def _sync_beside_the_daemon(self) -> None:
        code = "import sys; from pattern_tracker.cli import main; sys.exit(main(['sync']))"
        variables = {
            "PATTERN_CACHE_DIR": str(self._home.state.root),
            "HOME": str(self._home.root),
            "PATH": os.defpath,
        }
        # It may well meet an API that is being killed: only its doing no harm is of interest.
        subprocess.run(
            [sys.executable, "-c", code],
            env=variables,
            capture_output=True,
            check=False,
            timeout=60,
        )
        self.figures.syncs += 1

    async def _sync_until_nothing_waits(self) -> None:
        """As a person would: a probe that a killed daemon has lost is not waited for."""
        state_dir = self._home.state
        loaded = load_settings(environ=None, config_file=self._home.config)
        settings = replace(loaded.settings, state_dir=state_dir.root)
        async with (
            EmbeddedApi(state_dir),
            Drain(load_settings=lambda: settings, clock=SystemClock()) as drain,
        ):
            for _ in range(SYNCS_AT_THE_END):
                report = await drain.run_pass(forced=True)
                waiting = tally(state_dir).get(("events", "waiting"), 0)
                if not report.more and not waiting and not report.moved:
                    return
                await asyncio.sleep(0.05)
        raise AssertionError(f"events still wait: {tally(state_dir)}")

    def _fresh_event_gets_through(self) -> None:
        fresh = self._next_hook()["payload"]
        self._start_daemon()
        assert self._run_hook(fresh, None)
        self._payloads.certain.append(fresh)
        assert self._daemon is not None
        assert self._daemon.poll() is None
        wanted = set(Expected.of([fresh]).codes)
        wait_until(
            lambda: wanted <= stored_by_embedded_api(self._home.state).keys(),
            what="the fresh event",
        )

    def _reckon(self) -> None:
        certain = Expected.of(self._payloads.certain)
        allowed = Expected.of([*self._payloads.certain, *self._payloads.perhaps])
        stored = stored_by_embedded_api(self._home.state)
        in_books = capture_keys(self._home.state, state="ingested")
        self.figures.events = len(stored)
        self.figures.torn = len(self._torn())
        self.figures.losses = len(certain.codes.keys() - stored.keys()) + len(
            certain.keys - in_books
        )
        assert self.figures.losses == 0, self.figures
        assert stored.items() <= allowed.codes.items(), "something else than was captured"
        assert certain.keys <= in_books <= allowed.keys
        sums = tally(self._home.state)
        assert sums["captures", "ingested"] == len(in_books), sums
        assert sums["events", "delivered"] == len(stored), sums
        assert not {("events", state) for state in ("waiting", "quarantined", "expired")} & {*sums}
        assert self._hook.turned_away() == 0
        assert self.figures.torn <= self.figures.hooks_killed

    def _torn(self) -> list[Path]:
        """What killed hooks left; whatever parses has no business to be there still."""
        left = [*self._hook.files(), *self._home.state.quarantine.iterdir()]
        whole = {capture_key(p).bytes for p in map(_parsed, left) if p is not None}
        assert not whole, "a whole payload was left behind"
        return left


def _parsed(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError:
        return None
    return found


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def main() -> None:
    """Run from the command line; prints the figures as JSON."""
    parser = argparse.ArgumentParser(description="Kill, restart, count.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    print(json.dumps(asdict(KillRounds(seed=options.seed).run(options.rounds))))


if __name__ == "__main__":
    main()
