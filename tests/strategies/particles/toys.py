"""Toy reasoners whose target is known by enumeration: letters drawn one a step, by what was said
before; some end a path.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from ponder.runtime import BranchPath, Finish
from ponder.strategies.particles.populations import Particles, Populations
from ponder.strategies.search.aggregation import aggregate
from ponder.strategies.search.tree import End, Grown, Node

Place = tuple[int, ...]


def policy(said: str) -> dict[str, float]:
    """What comes next, and how likely; z ends a path, as a third letter does."""
    z = 0.3 if said else 0.1
    a = (0.6 if said.endswith("a") else 0.4) * (1 - z)
    return {"a": a, "b": 1 - z - a, "z": z}


def score(said: str) -> float:
    """How good a path is thought to be at its newest letter."""
    table = {"a": 0.9, "b": 0.35, "z": 0.5}
    return table[said[-1]] * (0.8 if said[:-1].endswith("b") else 1.0)


def complete(said: str) -> bool:
    return said.endswith("z") or len(said) == 3


def paths(said: str = "", mass: float = 1.0) -> Iterator[tuple[str, float]]:
    """All complete paths with their probabilities under the policy."""
    if said and complete(said):
        yield said, mass
        return
    for letter, p in policy(said).items():
        yield from paths(said + letter, mass * p)


def measure(weight: Callable[[str], float]) -> dict[str, float]:
    """The target, unnormalised: probability times weight."""
    return {said: mass * weight(said) for said, mass in paths()}


def product(said: str) -> float:
    return math.prod(score(said[: i + 1]) for i in range(len(said)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Toy:
    seed: int

    def said(self, place: Place) -> str:
        """The letters on the way to a place, each drawn from the policy."""
        text = ""
        for i in range(len(place)):
            likely = policy(text)
            u, edges = (
                BranchPath(self.seed, place[: i + 1]).uniform(0),
                list(accumulate(likely.values())),
            )
            text += list(likely)[min(bisect_right(edges, u), len(edges) - 1)]
        return text

    def step(self, place: Place) -> Grown:
        said = self.said(place)
        goal = complete(said)
        return Grown(
            text=said[-1],
            tokens=1,
            logprobs=(),
            finish=Finish.EOS if goal else Finish.STOP,
            score=score(said),
            end=End.GOAL if goal else None,
        )


def run(method: Particles, seed: int, step: Callable[[Place], Grown] | None = None) -> Populations:
    """To its end, told in the order asked."""
    step = step or Toy(seed=seed).step
    state = method.start(BranchPath(seed, ("run",)))
    while (asked := method.ask(state)) is not None:
        places = state.tree.reserve(asked.node, asked.width)
        above = state.tree[asked.node]
        children = list[Node]()
        for i in places:
            drawn = step((*above.place, i))
            scores = state.tree.scores(asked.node)
            scores += [] if drawn.score is None else [drawn.score]
            value = aggregate(method.aggregate, scores) if drawn.failure is None else None
            children.append(state.tree.add(asked.node, i, drawn, value))
        method.tell(state, asked, children)
    return state
