from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pattern_tracker.hook_payload import HookPayload, decode
from pattern_tracker.patterns.extract import Change, Filtered, Rule, extract
from pattern_tracker.patterns.identity import pattern_id

PAYLOADS = Path(__file__).parent.parent / "payloads"


def unchanged(text: str) -> str:
    return text


def recorded(name: str) -> tuple[Change, ...] | Filtered:
    return extract(decode((PAYLOADS / f"{name}.json").read_bytes()), redact=unchanged)


def written(before: str | None, after: str, path: str = "/p/a.py") -> HookPayload:
    return HookPayload(
        hook_event_name="PostToolUse",
        tool_name="Write",
        tool_input={"file_path": path, "content": after},
        tool_response={
            "type": "create" if before is None else "update",
            "content": after,
            "originalFile": before,
        },
    )


def only(result: tuple[Change, ...] | Filtered) -> Change:
    assert isinstance(result, tuple)
    (change,) = result
    return change


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("PostToolUse-Write", None, "import os\n\nprint(os.name)\n"),
        (
            "PostToolUse-Write-update",
            "def f():\n    return 0 + 2\n\n\ndef g():\n    return 0 + 1\n",
            "def f():\n    return 42\n",
        ),
        (
            "PostToolUse-Edit",
            "def f():\n    return 1\n\n\ndef g():\n    return 1\n",
            "def f():\n    return 2\n\n\ndef g():\n    return 1\n",
        ),
        (
            "PostToolUse-Edit-replaceall",
            "def f():\n    return 2\n\n\ndef g():\n    return 1\n",
            "def f():\n    return 0 + 2\n\n\ndef g():\n    return 0 + 1\n",
        ),
        ("PostToolUse-Edit-create", None, "made by edit\n"),
        ("PostToolUse-Edit-subagent", "from sub\n", "from the sub\n"),
        ("PostToolUse-Write-relativepath", None, "r\n"),
    ],
)
def test_extract_of_recorded_payloads(name: str, before: str | None, after: str) -> None:
    change = only(recorded(name))
    assert (change.before.code if change.before else None) == before
    assert change.after.code == after
    assert change.path.startswith("/home/user/project/")


@pytest.mark.parametrize("variant", ["", "-insert", "-delete"])
def test_extract_of_recorded_notebooks(variant: str) -> None:
    change = only(recorded(f"PostToolUse-NotebookEdit{variant}"))
    assert change.before
    assert change.after.language == "notebook"
    assert json.loads(change.after.code or "") != json.loads(change.before.code or "")


def test_extract_chains_recorded_notebook_edits_by_id() -> None:
    edited, inserted = (
        recorded("PostToolUse-NotebookEdit"),
        recorded("PostToolUse-NotebookEdit-insert"),
    )
    following = only(inserted).before
    assert following
    assert only(edited).after.pattern_id == following.pattern_id


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("PreToolUse-Write", Rule.BEFORE_THE_FACT),
        ("PreToolUse-NotebookEdit", Rule.BEFORE_THE_FACT),
        ("PostToolUseFailure-Edit", Rule.TOOL_FAILED),
        ("PostToolUse-Bash", Rule.NOT_A_FILE_CHANGE),
        ("PostToolUseFailure-Bash", Rule.NOT_A_FILE_CHANGE),
        ("SessionStart-startup", Rule.NOT_A_FILE_CHANGE),
        ("Stop", Rule.NOT_A_FILE_CHANGE),
        ("SubagentStop", Rule.NOT_A_FILE_CHANGE),
    ],
)
def test_extract_filters_recorded_payloads_by_rule(name: str, rule: Rule) -> None:
    assert recorded(name) == Filtered(rule=rule)


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("a\n", "a\n\n", Rule.UNCHANGED),
        ("a\r\n", "a\n", Rule.UNCHANGED),
        ("a", " \n\t", Rule.EMPTY),
        (None, "", Rule.EMPTY),
        (None, "PK\0\0", Rule.BINARY),
        ("PK\0\0", "text", Rule.BINARY),
    ],
)
def test_extract_filters_contents_by_rule(before: str | None, after: str, rule: Rule) -> None:
    assert extract(written(before, after), redact=unchanged) == Filtered(rule=rule)


def test_extract_filters_a_notebook_edit_that_reports_an_error() -> None:
    payload = HookPayload(
        hook_event_name="PostToolUse",
        tool_name="NotebookEdit",
        tool_input={"notebook_path": "/a.ipynb"},
        tool_response={"error": "no such cell"},
    )
    assert extract(payload, redact=unchanged) == Filtered(rule=Rule.TOOL_FAILED)


def test_extract_of_an_unknown_whole_gives_a_fingerprint_only() -> None:
    payload = HookPayload(
        hook_event_name="PostToolUse",
        tool_name="Edit",
        tool_input={"file_path": "/p/a.py", "old_string": "a", "new_string": "b"},
        tool_response={},
    )
    change = only(extract(payload, redact=unchanged))
    assert (change.after.fingerprint_only, change.after.code, change.after.size) == (True, None, 1)
    assert change.after.pattern_id != pattern_id("python", "b")
    assert not change.before_known


def test_extract_identifies_by_redacted_code() -> None:
    def redact(text: str) -> str:
        return text.replace("hunter2", "[X]").replace("hunter3", "[X]")

    change = only(extract(written("p = hunter2\n", "p = hunter2\nq\n"), redact=redact))
    assert change.before
    assert change.before.pattern_id == pattern_id("python", "p = [X]\n")
    assert "hunter2" not in repr(change) + str(change.after.code) + str(change.before.code)
    same = extract(written("p = hunter2\n", "p = hunter3\n"), redact=redact)
    assert same == Filtered(rule=Rule.UNCHANGED)


def test_extract_redacts_path_and_name_but_not_the_slot() -> None:
    change = only(
        extract(written(None, "x", "/p/s3cret.py"), redact=lambda t: t.replace("s3cret", "[X]"))
    )
    assert (change.path, change.after.name, change.slot_path) == (
        "/p/[X].py",
        "[X].py",
        "/p/s3cret.py",
    )


def test_extract_cuts_a_name_to_what_the_api_takes() -> None:
    name: Any = only(extract(written(None, "x", "/p/" + "n" * 300), redact=unchanged)).after.name
    assert len(name) == 255
