"""`pattern-tracker stats`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pattern_tracker.cli.output import print_json, print_rows
from pattern_tracker.clock import SystemClock
from pattern_tracker.settings import load_settings
from pattern_tracker.state_dir import StateDir
from pattern_tracker.stats import collect_stats

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping


def run(options: argparse.Namespace) -> int:
    """Print where everything stands."""
    settings = load_settings(environ=os.environ).settings
    state_dir = StateDir(root=settings.state_dir)
    stats = collect_stats(settings, state_dir, now=SystemClock().now())
    if options.json:
        print_json(stats)
    else:
        print_rows(["", "", ""], list(_rows(stats)))
    return 0


def _rows(stats: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for book in ("captures", "events"):
        yield from _book_rows(book, stats[book])
    oldest = stats["oldest_waiting_seconds"]
    yield "oldest waiting", "none" if oldest is None else f"{oldest:.0f} s", ""
    yield "destination", stats["destination"], ""
    for url, count in stats["waiting_elsewhere"].items():
        yield "waiting for another", str(count), url
    gate = stats["gate"]
    details = [gate["reason"], _when("since", gate["since"]), _when("next try", gate["retry_at"])]
    yield "gate", gate["state"], ", ".join(filter(None, [*details, gate["remedy"]]))
    breaker = stats["breaker"]
    yield "breaker", breaker["state"], f"{breaker['failures']} failures in a row"
    yield "health", *_health(stats["health"])
    yield "daemon", *_daemon(stats["daemon"])
    disk = stats["disk"]
    yield "disk", _size(disk["spool_bytes"]), "spool"
    yield "", _size(disk["ledger_bytes"]), "ledger"


def _book_rows(name: str, book: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield name, str(book["total"]), "total"
    for state, count in book.items():
        if state not in {"total", "causes"}:
            causes = book["causes"].get(state, {})
            named = ", ".join(f"{n} {cause}" for cause, n in causes.items())
            yield "", str(count), f"{state} ({named})" if named else state


def _health(health: Mapping[str, Any]) -> tuple[str, str]:
    if health["checked_at"] is None:
        return "not checked", ""
    word = {True: "healthy", False: "unhealthy", None: "unknown"}[health["healthy"]]
    latency = health["latency_ms"]
    details = [
        health["reason"],
        "" if latency is None else f"{latency} ms",
        _when("checked", health["checked_at"]),
    ]
    return word, ", ".join(filter(None, details))


def _daemon(daemon: Mapping[str, Any]) -> tuple[str, str]:
    if not daemon["running"]:
        return "not running", "pattern-daemon start"
    details = f"pid {daemon['pid']}, version {daemon['version']}"
    return "running", ", ".join(filter(None, [details, _when("since", daemon["since"])]))


def _when(word: str, time: str | None) -> str:
    return f"{word} {time}" if time else ""


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
