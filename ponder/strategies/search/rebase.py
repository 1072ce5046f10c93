"""REBASE: widths in balance with rewards (Wu et al., arXiv 2408.00724; dossier S 3.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import ClassVar

from ponder.runtime import BranchPath, InputError
from ponder.strategies.search.beam import Level, complete, level_up, next_of
from ponder.strategies.search.method import Expansion
from ponder.strategies.search.settings import TreeSearch
from ponder.strategies.search.tree import End, Node


def balanced(rewards: Sequence[float], width: int, temperature: float) -> list[int]:
    """Shares of `width`, whole and summing to it, in proportion to exp(reward / temperature).

    Args:
        rewards: highest first.
        width: at least 0.
        temperature: above 0.
    """
    # Sums grow from the smallest weight on, which leaves next to no rounding dust, and a share that
    # is whole but for dust is not rounded up.
    top = rewards[0] if rewards else 0.0
    weights = [math.exp((reward - top) / temperature) for reward in rewards]
    tails = [*accumulate(reversed(weights))][::-1]
    shares, left = list[int](), width
    for weight, tail in zip(weights, tails, strict=True):
        shares.append(max(0, math.ceil(left * weight / tail - 1e-9)) if tail else 0)
        left -= shares[-1]
    return shares


@dataclass(slots=True, kw_only=True, eq=False)
class Balance(Level):
    remaining: int = field(default=0)
    """Width that no finished path holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebase(TreeSearch[Balance]):
    """Give each prefix next steps in proportion to its reward; finished paths keep their place."""

    source: ClassVar[str] = "Wu et al. 2024, arXiv 2408.00724"

    width: int = 16
    """Paths at once."""
    balance: float = 0.2
    """Temperature of the shares: lower favours the best."""

    def __post_init__(self) -> None:
        self.check("width")
        if not 0 < self.balance < math.inf:
            raise InputError(f"balance is {self.balance!r}; it must be above 0")

    @property
    def in_flight(self) -> None:
        return None

    @property
    def steps(self) -> int:
        return self.width * self.depth

    def start(self, path: BranchPath) -> Balance:
        return Balance(queue=[Expansion(node=0, width=self.width)], remaining=self.width)

    def ask(self, state: Balance) -> Expansion | None:
        return next_of(state)

    def tell(self, state: Balance, expansion: Expansion, children: Sequence[Node]) -> None:
        state.tree.finish(expansion.node, End.EXPANDED)
        state.remaining -= sum(child.end is not None for child in children)
        if not complete(state, children):
            return
        live = level_up(state)
        shares = balanced([node.value or 0.0 for node in live], state.remaining, self.balance)
        for node, share in zip(live, shares, strict=True):
            if not share:
                state.tree.finish(node.number, End.PRUNED)
        state.queue = [
            Expansion(node=node.number, width=share)
            for node, share in zip(live, shares, strict=True)
            if share
        ]
