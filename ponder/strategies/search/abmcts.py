"""AB-MCTS-A: at each node go wider or deeper, by Thompson sampling (Inoue et al., arXiv 2503.04412;
dossier S 16.8).

Every node has two arms, a new child and its existing children, and a distribution for each child:
Gaussians of unknown mean and variance under a normal-inverse-gamma prior.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

from ponder.runtime import BranchPath
from ponder.strategies.search.method import Expansion
from ponder.strategies.search.settings import TreeSearch
from ponder.strategies.search.tree import Node, Tree


@dataclass(slots=True, kw_only=True, eq=False)
class Scores:
    """What was seen of one arm: count, mean, and the sum of squares about it."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, score: float) -> None:
        """Welford's update."""
        self.n += 1
        off = score - self.mean
        self.mean += off / self.n
        self.squares += off * (score - self.mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Normal-inverse-gamma: mean m worth kappa observations, variance tau2 worth nu."""

    m: float = 0.0
    kappa: float = 1.0
    nu: float = 1.0
    tau2: float = 0.1

    def given(self, seen: Scores) -> Posterior:
        kappa, nu = self.kappa + seen.n, self.nu + seen.n
        shift = seen.n * self.kappa * (self.m - seen.mean) ** 2 / kappa
        return Posterior(
            m=(self.kappa * self.m + seen.n * seen.mean) / kappa,
            kappa=kappa,
            nu=nu,
            tau2=(self.nu * self.tau2 + seen.squares + shift) / nu,
        )

    def draw(self, dice: Random) -> float:
        """A mean that may be the arm's."""
        variance = self.nu * self.tau2 / 2 / dice.gammavariate(self.nu / 2, 1.0)
        return dice.gauss(self.m, math.sqrt(variance / self.kappa))


PRIOR = Posterior()


@dataclass(slots=True, kw_only=True, eq=False)
class Arms:
    path: BranchPath
    """Of the draws."""
    tree: Tree = field(default_factory=Tree.planted)
    wider: dict[int, Scores] = field(default_factory=lambda: {0: Scores()})
    deeper: dict[int, Scores] = field(default_factory=lambda: {0: Scores()})
    child: dict[int, Scores] = field(default_factory=dict[int, Scores])
    """By child, what its parent makes of it."""
    belief: dict[int, Posterior] = field(default_factory=dict[int, Posterior])
    """The same with the prior: kept, since each descent draws of every child it passes."""
    live: dict[int, list[int]] = field(default_factory=lambda: {0: list[int]()})
    """By node, its children that can grow."""
    asked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AbMcts(TreeSearch[Arms]):
    """Thompson sampling between a new next step and those there are, from the root down."""

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

    def start(self, path: BranchPath) -> Arms:
        return Arms(path=path.child("thompson"))

    def ask(self, state: Arms) -> Expansion | None:
        if state.asked >= self.most_steps:
            return None
        first, second = state.path.child(state.asked).key()
        dice = Random(first << 32 | second)
        state.asked += 1
        node = 0
        while state.live[node] and not self._wider(state, node, dice):
            node = max(state.live[node], key=lambda c: state.belief[c].draw(dice))
        return Expansion(node=node, width=1)

    def tell(self, state: Arms, expansion: Expansion, children: Sequence[Node]) -> None:
        for child in children:
            if child.value is not None:
                self._back_up(state, child, child.value)
            if child.end is None:
                state.live[expansion.node].append(child.number)
                state.live[child.number] = []
                state.wider[child.number], state.deeper[child.number] = Scores(), Scores()

    def _wider(self, state: Arms, node: int, dice: Random) -> bool:
        wider = PRIOR.given(state.wider[node]).draw(dice)
        return wider > PRIOR.given(state.deeper[node]).draw(dice)

    def _back_up(self, state: Arms, child: Node, score: float) -> None:
        """A new child tells its parent of widening, and every node above of going deeper."""
        self._learn(state, child.number, score)
        below = child.parent or 0
        state.wider[below].add(score)
        above = state.tree[below].parent
        while above is not None:
            state.deeper[above].add(score)
            self._learn(state, below, score)
            below, above = above, state.tree[above].parent

    def _learn(self, state: Arms, child: int, score: float) -> None:
        seen = state.child.setdefault(child, Scores())
        seen.add(score)
        state.belief[child] = PRIOR.given(seen)
