"""A tree of steps, as plain values: what grew, how it was scored, and why each node ended.

Nodes are numbered as they come in; `Node.place` does not depend on that, so it is what ties are
broken by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from ponder.runtime import Finish


class End(Enum):
    """Why a node will not grow any more."""

    EXPANDED = "expanded"
    """It has its children."""
    GOAL = "goal"
    """The answer is complete."""
    PRUNED = "pruned"
    """Others were better."""
    DUPLICATE = "duplicate"
    """A sibling says the same."""
    DEPTH = "depth"
    """It has as many steps as a path may have."""
    LENGTH = "length"
    """It has as many tokens as a path may have."""
    EMPTY = "empty"
    """Its step says nothing."""
    UNSCORED = "unscored"
    """The verifier failed on it; `Node.failure` says how."""
    REFUSED = "refused"
    """Nothing that may come next fits."""
    BUDGET = "budget"
    """The budget was over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """One step that the policy drew, judged."""

    text: str
    tokens: int
    logprobs: tuple[float, ...]
    finish: Finish
    score: float | None
    """In [0, 1], of the path as its verifier saw it at this step; None where it failed, or was not
    asked.
    """
    judged: int = 0
    """Tokens that its verifier was given and scored for it."""
    failure: str | None = None
    """What the verifier stated in place of a score."""
    log_weight: float = 0.0
    """Nats that its draws weigh, where they were made to fit something; -inf: it does not."""
    checks: int = 0
    """Tokens that potentials were asked about for it."""
    ahead: int = 0
    """Tokens drawn beyond it to judge it by, and thrown away."""
    end: End | None = None
    """Why it cannot grow, where that is known when it is drawn."""


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """A prefix of an answer: its last step, and where it hangs."""

    number: int
    parent: int | None
    place: tuple[int, ...]
    """Which child of which child, in the order they were asked for: () is the root."""
    step: Grown
    path_tokens: int
    """Drawn from the root to here."""
    value: float | None
    """In [0, 1]: its path's scores, aggregated; None for the root, and where no score is."""
    end: End | None = None
    children: list[int] = field(default_factory=list[int])
    asked: int = 0
    """Children asked for so far, which gives the next one its place."""

    @property
    def depth(self) -> int:
        return len(self.place)


_ROOT = Grown(text="", tokens=0, logprobs=(), finish=Finish.STOP, score=None)


@dataclass(slots=True, kw_only=True, eq=False)
class Tree:
    """All nodes, the root first; a parent comes before its children."""

    nodes: list[Node] = field(default_factory=list[Node])
    ended: list[int] = field(default_factory=list[int])
    """Numbers of nodes that ended and have not been looked at since; whoever holds something for
    them takes it off.
    """

    @classmethod
    def planted(cls) -> Tree:
        root = Node(number=0, parent=None, place=(), step=_ROOT, path_tokens=0, value=None)
        return cls(nodes=[root])

    def __getitem__(self, number: int) -> Node:
        return self.nodes[number]

    def reserve(self, parent: int, width: int) -> range:
        """Places below `parent` for children that are to grow."""
        node = self.nodes[parent]
        node.asked += width
        return range(node.asked - width, node.asked)

    def add(self, parent: int, place: int, step: Grown, value: float | None) -> Node:
        above = self.nodes[parent]
        node = Node(
            number=len(self.nodes),
            parent=parent,
            place=(*above.place, place),
            step=step,
            path_tokens=above.path_tokens + step.tokens,
            value=value,
        )
        above.children.append(node.number)
        self.nodes.append(node)
        if step.end is not None:
            self.finish(node.number, step.end)
        return node

    def finish(self, number: int, why: End) -> None:
        """Say that a node has ended. The first reason stays."""
        node = self.nodes[number]
        if node.end is None:
            node.end = why
            self.ended.append(number)

    def path(self, number: int) -> list[Node]:
        """From below the root to the node."""
        found: list[Node] = []
        node = self.nodes[number]
        while node.parent is not None:
            found.append(node)
            node = self.nodes[node.parent]
        return found[::-1]

    def text(self, number: int) -> str:
        return "".join(node.step.text for node in self.path(number))

    def scores(self, number: int) -> list[float]:
        """Of the steps down to the node; steps without one are left out."""
        return [n.step.score for n in self.path(number) if n.step.score is not None]

    def open(self) -> Iterator[Node]:
        """Nodes that may still grow."""
        return (node for node in self.nodes if node.end is None)


def growth(tree: Tree, *, told_in_order: bool) -> list[Node]:
    """All but the root, as they grew: as they came in, where they come in as they were asked for,
    whatever the clock says; else a level after the other.
    """
    nodes = tree.nodes[1:]
    return nodes if told_in_order else sorted(nodes, key=lambda node: (node.depth, node.place))


def order(node: Node) -> tuple[float, tuple[int, ...]]:
    """Best value first, then by place; nodes without a value last."""
    return (1.0 if node.value is None else -node.value), node.place


def complete_or_last(tree: Tree) -> list[Node]:
    """Complete paths if there are any, else all without a next step; best first."""
    nodes = tree.nodes[1:]
    goals = [node for node in nodes if node.end is End.GOAL]
    return sorted(goals or [node for node in nodes if not node.children], key=order)
