"""AB-MCTS-A: at each node go wider or deeper, by Thompson sampling (Inoue et al., arXiv 2503.04412;
dossier S 16.8).

Every node has two arms, a new child and its existing children, and a distribution for each child:
Gaussians of unknown mean and variance under a normal-inverse-gamma prior. The largest of the
children's draws is found without drawing most of them (`largest.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import ClassVar

from ponder.runtime import BranchPath
from ponder.strategies.search.largest import (
    Largest,
    Ranked,
    count_class,
    fewest,
    uniform,
)
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


def radius_squared(u: float, nu: float) -> float:
    """Of Student's t with nu degrees of freedom in polar form; falls in u and in nu (Bailey)."""
    return nu * (math.pow(u, -2.0 / nu) - 1.0)


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

    @property
    def scale(self) -> float:
        """Of the arm's mean, which is Student's t about m with nu degrees of freedom."""
        return math.sqrt(self.tau2 / self.kappa)

    def draw(self, dice: Random) -> float:
        """A mean that may be the arm's."""
        return self.drawn(uniform(dice), dice)

    def drawn(self, u: float, dice: Random) -> float:
        """The same for a given u, the smaller of which may be the farther from m (Bailey)."""
        turn = math.cos(math.tau * dice.random())
        return self.m + turn * math.sqrt(self.tau2 / self.kappa * radius_squared(u, self.nu))


PRIOR = Posterior()
_STEPS = 64
"""More than there are half octaves of scale: for counts below 10^9."""
_ROUNDED_UP = 1 + 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """Posteriors of like counts and scales, ranked by m."""

    nu: float
    scale: float

    def location(self, key: float) -> float:
        return key

    def offset(self, u: float) -> float:
        return self.scale * math.sqrt(radius_squared(u, self.nu))


def similar(belief: Posterior) -> int:
    """The class of a posterior: counts by `count_class`, scales (at most 1) by half octaves."""
    step = math.ceil(2 * math.log2(belief.scale))
    return count_class(round(belief.nu - PRIOR.nu)) * _STEPS - step


@lru_cache(maxsize=1024)
def reach(kind: int) -> Similar:
    """Of a class of `similar`."""
    counts, steps = divmod(kind, _STEPS)
    return Similar(nu=PRIOR.nu + fewest(counts), scale=2 ** (-steps / 2) * _ROUNDED_UP)


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
    ranked: dict[int, Ranked] = field(init=False, repr=False)
    """The same, as they are drawn of: derived, and so not saved."""

    def __post_init__(self) -> None:
        self.ranked = {node: Ranked() for node in self.live}
        for node, children in self.live.items():
            for child in children:
                self.rank(node, child)

    def rank(self, node: int, child: int) -> None:
        belief = self.belief[child]
        self.ranked[node].put(similar(belief), belief.m, child)

    def unrank(self, node: int, child: int) -> None:
        belief = self.belief[child]
        self.ranked[node].take(similar(belief), belief.m, child)


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
            node = self._best(state, node, dice)
        return Expansion(node=node, width=1)

    def tell(self, state: Arms, expansion: Expansion, children: Sequence[Node]) -> None:
        for child in children:
            if child.value is not None:
                self._back_up(state, child, child.value)
            if child.end is None:
                state.live[expansion.node].append(child.number)
                state.live[child.number] = []
                state.ranked[child.number] = Ranked()
                state.rank(expansion.node, child.number)
                state.wider[child.number], state.deeper[child.number] = Scores(), Scores()

    def _wider(self, state: Arms, node: int, dice: Random) -> bool:
        wider = PRIOR.given(state.wider[node]).draw(dice)
        return wider > PRIOR.given(state.deeper[node]).draw(dice)

    def _best(self, state: Arms, node: int, dice: Random) -> int:
        """The child of the largest draw."""

        def draw(child: int, u: float) -> float:
            return state.belief[child].drawn(u, dice)

        found = Largest(draw=draw, reach=reach, dice=dice).of(state.ranked[node])
        return found if found is not None else state.live[node][0]

    def _back_up(self, state: Arms, child: Node, score: float) -> None:
        """A new child tells its parent of widening, and every node above of going deeper."""
        self._learn(state, child.number, score)
        below = child.parent or 0
        state.wider[below].add(score)
        above = state.tree[below].parent
        while above is not None:
            state.deeper[above].add(score)
            state.unrank(above, below)
            self._learn(state, below, score)
            state.rank(above, below)
            below, above = above, state.tree[above].parent

    def _learn(self, state: Arms, child: int, score: float) -> None:
        seen = state.child.setdefault(child, Scores())
        seen.add(score)
        state.belief[child] = PRIOR.given(seen)
