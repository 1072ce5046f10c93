"""The tree searches that are measured, as a table: a new one is a new line.

Each line says how its method is set to draw a given number of steps, and how it is set for a given
width where the width is what costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ponder.orchestrator import (
    Expression,
    ab_mcts,
    ab_mcts_m,
    astar,
    beam,
    dvts,
    mcts,
    particle_filter,
    rebase,
)
from ponder.orchestrator.expression import Step
from ponder.strategies.search.settings import TreeSearch

DEPTH = 25
"""Steps of a path where nodes are counted: shorter than the default, so that trees are wide."""
Settings = dict[str, Any]  # Any: settings of many types
ONE_TOKEN: Settings = {
    "verifier": "process_reward",
    "step_tokens": 1,
    "step_stop": (),
    "max_tokens": 4096,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    name: str
    sized: Callable[[int, Settings], Expression]
    """Draws this many steps, or nearly, of one token each; paths have `DEPTH` of them."""
    wide: Callable[[int, Settings], Expression]
    """As many steps at once as this, where it can."""


def _across(steps: int) -> int:
    """Width of a tree of `DEPTH` levels: a multiple of four."""
    return max(4, steps // DEPTH // 4 * 4)


METHODS = (
    Method(
        name="beam",
        sized=lambda n, shared: beam(width=_across(n), expand=4, **shared),
        wide=lambda w, shared: beam(width=w, expand=4, **shared),
    ),
    Method(
        name="dvts",
        sized=lambda n, shared: dvts(width=_across(n), expand=4, **shared),
        wide=lambda w, shared: dvts(width=w, expand=4, **shared),
    ),
    Method(
        name="rebase",
        sized=lambda n, shared: rebase(width=_across(n), **shared),
        wide=lambda w, shared: rebase(width=w, **shared),
    ),
    Method(
        name="astar",
        sized=lambda n, shared: astar(expand=4, goals=n, most_expansions=n // 4, **shared),
        wide=lambda w, shared: astar(
            expand=4, parallel=w // 4, goals=w // 4, most_expansions=2 * w, **shared
        ),
    ),
    Method(
        name="mcts",
        sized=lambda n, shared: mcts(expand=4, simulations=n // 4, **shared),
        wide=lambda w, shared: mcts(expand=4, parallel=w // 4, simulations=2 * w, **shared),
    ),
    Method(
        name="ab_mcts",
        sized=lambda n, shared: ab_mcts(most_steps=n, **shared),
        wide=lambda w, shared: ab_mcts(most_steps=8 * w, parallel=w, **shared),
    ),
    Method(
        name="ab_mcts_m",
        sized=lambda n, shared: ab_mcts_m(most_steps=n, **shared),
        wide=lambda w, shared: ab_mcts_m(most_steps=8 * w, parallel=w, **shared),
    ),
    Method(
        name="particle_filter",
        sized=lambda n, shared: particle_filter(particles=_across(n), **shared),
        wide=lambda w, shared: particle_filter(particles=w, **shared),
    ),
)
BY_NAME = {method.name: method for method in METHODS}


def strategy(search: Expression) -> TreeSearch[Any]:  # Any: each method has a state of its own
    """The search itself, out of its expression."""
    if isinstance(search, Step) and isinstance(search.strategy, TreeSearch):
        return search.strategy
    raise TypeError(f"{search!r} is not a tree search")
