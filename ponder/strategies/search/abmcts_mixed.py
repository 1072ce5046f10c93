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
from ponder.strategies.search.method import Expansion
from ponder.strategies.search.mixed import Alike, drawn
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
    alike: dict[int, dict[int, Alike]] = field(default_factory=lambda: {0: dict[int, Alike]()})
    """By node, its children by the number of their observations."""
    live: dict[int, list[int]] = field(default_factory=lambda: {0: list[int]()})
    """By node, its children that can grow."""
    asked: int = 0


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
                state.alike[child.number] = {}

    def _deeper(self, state: Branching, node: int, dice: Random) -> int | None:
        """The child to go down to; None to go wider here."""
        live = [c for c in state.live[node] if not _dull(state.rounded[c])]
        if not live:
            return None
        shared = drawn(state.alike[node], dice)
        promised = {child: shared.reward(dice, state.seen[child]) for child in live}
        best = max(promised, key=promised.__getitem__)
        return best if promised[best] > shared.reward(dice) else None

    def _back_up(self, state: Branching, child: Node, score: float) -> None:
        """To the child's own record and to that of every node above, the root's left out."""
        node = child
        while node.parent is not None:
            seen = state.seen.setdefault(node.number, Scores())
            alike = state.alike[node.parent]
            if seen.n:
                alike[seen.n].add(seen, -1)
                if not alike[seen.n].children:
                    del alike[seen.n]
            seen.add(score)
            alike.setdefault(seen.n, Alike()).add(seen)
            counts = state.rounded.setdefault(node.number, {})
            percent = round(100 * score)
            counts[percent] = counts.get(percent, 0) + 1
            node = state.tree[node.parent]


def _dull(counts: dict[int, int]) -> bool:
    """Whether nearly everything below a node has scored the same, so that more of it tells nothing
    new.
    """
    total = sum(counts.values())
    return total >= _DULL_NODES and max(counts.values()) >= _DULL_SHARE * total
