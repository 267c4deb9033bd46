"""The rules under which Claude Code accepts a settings file."""

from __future__ import annotations

import pytest

from pattern_tracker.claude_code.hook_rules import problems


def with_hook(hook, event="Stop"):
    return {"hooks": {event: [{"hooks": [hook]}]}}


@pytest.mark.parametrize(
    "hook",
    [
        {"type": "command", "command": "x", "timeout": 0.5, "unknown": 1, "async": True},
        {"type": "http", "url": "http://127.0.0.1:1/x", "headers": {"a": "b"}},
        {"type": "prompt", "prompt": "ok?"},
        {"type": "agent", "prompt": "ok?", "model": "m"},
        {"type": "mcp_tool", "server": "s", "tool": "t", "input": {}},
    ],
)
def test_valid_hook_has_no_problem(hook):
    assert problems(with_hook(hook)) == []


@pytest.mark.parametrize(
    ("hook", "place"),
    [
        ("text", ""),
        ({}, ".type"),
        ({"type": "shell"}, ".type"),
        ({"type": []}, ".type"),
        ({"type": "command"}, ".command"),
        ({"type": "command", "command": 1}, ".command"),
        ({"type": "command", "command": "x", "timeout": "10"}, ".timeout"),
        ({"type": "command", "command": "x", "timeout": 0}, ".timeout"),
        ({"type": "command", "command": "x", "timeout": True}, ".timeout"),
        ({"type": "command", "command": "x", "args": "y"}, ".args"),
        ({"type": "command", "command": "x", "shell": "zsh"}, ".shell"),
        ({"type": "command", "command": "x", "async": "yes"}, ".async"),
        ({"type": "http", "url": "nowhere"}, ".url"),
        ({"type": "http", "url": "http://h", "headers": {"a": 1}}, ".headers"),
        ({"type": "prompt"}, ".prompt"),
        ({"type": "mcp_tool", "server": "s"}, ".tool"),
    ],
)
def test_broken_hook_is_named_by_its_place(hook, place):
    (problem,) = problems(with_hook(hook))
    assert problem.place == f"hooks.Stop[0].hooks[0]{place}"


@pytest.mark.parametrize(
    ("hooks", "place"),
    [
        ([], "hooks"),
        (None, "hooks"),
        ({"Stop": {}}, "hooks.Stop"),
        ({"Stop": ["x"]}, "hooks.Stop[0]"),
        ({"Stop": [{}]}, "hooks.Stop[0].hooks"),
        ({"Stop": [{"matcher": 1, "hooks": []}]}, "hooks.Stop[0].matcher"),
    ],
)
def test_broken_container_is_named_by_its_place(hooks, place):
    assert [problem.place for problem in problems({"hooks": hooks})] == [place]


def test_unknown_event_is_tolerated():
    assert problems(with_hook({"type": "nonsense"}, event="NotAnEvent")) == []
