"""The session that stands for a working day: one of each change that Claude Code can make.

Played by `run_claude` over `FILES_BEFORE`, in this order (reads are left out of the numbering,
they are not recorded):

1. Write `greet.py`, which is new
2. Write over `settings.ini`, which was there
3. Edit `shapes.py` in one place
4. Edit `shapes.py`, replacing a name everywhere
5. NotebookEdit of the first cell of `study.ipynb`
6. a subagent's Write of `report.py`, which is new
7. Bash that succeeds
8. Bash that exits with 3

`FILES_AFTER` is what then lies in the project, and `RECORDED_PAYLOADS` what hooks registered with
`hook_settings` are given: (event, tool, name of the changed file), as often as it happens.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.e2e.claude_session import run_claude
from tests.e2e.scripted_model import call, delegate, say

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.e2e.claude_session import Result
    from tests.e2e.scripted_model import Turn

PROMPT = "Work through the list."
FAILING_COMMAND = "echo out; echo bad >&2; exit 3"


def _notebook(source: str) -> str:
    cell: dict[str, Any] = {"cell_type": "code", "id": "c1", "metadata": {}, "outputs": []}
    cell |= {"execution_count": None, "source": source}
    book = {"cells": [cell], "metadata": {"language_info": {"name": "python"}}}
    return json.dumps(book | {"nbformat": 4, "nbformat_minor": 5}, indent=1)


GREET = 'def greet(name: str) -> str:\n    return f"Hello, {name}"\n'
REPORT = "def report(rows: list[str]) -> str:\n    return ', '.join(rows)\n"
SHAPES_BEFORE = (
    "def area(w, h):\n    return w * h\n\n\ndef volume(w, h, d):\n    return w * h * d\n"
)
SHAPES_EDITED = SHAPES_BEFORE.replace("def area(w, h):", "def area(w, h=1):")
SHAPES_AFTER = SHAPES_EDITED.replace("w", "width")
CELL_BEFORE = "a = 1\nprint(a)"
CELL_AFTER = "a = 2\nprint(a)"

FILES_BEFORE = {
    "settings.ini": "[server]\nport = 80\n",
    "shapes.py": SHAPES_BEFORE,
    "study.ipynb": _notebook(CELL_BEFORE),
}
FILES_AFTER = {
    "greet.py": GREET,
    "settings.ini": "[server]\nport = 8080\n",
    "shapes.py": SHAPES_AFTER,
    "report.py": REPORT,
}  # and study.ipynb, in Claude Code's own formatting: see `cell_source`

CHANGES = (
    ("Write", "greet.py"),
    ("Write", "settings.ini"),
    ("Edit", "shapes.py"),
    ("Edit", "shapes.py"),
    ("NotebookEdit", "study.ipynb"),
    ("Write", "report.py"),
)
RECORDED_PAYLOADS: Counter[tuple[str, str | None, str | None]] = Counter(
    [("PreToolUse", tool, file) for tool, file in CHANGES]
    + [("PostToolUse", tool, file) for tool, file in CHANGES]
    + [("PostToolUse", "Bash", None), ("PostToolUseFailure", "Bash", None)]
    + [(event, None, None) for event in ("SessionStart", "SubagentStop", "Stop", "SessionEnd")]
)


def lay_out_project(project: Path) -> None:
    """Write `FILES_BEFORE` into `project`."""
    for name, text in FILES_BEFORE.items():
        (project / name).write_text(text, encoding="utf-8")


def everyday_script(project: Path) -> list[Turn]:
    """The turns of the session, over a project that `lay_out_project` has prepared."""
    settings, shapes, study = (
        str(project / n) for n in ("settings.ini", "shapes.py", "study.ipynb")
    )
    return [
        call("Write", file_path=str(project / "greet.py"), content=GREET),
        call("Read", file_path=settings),
        call("Write", file_path=settings, content=FILES_AFTER["settings.ini"]),
        call("Read", file_path=shapes),
        call("Edit", file_path=shapes, old_string="area(w, h)", new_string="area(w, h=1)"),
        call("Edit", file_path=shapes, old_string="w", new_string="width", replace_all=True),
        call("Read", file_path=study),
        call("NotebookEdit", notebook_path=study, cell_id="c1", new_source=CELL_AFTER),
        delegate(
            "Write report.py, please.",
            turns=[
                call("Write", file_path=str(project / "report.py"), content=REPORT),
                say("report.py is written."),
            ],
        ),
        call("Bash", command="echo fine", description="Say that all is fine"),
        call("Bash", command=FAILING_COMMAND, description="Fail"),
        say("All done."),
    ]


def play_everyday(home: Path, project: Path, settings: Mapping[str, Any] | None = None) -> Result:
    """Lay the project out and play the session, with `settings` as the user's."""
    lay_out_project(project)
    turns = everyday_script(project)
    return run_claude(PROMPT, turns=turns, home=home, project=project, settings=settings)


def told(result: Result, project: Path) -> list[tuple[str, bool, str]]:
    """What the model was told, in what two runs share: no directory, no figures of the subagent.

    Equal lists mean that hooks made no difference that the model could see.
    """
    return [
        (r.tool, r.is_error, r.text.replace(str(project), "").partition("agentId: ")[0])
        for r in result.tool_results
    ]


def cell_source(notebook: Path) -> str:
    """The source of the first cell, which nbformat allows to be a string or a list of lines."""
    return "".join(json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]["source"])


def recorded(payload: dict[str, Any]) -> tuple[str, str | None, str | None]:
    """One hook payload in the terms of `RECORDED_PAYLOADS`."""
    tool_input = payload.get("tool_input", {})
    path = tool_input.get("file_path") or tool_input.get("notebook_path")
    name = path.rpartition("/")[2] if path else None
    return payload["hook_event_name"], payload.get("tool_name"), name
