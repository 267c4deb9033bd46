"""What a hook costs, as a share of a bare Python start; ratios of medians in one interleaved run.

    python tests/bench/bench_hook.py [--rounds 300] [--json PATH]

Every variant is started alike (posix_spawn, 1 KB ready on a pipe, the wait for its end), once per
round and each round in another order: whatever else the machine does falls on all of them, and none
always follows the one that empties the caches. The last two are not judged: `two shells` starts a
script of `exit 0` alone, and so is the least that a hook costs which is a script of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.hook_runner import HOOKS, SESSION, make_state_dir, registered_command

LIMITS = {"hook": 0.3, "hook disabled": 0.15}
"""Medians, as a share of the median of `python`."""

PAYLOAD = json.dumps({"hook_event_name": "PostToolUse", "tool_input": "x" * 968}).encode() + b"\n"
DEFAULT_JSON = Path(__file__).resolve().parent / "results" / "hook.json"


def base_python() -> str:
    """The interpreter itself: not a virtual environment's link, not a version manager's shim."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def variants(folder: Path) -> dict[str, list[str]]:
    """Label to argument vector; state directories are made below `folder`."""
    on, off, empty = folder / "on", folder / "off", folder / "empty.sh"
    make_state_dir(on)
    make_state_dir(off)
    (on / "spool").mkdir(mode=0o700)
    (off / "disabled").touch()
    empty.write_text("#!/bin/sh\nexit 0\n")
    empty.chmod(0o755)

    def shell(command: str) -> list[str]:
        return ["/bin/sh", "-c", command]

    capture = HOOKS / "capture.sh"
    return {
        "floor": shell(":"),
        "hook": shell(registered_command(capture, on)),
        "hook disabled": shell(registered_command(capture, off)),
        "python": [base_python(), "-I", "-S", "-c", "pass"],
        "two shells": shell(registered_command(empty, on)),
        "session start": shell(registered_command(HOOKS / "session_start.sh", on)),
    }


def seconds_of(argv: list[str], env: dict[str, str], null: int) -> float:
    """Wall time from before the spawn until the process was waited for."""
    reader, writer = os.pipe()
    os.write(writer, PAYLOAD)
    os.close(writer)
    streams = [(os.POSIX_SPAWN_DUP2, reader, 0)]
    streams += [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (1, 2)]
    begin = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=streams)
    os.waitpid(pid, 0)
    elapsed = time.perf_counter() - begin
    os.close(reader)
    return elapsed


def measure(rounds: int) -> dict[str, float]:
    """Label to median in seconds over `rounds` interleaved rounds, after five to warm up."""
    env = {**os.environ, "CLAUDE_CODE_SESSION_ID": SESSION}
    env.pop("PATTERN_TRACKING_ENABLED", None)
    order = random.Random(1)
    with tempfile.TemporaryDirectory() as name:
        table = variants(Path(name))
        times: dict[str, list[float]] = {label: [] for label in table}
        null = os.open(os.devnull, os.O_WRONLY)
        for number in range(-5, rounds):
            for label in order.sample(list(table), len(table)):
                elapsed = seconds_of(table[label], env, null)
                if number >= 0:
                    times[label].append(elapsed)
        os.close(null)
        stored = len(list((Path(name) / "on" / "spool").iterdir()))
    expected = 2 * (rounds + 5)
    if stored != expected:
        sys.exit(f"{stored} payloads stored, not {expected}: nothing was measured")
    return {label: statistics.median(values) for label, values in times.items()}


def main() -> int:
    """Prints the table, writes the JSON; 1 if a ratio is over its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300, help="at least 200 (default: 300)")
    parser.add_argument("--json", type=Path, default=DEFAULT_JSON, help="where the figures go")
    options = parser.parse_args()
    medians = measure(max(200, options.rounds))
    ratios = {label: value / medians["python"] for label, value in medians.items()}
    over = [label for label, limit in LIMITS.items() if ratios[label] > limit]
    for label, median in medians.items():
        limit = f"  limit {LIMITS[label]}" if label in LIMITS else ""
        mark = "  OVER" if label in over else ""
        print(f"{label:14} {median * 1e3:8.3f} ms {ratios[label]:7.3f}{limit}{mark}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        "sh": os.path.realpath("/bin/sh"),
        "python": base_python(),
        "machine": platform.platform(),
        "rounds": max(200, options.rounds),
        "median_seconds": medians,
        "ratios": ratios,
        "limits": LIMITS,
    }
    options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if over else 0


if __name__ == "__main__":
    raise SystemExit(main())
