"""Who may import whom, as `docs/architecture.md` says it, and what must stay cheap to start."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "lib" / "pattern_tracker"
PACKAGES = {
    "pattern_tracker": LIBRARY,
    "pattern_intelligence": ROOT / "lib" / "pattern_intelligence",
    "pattern_daemon": ROOT / "daemon" / "pattern_daemon",
}
MODULES = sorted(
    (file, package) for package, folder in PACKAGES.items() for file in folder.rglob("*.py")
)

CLOCK = LIBRARY / "clock.py"
READS_THE_CLOCK = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "now", "today"}

# What each of these costs to import is more than a quick command takes in all.
HEAVY = {"aiohttp", "asyncio", "re2", "rich", "ssl", "structlog"}


def floors() -> list[list[str]]:
    """The rows of the table of rooms that begin with *floor*: names of modules, lowest first."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| floor [^:|]*: ([^|]*)\|", text, flags=re.MULTILINE)
    return [re.findall(r"`([\w*]+)/?`", row) for row in rows]


def floor_of(name: str) -> int:
    found = [
        number
        for number, patterns in enumerate(floors())
        if any(fnmatch(name, pattern) for pattern in patterns)
    ]
    assert len(found) == 1, f"{name} is on {len(found)} floors of docs/architecture.md"
    return found[0]


def imported(file: Path) -> Iterator[str]:
    """Every module that the file imports anywhere, for its types and inside functions too."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of_file(file: Path) -> str:
    """`ledger` for `lib/pattern_tracker/ledger/schema.py`."""
    return file.relative_to(LIBRARY).parts[0].removesuffix(".py")


def module_of_library(name: str) -> str | None:
    """`ledger` for `pattern_tracker.ledger.schema.reading`; None for what is no module of it."""
    package, _, rest = name.partition(".")
    part = rest.partition(".")[0]
    is_module = (LIBRARY / part).is_dir() or (LIBRARY / f"{part}.py").is_file()
    return part if package == "pattern_tracker" and part and is_module else None


def test_every_module_of_the_library_is_on_one_floor():
    for file in LIBRARY.rglob("*.py"):
        if file != LIBRARY / "__init__.py":
            floor_of(module_of_file(file))


def test_every_name_on_a_floor_is_a_module():
    for pattern in (pattern for floor in floors() for pattern in floor):
        assert [*LIBRARY.glob(f"{pattern}.py"), *LIBRARY.glob(f"{pattern}/__init__.py")], pattern


@pytest.mark.parametrize(("file", "package"), MODULES, ids=lambda part: getattr(part, "stem", part))
def test_module_imports_nothing_above_it(file, package):
    names = list(imported(file))
    ours = {name.partition(".")[0] for name in names} & set(PACKAGES)
    assert ours <= {"pattern_tracker", package}
    highest = {"pattern_intelligence": 0, "pattern_daemon": len(floors())}.get(package)
    if highest is None:
        highest = floor_of(module_of_file(file)) if file != LIBRARY / "__init__.py" else 0
    for part in filter(None, map(module_of_library, names)):
        assert floor_of(part) <= highest, part


@pytest.mark.parametrize(("file", "package"), MODULES, ids=lambda part: getattr(part, "stem", part))
def test_only_the_clock_reads_the_clock(file, package):
    if file == CLOCK:
        return
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            reads = node.value.id in {"time", "datetime", "date"} and node.attr in READS_THE_CLOCK
            assert not reads, f"{file}:{node.lineno}"


def test_ensure_imports_only_what_takes_a_lock():
    assert set(imported(PACKAGES["pattern_daemon"] / "ensure.py")) == {"fcntl", "os", "sys"}


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("pattern_tracker.cli", HEAVY | {"msgspec", "platformdirs", "sqlite3"}),
        ("pattern_tracker.cli.stats_command", HEAVY),
        ("pattern_tracker.cli.events_command", HEAVY),
        ("pattern_tracker.cli.config_command", HEAVY),
        ("pattern_daemon.cli", HEAVY | {"msgspec", "platformdirs", "sqlite3"}),
        ("pattern_daemon.status, pattern_daemon.status_view", HEAVY),
        ("pattern_intelligence.cli", HEAVY | {"msgspec", "platformdirs", "sqlite3"}),
    ],
)
def test_quick_command_starts_without_heavy_modules(modules, heavy):
    program = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    assert not heavy & set(done.stdout.split())
