"""Whatever else stands in settings.json survives merging and removing."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pattern_tracker.claude_code import hook_rules
from pattern_tracker.claude_code.hook_merge import merge, remove
from pattern_tracker.claude_code.registration import is_ours, registered_hooks

ENTRIES = registered_hooks(Path("/d/pattern-tracker/hooks"), Path("/state"))
MOVED = registered_hooks(Path("/x y/pattern-tracker/hooks"), Path("/it's"))

names = st.text(min_size=1, max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=5,
)
hooks = st.fixed_dictionaries(
    {"type": st.just("command"), "command": st.sampled_from(["a", "/x/capture.sh", "b 'c"])},
    optional={"timeout": st.integers(1, 9), "mine": values},
)
groups = st.fixed_dictionaries(
    {"hooks": st.lists(hooks, min_size=1, max_size=3)},
    optional={"matcher": st.sampled_from(["Bash", "Write|Edit|NotebookEdit", "", "X"])},
)
events = st.sampled_from(["PreToolUse", "PostToolUse", "Stop", "SessionStart", "PreCompact", "Odd"])
settings = st.dictionaries(names.filter(lambda n: n != "hooks"), values, max_size=4).flatmap(
    lambda rest: st.one_of(
        st.just(rest),
        st.dictionaries(events, st.lists(groups, min_size=1, max_size=3), min_size=1).map(
            lambda found: {**rest, "hooks": found}
        ),
    )
)


def ordered(value):
    return json.dumps(value)


@given(settings)
def test_merge_twice_is_merge_once(before):
    once = merge(before, ENTRIES)
    assert ordered(merge(once, ENTRIES)) == ordered(once)


@given(settings)
def test_remove_undoes_merge(before):
    assert ordered(remove(merge(before, ENTRIES))) == ordered(before)


@given(settings)
def test_merge_of_a_moved_installation_leaves_exactly_the_new_hooks(before):
    merged = merge(merge(before, ENTRIES), MOVED)
    ours = [
        (event, group.get("matcher"), hook["command"])
        for event, found in merged["hooks"].items()
        for group in found
        for hook in group["hooks"]
        if is_ours(hook)
    ]
    assert sorted(ours, key=str) == sorted(
        ((entry.event, entry.matcher, entry.command) for entry in MOVED), key=str
    )
    assert ordered(remove(merged)) == ordered(before)


@given(settings)
def test_merge_leaves_its_input_alone_and_stays_valid(before):
    copy = ordered(before)
    merged = merge(before, ENTRIES)
    assert ordered(before) == copy
    assert hook_rules.problems(merged) == hook_rules.problems(before) == []
