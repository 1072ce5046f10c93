"""A*-decoding (Chatziveroglou, arXiv 2505.13672; dossier S 1).

h is 1 - the value of a prefix. Two readings of its path cost g: "rise" charges h's rises; "drop"
charges its falls, which makes h consistent: f never falls along a path, so the first goal popped is
the best of the sampled tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import ClassVar

from ponder.runtime import BranchPath, InputError, unknown
from ponder.strategies.search.method import Expansion
from ponder.strategies.search.settings import TreeSearch
from ponder.strategies.search.tree import End, Node, Tree, complete_or_last

PATH_COSTS = ("rise", "drop")
_START = {"rise": 0.0, "drop": 0.5}  # h of the bare prompt, which verifiers cannot score


@dataclass(slots=True, kw_only=True, eq=False)
class Frontier:
    tree: Tree = field(default_factory=Tree.planted)
    heap: list[tuple[float, float, int, int]] = field(
        default_factory=list[tuple[float, float, int, int]]
    )
    """(f, h, -depth, node): lowest f first; ties to the lower h, the deeper, the older."""
    cost: dict[int, float] = field(default_factory=dict[int, float])
    """g of the nodes that may be expanded or popped."""
    waiting: int = 0
    expansions: int = 0
    goals: list[int] = field(default_factory=list[int])
    """As they were popped: lowest f first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AStar(TreeSearch[Frontier]):
    """Always grow the prefix of lowest cost and doubt; answer with the complete paths met so."""

    source: ClassVar[str] = "Chatziveroglou 2025, arXiv 2505.13672"

    expand: int = 4
    """Next steps drawn of a prefix."""
    goals: int = 1
    """Complete paths to find."""
    path_cost: str = "rise"
    """"rise" or "drop"."""
    parallel: int = 1
    """Prefixes under way at once: more is faster, and grows some that the best first order would
    not have.
    """
    frontier: int | None = None
    """Prefixes kept; the worst beyond are dropped. None keeps all."""
    most_expansions: int = 256
    """Prefixes grown, at most."""

    def __post_init__(self) -> None:
        self.check("expand", "goals", "parallel", "most_expansions")
        if self.path_cost not in PATH_COSTS:
            raise InputError(unknown("path_cost", self.path_cost, PATH_COSTS))
        if self.frontier is not None and self.frontier < 1:
            raise InputError(f"frontier is {self.frontier!r}; it must be at least 1, or None")

    @property
    def in_flight(self) -> int:
        return self.parallel

    @property
    def steps(self) -> int:
        return self.expand * self.most_expansions

    def start(self, path: BranchPath) -> Frontier:
        h = _START[self.path_cost]
        return Frontier(heap=[(h, h, 0, 0)], cost={0: 0.0})

    def ask(self, state: Frontier) -> Expansion | None:
        while state.heap and len(state.goals) < self.goals:
            number = state.heap[0][-1]
            goal = state.tree[number].end is End.GOAL
            if goal and state.waiting:
                return None  # what is under way may still be better
            if not goal and state.expansions >= self.most_expansions:
                return None
            heappop(state.heap)
            if not goal:
                state.waiting += 1
                state.expansions += 1
                return Expansion(node=number, width=self.expand)
            state.goals.append(number)
        return None

    def tell(self, state: Frontier, expansion: Expansion, children: Sequence[Node]) -> None:
        state.waiting -= 1
        state.tree.finish(expansion.node, End.EXPANDED)
        parent = state.tree[expansion.node]
        h_parent = self._doubt(parent)
        for child in children:
            if child.value is None or child.end not in (None, End.GOAL):
                continue
            h = self._doubt(child)
            step = h - h_parent if self.path_cost == "rise" else h_parent - h
            cost = state.cost[expansion.node] + max(0.0, step)
            state.cost[child.number] = cost
            heappush(state.heap, (cost + h, h, -child.depth, child.number))
        self._trim(state)

    def leaves(self, state: Frontier) -> list[Node]:
        """The goals popped; where there are none, the goals seen; else what else there is."""
        popped = [state.tree[number] for number in state.goals]
        return popped or complete_or_last(state.tree)

    def _doubt(self, node: Node) -> float:
        """h: of the root a constant, since no verifier scores an empty path."""
        return _START[self.path_cost] if node.value is None else 1.0 - node.value

    def _trim(self, state: Frontier) -> None:
        if self.frontier is None or len(state.heap) <= self.frontier:
            return
        ordered = sorted(state.heap)
        state.heap = ordered[: self.frontier]  # sorted, so a heap
        for *_, number in ordered[self.frontier :]:
            state.tree.finish(number, End.PRUNED)
