"""Walking lineage graphs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pattern_intelligence.lineage import Edge, walk


def edges(*pairs: tuple[int, int]) -> list[Edge]:
    return [Edge(source, target, "modified_from", "refactor", 0.0) for source, target in pairs]


def test_walk_counts_the_shortest_way() -> None:
    steps = walk([1], edges((1, 2), (2, 3), (1, 3), (3, 4)))
    assert [(step.node, step.depth) for step in steps] == [(1, 0), (2, 1), (3, 1), (4, 2)]


def test_walk_ends_in_a_circle() -> None:
    steps = walk([1], edges((1, 2), (2, 1), (2, 2)))
    assert [step.node for step in steps] == [1, 2]


def test_walk_goes_ten_thousand_steps_deep() -> None:
    steps = walk([0], edges(*((n, n + 1) for n in range(10_000))))
    assert steps[-1].depth == 10_000


nodes = st.integers(0, 8)


@given(st.lists(nodes, min_size=1), st.lists(st.tuples(nodes, nodes)))
def test_walk_reaches_exactly_the_closure_once_and_nearest_first(
    starts: list[int], pairs: list[tuple[int, int]]
) -> None:
    closure = set(starts)
    while more := {target for source, target in pairs if source in closure} - closure:
        closure |= more
    steps = walk(starts, edges(*pairs))
    assert sorted(step.node for step in steps) == sorted(closure)
    assert [step.depth for step in steps] == sorted(step.depth for step in steps)
