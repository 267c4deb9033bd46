"""What Claude Code itself wrote down about the sessions in a HOME."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def hook_remarks(home: Path) -> list[str]:
    """Kinds of remark on hooks in the transcripts: a hook that is silent and exits 0 has none."""
    transcripts = (home / ".claude" / "projects").rglob("*.jsonl")
    lines = [json.loads(line) for t in transcripts for line in t.read_text().splitlines()]
    assert lines
    kinds = [line["attachment"]["type"] for line in lines if "attachment" in line]
    return [kind for kind in kinds if kind.startswith("hook_")]


def subagent_ids(home: Path) -> list[str]:
    """The ids of the subagents of all sessions, as the names of their transcripts have them."""
    transcripts = (home / ".claude" / "projects").rglob("subagents/agent-*.jsonl")
    return [transcript.stem.removeprefix("agent-") for transcript in transcripts]
