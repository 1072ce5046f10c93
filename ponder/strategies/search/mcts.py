"""Monte-Carlo tree search over steps, by PUCT or UCT, with the verifier's value in place of
rollouts (dossier S 7.2).

An expansion visits all its children at once: each counts as one simulation, backed up to the root.
Nodes under way count as visited and worth nothing, so that parallel descents part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ponder.runtime import BranchPath, InputError, unknown
from ponder.strategies.search.method import Expansion
from ponder.strategies.search.settings import TreeSearch
from ponder.strategies.search.tree import End, Node, Tree

RULES = ("puct", "uct")
_INIT, _BASE = 1.25, 19652.0


@dataclass(slots=True, kw_only=True, eq=False)
class Visits:
    tree: Tree = field(default_factory=Tree.planted)
    count: dict[int, int] = field(default_factory=lambda: {0: 0})
    total: dict[int, float] = field(default_factory=lambda: {0: 0.0})
    """Sums of values backed up, by node."""
    under_way: set[int] = field(default_factory=set[int])
    live: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    """By expanded node, the children below which something can grow."""
    expansions: int = 0


def puct(value: float, prior: float, parent: int, visits: int) -> float:
    """How promising a child is.

    Args:
        value: mean of what was backed up through it.
        prior: its share among its siblings, before any was seen.
        parent: visits of the node above.
        visits: of the child.
    """
    growth = _INIT + math.log((parent + _BASE + 1) / _BASE)
    return value + prior * math.sqrt(parent) / (1 + visits) * growth


def uct(value: float, parent: int, visits: int) -> float:
    """Kocsis and Szepesvari's upper confidence bound, c = sqrt 2; unvisited children come first."""
    return value + math.sqrt(2 * math.log(parent) / visits) if visits else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Mcts(TreeSearch[Visits]):
    """Grow where value and curiosity are highest; answer with the best complete path."""

    source: ClassVar[str] = "Kocsis and Szepesvari 2006 (UCT); Silver et al. 2017 (PUCT)"

    expand: int = 4
    """Next steps drawn of a prefix."""
    simulations: int = 32
    """Prefixes grown, at most."""
    rule: str = "puct"
    """"puct" or "uct"."""
    parallel: int = 1
    """Prefixes under way at once."""

    def __post_init__(self) -> None:
        self.check("expand", "simulations", "parallel")
        if self.rule not in RULES:
            raise InputError(unknown("rule", self.rule, RULES))

    @property
    def in_flight(self) -> int:
        return self.parallel

    @property
    def steps(self) -> int:
        return self.expand * self.simulations

    def start(self, path: BranchPath) -> Visits:
        return Visits()

    def ask(self, state: Visits) -> Expansion | None:
        if state.expansions >= self.simulations:
            return None
        path = self._descent(state)
        if not path:
            return None
        for number in path:
            state.count[number] += self.expand
        state.under_way.add(path[-1])
        state.expansions += 1
        return Expansion(node=path[-1], width=self.expand)

    def tell(self, state: Visits, expansion: Expansion, children: Sequence[Node]) -> None:
        number = expansion.node
        state.tree.finish(number, End.EXPANDED)
        state.under_way.discard(number)
        values = [child.value or 0.0 for child in children]
        for child, value in zip(children, values, strict=True):
            state.count[child.number], state.total[child.number] = 1, value
        state.live[number] = [child.number for child in children if child.end is None]
        for above in self._upwards(state, number):
            state.count[above] += len(children) - self.expand
            state.total[above] += math.fsum(values)
        self._wither(state, number)

    def _descent(self, state: Visits) -> list[int]:
        """From the root to the node to grow; empty where all is under way or has ended."""
        path = [0]
        while path[-1] in state.live:
            live = state.live[path[-1]]
            free = [c for c in live if self._free(state, c)] if state.under_way else live
            if not free:
                return []
            path.append(max(free, key=lambda child: (self._promise(state, child), -child)))
        return [] if path[-1] in state.under_way else path

    def _free(self, state: Visits, number: int) -> bool:
        """Whether a descent through this node can end at one that is not under way."""
        if number not in state.live:
            return number not in state.under_way
        return any(self._free(state, child) for child in state.live[number])

    def _promise(self, state: Visits, number: int) -> float:
        node = state.tree[number]
        visits, parent = state.count[number], state.count[node.parent or 0]
        value = state.total[number] / visits if visits else 0.0
        if self.rule == "uct":
            return uct(value, parent, visits)
        return puct(value, 1 / self.expand, parent, visits)

    def _upwards(self, state: Visits, number: int) -> list[int]:
        found, above = [number], state.tree[number].parent
        while above is not None:
            found.append(above)
            above = state.tree[above].parent
        return found

    def _wither(self, state: Visits, number: int) -> None:
        """Take dead ends off their parents, so that descents do not meet them."""
        while not state.live[number]:
            above = state.tree[number].parent
            if above is None:
                return
            state.live[above].remove(number)
            number = above
