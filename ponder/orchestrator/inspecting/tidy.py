"""A tidy drawing of a tree in linear time (Buchheim, Junger and Leipert 2002, "Improving Walker's
Algorithm to Run in Linear Time"; after Reingold and Tilford 1981).

A node is in the middle above its children, equal subtrees look equal, nodes of one depth are at
least 1 apart and in order, and small subtrees between large ones are spread evenly. No recursion:
paths may be as long as they like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


def tidy(children: Sequence[Sequence[int]]) -> list[float]:
    """How far along its level each node is; the least is 0. How deep it is, is the caller's.

    Args:
        children: of each node, in order, by number; node 0 is the root of all.
    """
    drawing = _Drawing(children=children)
    order = drawing.downwards()
    for node in reversed(order):
        drawing.place(node)
    return drawing.settled(order)


@dataclass(slots=True, kw_only=True, eq=False)
class _Drawing:
    """The paper's names: prelim, mod, shift, change, thread, ancestor."""

    children: Sequence[Sequence[int]]
    parent: list[int] = field(default_factory=list[int])
    """-1 of the root."""
    rank: list[int] = field(default_factory=list[int])
    """Place among its siblings."""
    prelim: list[float] = field(default_factory=list[float])
    mod: list[float] = field(default_factory=list[float])
    shift: list[float] = field(default_factory=list[float])
    change: list[float] = field(default_factory=list[float])
    thread: list[int | None] = field(default_factory=list[int | None])
    ancestor: list[int] = field(default_factory=list[int])
    default: list[int] = field(default_factory=list[int])
    """By parent, the ancestor of what lies left of the subtree that is placed now."""

    def __post_init__(self) -> None:
        n = len(self.children)
        self.parent, self.rank = [-1] * n, [0] * n
        for node, below in enumerate(self.children):
            for rank, child in enumerate(below):
                self.parent[child], self.rank[child] = node, rank
        self.prelim, self.mod = [0.0] * n, [0.0] * n
        self.shift, self.change = [0.0] * n, [0.0] * n
        self.thread, self.ancestor = [None] * n, list(range(n))
        self.default = [below[0] if below else 0 for below in self.children]

    def downwards(self) -> list[int]:
        """Every node after its parent and after all right of it: backwards, a postorder."""
        order: list[int] = []
        stack = [0]
        while stack:
            node = stack.pop()
            order.append(node)
            stack.extend(self.children[node])
        return order

    def place(self, node: int) -> None:
        """First walk: where the node is, seen from its left sibling, all below it being placed."""
        below = self.children[node]
        middle = 0.0
        if below:
            self._execute_shifts(node)
            middle = (self.prelim[below[0]] + self.prelim[below[-1]]) / 2
        left = self._left_sibling(node)
        if left is None:
            self.prelim[node] = middle
        else:
            self.prelim[node] = self.prelim[left] + 1
            if below:
                self.mod[node] = self.prelim[node] - middle
            self._apportion(node, left)

    def settled(self, order: Sequence[int]) -> list[float]:
        """Second walk: sums of what was put off on the way down."""
        above = [0.0] * len(self.children)
        for node in order:
            for child in self.children[node]:
                above[child] = above[node] + self.mod[node]
        found = [p + a for p, a in zip(self.prelim, above, strict=True)]
        least = min(found)
        return [place - least for place in found]

    def _left_sibling(self, node: int) -> int | None:
        if self.rank[node] == 0:
            return None
        return self.children[self.parent[node]][self.rank[node] - 1]

    def _apportion(self, node: int, left: int) -> None:
        """Move the node's subtree right of all that its left siblings' subtrees reach."""
        parent = self.parent[node]
        inner, outer = node, node  # right of the gap: its left contour, and its right one
        near, far = left, self.children[parent][0]  # left of it: right contour, and left one
        s_inner, s_outer = self.mod[inner], self.mod[outer]
        s_near, s_far = self.mod[near], self.mod[far]
        while True:
            next_near, next_inner = self._right(near), self._left(inner)
            if next_near is None or next_inner is None:
                break
            near, inner = next_near, next_inner
            far, outer = self._must(self._left(far)), self._must(self._right(outer))
            self.ancestor[outer] = node
            gap = self.prelim[near] + s_near - self.prelim[inner] - s_inner + 1
            if gap > 0:
                self._move(self._ancestor(near, parent), node, gap)
                s_inner, s_outer = s_inner + gap, s_outer + gap
            s_near, s_inner = s_near + self.mod[near], s_inner + self.mod[inner]
            s_far, s_outer = s_far + self.mod[far], s_outer + self.mod[outer]
        if next_near is not None and self._right(outer) is None:
            self.thread[outer] = next_near
            self.mod[outer] += s_near - s_outer
        if next_inner is not None and self._left(far) is None:
            self.thread[far] = next_inner
            self.mod[far] += s_inner - s_far
            self.default[parent] = node

    def _ancestor(self, near: int, parent: int) -> int:
        """The sibling subtree that the contour's node belongs to."""
        found = self.ancestor[near]
        return found if self.parent[found] == parent else self.default[parent]

    def _move(self, left: int, right: int, gap: float) -> None:
        """Put off: the subtree goes right by `gap`, and those between by their share of it."""
        between = self.rank[right] - self.rank[left]
        self.change[right] -= gap / between
        self.change[left] += gap / between
        self.shift[right] += gap
        self.prelim[right] += gap
        self.mod[right] += gap

    def _execute_shifts(self, node: int) -> None:
        shift = change = 0.0
        for child in reversed(self.children[node]):
            self.prelim[child] += shift
            self.mod[child] += shift
            change += self.change[child]
            shift += self.shift[child] + change

    def _left(self, node: int) -> int | None:
        below = self.children[node]
        return below[0] if below else self.thread[node]

    def _right(self, node: int) -> int | None:
        below = self.children[node]
        return below[-1] if below else self.thread[node]

    @staticmethod
    def _must(node: int | None) -> int:
        """Outer contours reach as deep as inner ones."""
        if node is None:
            raise RuntimeError("an outer contour ends before an inner one")
        return node
