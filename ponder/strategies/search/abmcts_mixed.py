"""AB-MCTS-M: at each node go wider or deeper, by draws from a mixed model of what its children
brought (Inoue et al., arXiv 2503.04412; dossier S 16.8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

from ponder.runtime import BranchPath
from ponder.strategies.search.abmcts import Scores
from ponder.strategies.search.largest import Largest, Ranked, count_class, uniform
from ponder.strategies.search.method import Expansion
from ponder.strategies.search.mixed import Alike
from ponder.strategies.search.settings import TreeSearch
from ponder.strategies.search.tree import Node, Tree

_DULL_NODES, _DULL_SHARE = 4, 0.75


@dataclass(slots=True, kw_only=True, eq=False)
class Branching:
    path: BranchPath
    """Of the draws."""
    tree: Tree = field(default_factory=Tree.planted)
    seen: dict[int, Scores] = field(default_factory=dict[int, Scores])
    """By node, its score and those below it."""
    rounded: dict[int, dict[int, int]] = field(default_factory=dict[int, dict[int, int]])
    """The same in percent, counted."""
    live: dict[int, list[int]] = field(default_factory=lambda: {0: list[int]()})
    """By node, its children that can grow."""
    asked: int = 0
    alike: dict[int, Alike] = field(init=False, repr=False)
    """By node, of its children; derived, as the next, and so not saved."""
    ranked: dict[int, Ranked] = field(init=False, repr=False)
    """By node, its children that can grow and may tell something new."""

    def __post_init__(self) -> None:
        self.alike = {node: Alike() for node in self.live}
        self.ranked = {node: Ranked() for node in self.live}
        for number, seen in self.seen.items():
            self.alike[self.tree[number].parent or 0].add(seen)
        for node, children in self.live.items():
            for child in children:
                self.rank(node, child)

    def rank(self, node: int, child: int) -> None:
        if not _dull(self.rounded[child]):
            seen = self.seen[child]
            self.ranked[node].put(count_class(seen.n), seen.mean, child)

    def unrank(self, node: int, child: int) -> None:
        if not _dull(self.rounded[child]):
            seen = self.seen[child]
            self.ranked[node].take(count_class(seen.n), seen.mean, child)


@dataclass(frozen=True, slots=True, kw_only=True)
class AbMctsM(TreeSearch[Branching]):
    """Draw from a mixed model whether a new next step or one there is promises more, from the root
    down.
    """

    source: ClassVar[str] = "Inoue et al. 2025, arXiv 2503.04412"

    most_steps: int = 64
    """Steps drawn, at most."""
    parallel: int = 4
    """Steps under way at once; those under way are not yet seen."""

    def __post_init__(self) -> None:
        self.check("most_steps", "parallel")

    @property
    def in_flight(self) -> int:
        return self.parallel

    @property
    def steps(self) -> int:
        return self.most_steps

    def start(self, path: BranchPath) -> Branching:
        return Branching(path=path.child("mixed"))

    def ask(self, state: Branching) -> Expansion | None:
        if state.asked >= self.most_steps:
            return None
        first, second = state.path.child(state.asked).key()
        dice = Random(first << 32 | second)
        state.asked += 1
        node, below = 0, self._deeper(state, 0, dice)
        while below is not None:
            node, below = below, self._deeper(state, below, dice)
        return Expansion(node=node, width=1)

    def tell(self, state: Branching, expansion: Expansion, children: Sequence[Node]) -> None:
        for child in children:
            if child.value is not None:
                self._back_up(state, child, child.value)
            if child.end is None:
                state.live[expansion.node].append(child.number)
                state.live[child.number] = []
                state.alike[child.number], state.ranked[child.number] = Alike(), Ranked()
                state.rank(expansion.node, child.number)

    def _deeper(self, state: Branching, node: int, dice: Random) -> int | None:
        """The child to go down to; None to go wider here."""
        ranked = state.ranked[node]
        if not ranked.classes:
            return None
        shared = state.alike[node].drawn(dice)

        def draw(child: int, u: float) -> float:
            return shared.reward(state.seen[child], u)

        new = shared.reward(None, uniform(dice))
        return Largest(draw=draw, reach=shared.reach, dice=dice, value=new).of(ranked)

    def _back_up(self, state: Branching, child: Node, score: float) -> None:
        """To the child's own record and to that of every node above, the root's left out."""
        seen = state.seen[child.number] = Scores()
        seen.add(score)
        self._count(state, child.number, score)
        state.alike[child.parent or 0].add(seen)
        node = state.tree[child.parent or 0]
        while node.parent is not None:
            self._learn(state, node.parent, node.number, score)
            node = state.tree[node.parent]

    def _learn(self, state: Branching, node: int, child: int, score: float) -> None:
        """Of a child that was seen before."""
        seen, alike = state.seen[child], state.alike[node]
        state.unrank(node, child)
        alike.remove(seen)
        seen.add(score)
        self._count(state, child, score)
        alike.add(seen)
        state.rank(node, child)

    def _count(self, state: Branching, node: int, score: float) -> None:
        counts, percent = state.rounded.setdefault(node, {}), round(100 * score)
        counts[percent] = counts.get(percent, 0) + 1


def _dull(counts: dict[int, int]) -> bool:
    """Whether nearly everything below a node has scored the same, so that more of it tells nothing
    new.
    """
    total = sum(counts.values())
    return total >= _DULL_NODES and max(counts.values()) >= _DULL_SHARE * total
