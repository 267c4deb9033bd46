from __future__ import annotations

import difflib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pattern_tracker.patterns.identity import normalise, pattern_id
from pattern_tracker.patterns.unified_patch import apply_patch

# Few different lines, so that texts share some; every other "line end" of Unicode inside of them.
LINES = st.sampled_from(
    ["", "a", "b", "  a", "\ta", "x\x0cy", "x\u2028y", "x\ry", "\\ No", "-a", "+a", "é\x85"]
)
TEXTS = st.builds(
    lambda lines, end: "\n".join(lines) + end,
    st.lists(LINES, max_size=30),
    st.sampled_from(["", "\n"]),
)


def lines_of(text: str) -> list[str]:
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def structured_patch(before: str, after: str, context: int) -> list[dict[str, Any]]:
    """The client's format, made by another implementation of diff."""
    old, new = lines_of(before), lines_of(after)
    hunks = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(
        context
    ):
        lines: list[str] = []
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                lines += marked(" ", old[i1:i2])
            else:
                lines += marked("-", old[i1:i2]) + marked("+", new[j1:j2])
        first, last = group[0], group[-1]
        hunks.append(
            {
                "oldStart": first[1] + 1,
                "oldLines": last[2] - first[1],
                "newStart": first[3] + 1,
                "newLines": last[4] - first[3],
                "lines": lines,
            }
        )
    return hunks


def marked(mark: str, lines: list[str]) -> list[str]:
    out = []
    for line in lines:
        out.append(mark + line.removesuffix("\n"))
        if not line.endswith("\n"):
            out.append("\\ No newline at end of file")
    return out


@given(TEXTS, TEXTS, st.integers(min_value=0, max_value=4))
def test_applying_a_made_patch_gives_the_new_text(before: str, after: str, context: int) -> None:
    assert apply_patch(before, structured_patch(before, after, context)) == after


@given(TEXTS, TEXTS, TEXTS)
def test_a_patch_of_another_text_never_crashes(before: str, after: str, other: str) -> None:
    result = apply_patch(other, structured_patch(before, after, 3))
    assert result is None or isinstance(result, str)


@given(TEXTS)
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(TEXTS, TEXTS)
def test_equal_ids_mean_equal_normalised_code(one: str, other: str) -> None:
    same = pattern_id("x", one) == pattern_id("x", other)
    assert same == (normalise(one) == normalise(other))
