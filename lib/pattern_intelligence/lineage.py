"""Walking a lineage: breadth first, each node once, whatever circles it draws.

A file that is edited and put back gives A -> B -> A, so lineage is a graph, not a tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Edge:
    """`target` was made from `source`; both are node numbers, `created_at` epoch seconds."""

    source: int
    target: int
    edge_type: str
    transformation_type: str
    created_at: float

    def turned(self) -> Edge:
        """The same edge walked the other way."""
        return Edge(
            self.target, self.source, self.edge_type, self.transformation_type, self.created_at
        )


@dataclass(frozen=True, slots=True)
class Step:
    """A node, how many steps away it is, and the edge by which it was first reached."""

    node: int
    depth: int
    via: Edge | None


def walk(starts: Iterable[int], edges: Iterable[Edge]) -> list[Step]:
    """Everything reachable from `starts` along `edges`, nearest first, `starts` at depth 0."""
    leaving: dict[int, list[Edge]] = {}
    for edge in edges:
        leaving.setdefault(edge.source, []).append(edge)
    steps = [Step(node, 0, None) for node in dict.fromkeys(starts)]
    seen = {step.node for step in steps}
    for step in steps:  # grows while it is walked: that is the queue
        for edge in leaving.get(step.node, ()):
            if edge.target not in seen:
                seen.add(edge.target)
                steps.append(Step(edge.target, step.depth + 1, edge))
    return steps
