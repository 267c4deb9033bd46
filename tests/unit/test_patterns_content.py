from __future__ import annotations

from typing import Any

import pytest

from pattern_tracker.hook_payload import HookPayload
from pattern_tracker.patterns.content import FileChange, file_change
from pattern_tracker.patterns.unified_patch import apply_patch


def hunk(start: int, old: int, *lines: str) -> dict[str, Any]:
    return {"oldStart": start, "oldLines": old, "newStart": start, "newLines": 0, "lines": lines}


def edit(original: str | None, old: str, new: str, **response: Any) -> FileChange:
    return changed(
        "Edit",
        {"file_path": "/p/a.txt", "old_string": old, "new_string": new, "replace_all": False},
        {"originalFile": original, "oldString": old, "newString": new, "structuredPatch": []}
        | response,
    )


def changed(tool: str, asked: dict[str, Any], done: Any) -> FileChange:
    change = file_change(
        HookPayload(
            hook_event_name="PostToolUse", tool_name=tool, tool_input=asked, tool_response=done
        )
    )
    assert change is not None
    return change


@pytest.mark.parametrize(
    ("original", "hunks", "after"),
    [
        ("", [hunk(1, 0, "+a")], "a\n"),
        ("a\nb\n", [hunk(1, 2, " a", "-b", "+c")], "a\nc\n"),
        ("a\nb", [hunk(1, 2, " a", "-b", "\\ No newline at end of file", "+b")], "a\nb\n"),
        ("a\nb\n", [hunk(2, 1, "-b", "+b", "\\ No newline at end of file")], "a\nb"),
        ("a\nb", [hunk(1, 2, "-a", "+x", " b", "\\ No newline at end of file")], "x\nb"),
        ("a\nb", [hunk(1, 2, "-a", "+x", " b")], "x\nb"),
        ("a\x0cb\u2028c\rd\n", [hunk(1, 1, "-a\x0cb\u2028c\rd", "+e\x0c\r")], "e\x0c\r\n"),
        ("a\n", [hunk(1, 1, "-a")], ""),
        ("\ufeffa\n", [hunk(1, 1, "-\ufeffa", "+\ufeffb")], "\ufeffb\n"),
        ("1\n2\n3\n4\n", [hunk(1, 1, "-1", "+x"), hunk(4, 1, "-4")], "x\n2\n3\n"),
    ],
)
def test_apply_patch_gives_the_new_text(original: str, hunks: list[Any], after: str) -> None:
    assert apply_patch(original, hunks) == after


@pytest.mark.parametrize(
    "hunks",
    [
        [hunk(1, 1, " other")],
        [hunk(1, 2, " a")],
        [hunk(9, 1, " a")],
        [hunk(2, 1, "-b"), hunk(1, 1, "-a")],
        [hunk(1, 1, "?a")],
        [hunk(1, 0, "")],
        [hunk(1, 0, "+x", "\\ No newline at end of file")],
        [{"lines": []}],
        "no list",
        {"a": 1},
    ],
)
def test_apply_patch_refuses_what_does_not_fit(hunks: Any) -> None:
    assert apply_patch("a\nb\n", hunks) is None


def test_edit_with_an_empty_patch_does_the_replacement() -> None:
    assert edit("a b a", "b", "c").after == "a c a"
    assert edit("a b a", "a", "c", replaceAll=True).after == "c b c"


def test_edit_with_a_patch_that_does_not_fit_does_the_replacement() -> None:
    assert edit("a\nb\n", "b", "c", structuredPatch=[hunk(1, 1, "-z")]).after == "a\nc\n"


def test_edit_prefers_the_replacement_where_the_patch_shows_tabs_as_spaces() -> None:
    change = edit("a\n", "a", "\tb", structuredPatch=[hunk(1, 1, "-a", "+  b")])
    assert change.after == "\tb\n"


@pytest.mark.parametrize(
    "change",
    [
        edit(None, "a", "b"),
        edit("a a", "a", "b"),
        edit("x", "a", "b"),
        edit("text", "", "b"),
        edit("a", "a", "b", userModified=True),
    ],
    ids=["no original", "ambiguous", "absent", "creating over text", "user modified"],
)
def test_edit_that_cannot_be_told_keeps_only_the_fragment(change: FileChange) -> None:
    assert (change.after, change.after_known, change.fragment) == (None, False, "b")


def test_edit_modified_by_the_user_takes_the_patch() -> None:
    change = edit("a\n", "a", "b", userModified=True, structuredPatch=[hunk(1, 1, "-a", "+mine")])
    assert change.after == "mine\n"


def test_edit_that_creates_a_file_takes_the_new_string() -> None:
    assert edit("", "", "made\n").after == "made\n"


def test_write_takes_the_content_and_the_path_that_was_asked_for() -> None:
    asked = {"file_path": "/p/rel.txt", "content": "model's"}
    done = {"type": "create", "filePath": "rel.txt", "content": "on disk", "originalFile": None}
    change = changed("Write", asked, done)
    assert (change.path, change.after) == ("/p/rel.txt", "on disk")
    assert (change.before, change.before_known) == (None, True)


def test_write_without_original_does_not_know_what_was_before() -> None:
    change = changed("Write", {"file_path": "/a", "content": "x"}, {"type": "update"})
    assert (change.before_known, change.after) == (False, "x")


def test_write_modified_by_the_user_takes_the_patch_first() -> None:
    done = {
        "type": "update",
        "content": "proposed\n",
        "originalFile": "a\n",
        "structuredPatch": [hunk(1, 1, "-a", "+mine")],
        "userModified": True,
    }
    assert changed("Write", {"file_path": "/a", "content": "proposed\n"}, done).after == "mine\n"


@pytest.mark.parametrize(
    "done", [None, "text", [], {"originalFile": 3, "content": [], "structuredPatch": 1}]
)
def test_a_response_of_another_shape_leaves_what_was_asked_for(done: Any) -> None:
    assert changed("Write", {"file_path": "/a", "content": "x"}, done).after == "x"
    unknown = changed("Edit", {"file_path": "/a", "old_string": "a", "new_string": "b"}, done)
    assert not unknown.after_known


def test_a_nul_marks_the_change_binary() -> None:
    assert edit("a\0", "a", "b").binary
    assert not edit("a", "a", "b").binary


@pytest.mark.parametrize(
    ("event", "tool", "asked"),
    [
        ("PreToolUse", "Write", {"file_path": "/a"}),
        ("PostToolUse", "Bash", {"command": "x"}),
        ("PostToolUse", "Write", {}),
        ("PostToolUse", "Write", None),
        ("PostToolUse", "NotebookEdit", {"file_path": "/a"}),
    ],
)
def test_what_is_no_finished_file_change_gives_none(event: str, tool: str, asked: Any) -> None:
    assert file_change(HookPayload(hook_event_name=event, tool_name=tool, tool_input=asked)) is None


def test_repr_shows_sizes_and_no_content() -> None:
    assert repr(edit("abc", "b", "secret")) == "<FileChange Edit before=3 after=8>"
