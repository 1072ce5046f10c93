"""Worlds to search without a model: what each next step would be is a function of its place.

`searched` is the plainest grower there can be, in a chosen order of finishing, against which
methods are held; `whole` is the tree that a method with no choices would see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from ponder.runtime import BranchPath, Finish
from ponder.strategies.search.aggregation import aggregate
from ponder.strategies.search.method import Expansion, Progress
from ponder.strategies.search.settings import TreeSearch
from ponder.strategies.search.tree import End, Grown, Node

Place = tuple[int, ...]
State = TypeVar("State", bound=Progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Scores on a grid of tenths, so that ties are common; every path ends at `depth`."""

    seed: int
    depth: int = 4
    ends: float = 0.2
    """Share of steps before the last that complete their path."""

    def step(self, place: Place) -> Grown:
        at = BranchPath(self.seed, place)
        goal = len(place) == self.depth or at.uniform(1) < self.ends
        return Grown(
            text=f"{place[-1]}\n\n",
            tokens=2,
            logprobs=(),
            finish=Finish.EOS if goal else Finish.STOP,
            score=round(at.uniform(0) * 10) / 10,
            end=End.GOAL if goal else None,
        )


def searched(
    method: TreeSearch[State], step: Callable[[Place], Grown], order: Random | None = None
) -> State:
    """Everything the method asks for, told in the order it asked, or in a random one where the
    method says that it does not matter.
    """
    state, pending = method.start(BranchPath(0, ("search",))), list[tuple[Expansion, range]]()
    while True:
        while method.in_flight is None or len(pending) < method.in_flight:
            asked = method.ask(state)
            if asked is None:
                break
            pending.append((asked, state.tree.reserve(asked.node, asked.width)))
        if not pending:
            return state
        shuffle = order is not None and method.in_flight is None
        expansion, places = pending.pop(order.randrange(len(pending)) if shuffle and order else 0)
        method.tell(state, expansion, [added(method, state, expansion, i, step) for i in places])


def added(
    method: TreeSearch[State],
    state: State,
    expansion: Expansion,
    i: int,
    step: Callable[[Place], Grown],
) -> Node:
    drawn = step((*state.tree[expansion.node].place, i))
    scores = state.tree.scores(expansion.node)
    scores += [] if drawn.score is None else [drawn.score]
    value = aggregate(method.aggregate, scores) if drawn.failure is None else None
    return state.tree.add(expansion.node, i, drawn, value)
