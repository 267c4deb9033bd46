"""What delivery costs: throughput, latency, a large backlog, and doing nothing.

    python tests/bench/bench_delivery.py [throughput] [latency] [backlog] [idle] [--json PATH]

Real processes throughout: the daemon as it is started for users, its embedded API or a
`pattern-intelligence` on loopback, files in the spool as the hook leaves them.  Figures depend
on the machine; the limits are those that the project promises for two cores.  Exit 1 if one
is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pattern_tracker.hook_payload import capture_key, decode
from pattern_tracker.ledger.schema import open_for_reading
from pattern_tracker.ledger.summary import events_of_capture
from pattern_tracker.state_dir import StateDir
from tests.core import write_payload
from tests.hook_runner import HOOKS, registered_command

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_JSON = Path(__file__).resolve().parent / "results" / "delivery.json"
TICKS = os.sysconf("SC_CLK_TCK")
TOKEN = "bench-token"

THROUGHPUT_EVENTS = 30_000
LATENCY_ROUNDS = 200
BACKLOG_EVENTS = 200_000
# What the API holds before the outage.  Its indexes are of random keys: while it is nearly
# empty a batch touches few of their pages, from some 50,000 events on a page for each key.
HELD_EVENTS = 60_000
IDLE_SECONDS = 60


def one_kilobyte_payload(number: int) -> bytes:
    """A Write of new code, about 1 KB as the client sends it."""
    code = f"def handler_{number}(request, store):\n" + "".join(
        f"    value_{line} = store.fetch(request.key, {number + line})\n" for line in range(6)
    )
    payload = write_payload(
        code, path=f"/home/user/project/f{number}.py", tool_use_id=f"toolu_{number:012d}"
    )
    return json.dumps(payload).encode()


def fill(state_dir: StateDir, first: int, last: int) -> None:
    for number in range(first, last):
        (state_dir.spool / f"bench.{number}.json").write_bytes(one_kilobyte_payload(number))


@dataclass
class Process:
    """What the kernel says of a running process."""

    pid: int

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def megabytes(self, what: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) * 1024 / 1e6
        raise KeyError(what)

    def children(self) -> list[Process]:
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [Process(int(pid)) for pid in path.read_text().split()]


@contextmanager
def state(config: str = "") -> Iterator[tuple[StateDir, Path]]:
    """A state directory and a config file that are thrown away."""
    # Not in /tmp, which may be memory: files and fsync are part of what is measured.
    root = Path(tempfile.mkdtemp(prefix="pt-bench-", dir=Path(__file__).resolve().parent))
    try:
        state_dir = StateDir(root=root / "state")
        state_dir.prepare()
        file = root / "config.toml"
        file.write_text(config)
        file.chmod(0o600)
        yield state_dir, file
    finally:
        shutil.rmtree(root)


@contextmanager
def running(*arguments: str, ready: str = "", **environ: str) -> Iterator[Process]:
    """A command of ours, ended by its pid."""
    command = [sys.executable, "-m", *arguments]
    env = {"PATH": os.defpath, "HOME": tempfile.gettempdir(), **environ}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as child:
        try:
            if ready:
                assert child.stdout is not None
                line = child.stdout.readline().decode()
                assert line.startswith(ready), line
            yield Process(child.pid)
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(timeout=60)


def daemon(state_dir: StateDir, config: Path) -> Any:
    options = ["--state-dir", str(state_dir.root), "--config", str(config)]
    return running("pattern_daemon", "run", *options)


def count(state_dir: StateDir, state_name: str) -> int:
    """How many events are in a state; a look that costs the measured processes next to nothing."""
    connection = open_for_reading(state_dir.ledger)
    if connection is None:
        return 0
    with closing(connection):
        query = "SELECT coalesce(sum(n), 0) FROM tally WHERE book = 'events' AND state = ?"
        (number,) = connection.execute(query, (state_name,)).fetchone()
    return int(number)


@dataclass
class Timeline:
    """(seconds, events delivered beyond `start`) as they were seen."""

    start: int = 0
    points: list[tuple[float, int]] = field(default_factory=list)

    def watch(self, state_dir: StateDir, total: int) -> None:
        while True:
            done = count(state_dir, "delivered") - self.start
            if done > 0 and (not self.points or done > self.points[-1][1]):
                self.points.append((time.perf_counter(), done))
            if done >= total - self.start:
                return
            time.sleep(0.1)

    def rate(self, first: float = 0.0, last: float = 1.0) -> float:
        """Events a second between two shares of the total."""
        total = self.points[-1][1]
        inside = [point for point in self.points if first * total <= point[1] <= last * total]
        (begin, low), (end, high) = inside[0], inside[-1]
        return (high - low) / (end - begin)


def throughput() -> dict[str, float]:
    """Spool to acknowledged by the embedded API, redaction included."""
    with state("[cache]\nmax_size_mb = 100000\n") as (state_dir, config):
        fill(state_dir, 0, THROUGHPUT_EVENTS)
        timeline = Timeline()
        with daemon(state_dir, config) as process:
            timeline.watch(state_dir, THROUGHPUT_EVENTS)
            daemon_cpu = process.cpu_seconds()
            api_cpu = sum(child.cpu_seconds() for child in process.children())
    return {
        "events_per_second": timeline.rate(),
        "daemon_cpu_ms_per_event": daemon_cpu * 1e3 / THROUGHPUT_EVENTS,
        "api_cpu_ms_per_event": api_cpu * 1e3 / THROUGHPUT_EVENTS,
    }


def latency() -> dict[str, float]:
    """Exit of the registered hook to acknowledged, daemon idle before each."""
    seconds = []
    with state() as (state_dir, config), daemon(state_dir, config):
        command = registered_command(HOOKS / "capture.sh", state_dir.root)
        for number in range(-5, LATENCY_ROUNDS):
            raw = one_kilobyte_payload(1_000_000 + number)
            key = capture_key(decode(raw), name="", mtime_ns=0)
            subprocess.run(["/bin/sh", "-c", command], input=raw, check=True)
            begin = time.perf_counter()
            while not (events := events_of_capture(state_dir.ledger, key)) or set(
                events.values()
            ) != {"delivered"}:
                time.sleep(0.002)
            if number >= 0:
                seconds.append(time.perf_counter() - begin)
            time.sleep(0.3)
    cuts = statistics.quantiles(seconds, n=100)
    return {"p50_seconds": cuts[49], "p99_seconds": cuts[98], "max_seconds": max(seconds)}


def backlog() -> dict[str, float]:
    """Many events wait for an API that is down; then it comes back.

    Once with an API that has been in use, once with an empty one.
    """
    used, empty = _backlog(HELD_EVENTS), _backlog(0)
    return {
        **used,
        "events_per_second_empty_api": empty["events_per_second"],
        "last_tenth_over_first_empty_api": empty["last_tenth_over_first"],
    }


def _backlog(held: int) -> dict[str, float]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = (
        f'[service]\nurl = "http://127.0.0.1:{port}"\ntoken = "{TOKEN}"\n'
        "[cache]\nmax_size_mb = 100000\n[breaker]\ntimeout = 2\n[health]\ninterval = 1\n"
    )
    total = held + BACKLOG_EVENTS
    with state(settings) as (state_dir, config), daemon(state_dir, config) as process:
        database = str(state_dir.root / "api.sqlite3")
        serve = ["pattern_intelligence", "serve", "--port", str(port), "--database", database]
        if held:
            with running(*serve, ready="listening", INTELLIGENCE_API_TOKEN=TOKEN):
                fill(state_dir, 0, held)
                Timeline().watch(state_dir, held)
        fill(state_dir, held, total)
        while count(state_dir, "waiting") < BACKLOG_EVENTS:
            time.sleep(0.5)
        timeline = Timeline(start=held)
        with running(*serve, ready="listening", INTELLIGENCE_API_TOKEN=TOKEN):
            timeline.watch(state_dir, total)
        peak = process.megabytes("VmHWM")
    return {
        "peak_megabytes": peak,
        "events_per_second": timeline.rate(),
        "last_tenth_over_first": timeline.rate(0.9, 1.0) / timeline.rate(0.0, 0.1),
    }


def idle() -> dict[str, float]:
    """A daemon with nothing to do, and its embedded API."""
    with state() as (state_dir, config), daemon(state_dir, config) as process:
        while not state_dir.intelligence_socket.exists():
            time.sleep(0.1)
        time.sleep(3)
        everyone = [process, *process.children()]
        before = [one.cpu_seconds() for one in everyone]
        time.sleep(IDLE_SECONDS)
        used = [one.cpu_seconds() - then for one, then in zip(everyone, before, strict=True)]
        return {
            "share_of_a_core": sum(used) / IDLE_SECONDS,
            "largest_process_megabytes": max(one.megabytes("VmRSS") for one in everyone),
        }


LIMITS: dict[str, dict[str, tuple[str, float]]] = {
    "throughput": {"events_per_second": (">=", 3_000), "daemon_cpu_ms_per_event": ("<=", 0.4)},
    "latency": {"p99_seconds": ("<=", 1.0)},
    "backlog": {"peak_megabytes": ("<=", 120), "last_tenth_over_first": (">=", 0.9)},
    "idle": {"share_of_a_core": ("<=", 0.002), "largest_process_megabytes": ("<=", 60)},
}
MEASURES = {"throughput": throughput, "latency": latency, "backlog": backlog, "idle": idle}


def main() -> int:
    """Prints the table, writes the JSON; 1 if a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", choices=[[], *MEASURES], default=[])
    parser.add_argument("--json", type=Path, default=DEFAULT_JSON, help="where the figures go")
    options = parser.parse_args()
    figures: dict[str, Any] = {"machine": platform.platform(), "cores": os.cpu_count()}
    missed = False
    for name in options.what or MEASURES:
        figures[name] = MEASURES[name]()
        for figure, value in figures[name].items():
            sign, limit = LIMITS[name].get(figure, ("", 0))
            bad = (sign == ">=" and value < limit) or (sign == "<=" and value > limit)
            missed |= bad
            promise = f"  limit {sign} {limit:g}" if sign else ""
            print(f"{name:11} {figure:26} {value:10.4g}{promise}{'  MISSED' if bad else ''}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
