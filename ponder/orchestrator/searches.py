"""The functions that write tree searches: `beam("process_reward", width=8) | best()`.

Beside their own settings all take those of `SearchSettings`.
"""

from __future__ import annotations

from typing import TypedDict, Unpack

from ponder.orchestrator.expression import Step
from ponder.strategies import AbMcts, AbMctsM, AStar, Beam, Dvts, Mcts, Rebase


class SearchSettings(TypedDict, total=False):
    """Settings that all tree searches share; `ponder.strategies.TreeSearch` says what they mean."""

    verifier_engine: str
    engine: str
    aggregate: str
    temperature: float
    top_p: float
    step_stop: tuple[str, ...]
    step_tokens: int
    max_tokens: int
    depth: int
    goal: tuple[str, ...]
    lookahead: int


def beam(
    verifier: str,
    *,
    width: int = 16,
    expand: int = 4,
    name: str | None = None,
    **shared: Unpack[SearchSettings],
) -> Step:
    """Keep the best `width / expand` prefixes at each step, and grow each by `expand` next ones."""
    return Step(strategy=Beam(verifier=verifier, width=width, expand=expand, **shared), name=name)


def dvts(
    verifier: str,
    *,
    width: int = 16,
    expand: int = 4,
    name: str | None = None,
    **shared: Unpack[SearchSettings],
) -> Step:
    """Grow `width / expand` subtrees side by side, each by the best of `expand` next steps."""
    return Step(strategy=Dvts(verifier=verifier, width=width, expand=expand, **shared), name=name)


def rebase(
    verifier: str,
    *,
    width: int = 16,
    balance: float = 0.2,
    name: str | None = None,
    **shared: Unpack[SearchSettings],
) -> Step:
    """Give each prefix next steps in proportion to exp(reward / `balance`)."""
    strategy = Rebase(verifier=verifier, width=width, balance=balance, **shared)
    return Step(strategy=strategy, name=name)


def astar(
    verifier: str,
    *,
    expand: int = 4,
    goals: int = 1,
    path_cost: str = "rise",
    parallel: int = 1,
    frontier: int | None = None,
    most_expansions: int = 256,
    name: str | None = None,
    **shared: Unpack[SearchSettings],
) -> Step:
    """Always grow the prefix of lowest cost and doubt, until `goals` complete paths are met."""
    strategy = AStar(
        verifier=verifier,
        expand=expand,
        goals=goals,
        path_cost=path_cost,
        parallel=parallel,
        frontier=frontier,
        most_expansions=most_expansions,
        **shared,
    )
    return Step(strategy=strategy, name=name)


def mcts(
    verifier: str,
    *,
    expand: int = 4,
    simulations: int = 32,
    rule: str = "puct",
    parallel: int = 1,
    name: str | None = None,
    **shared: Unpack[SearchSettings],
) -> Step:
    """Grow where value and curiosity are highest, `simulations` times."""
    strategy = Mcts(
        verifier=verifier,
        expand=expand,
        simulations=simulations,
        rule=rule,
        parallel=parallel,
        **shared,
    )
    return Step(strategy=strategy, name=name)


def ab_mcts(
    verifier: str,
    *,
    most_steps: int = 64,
    parallel: int = 4,
    name: str | None = None,
    **shared: Unpack[SearchSettings],
) -> Step:
    """Go wider or deeper by Thompson sampling, a step at a time."""
    strategy = AbMcts(verifier=verifier, most_steps=most_steps, parallel=parallel, **shared)
    return Step(strategy=strategy, name=name)


def ab_mcts_m(
    verifier: str,
    *,
    most_steps: int = 64,
    parallel: int = 4,
    name: str | None = None,
    **shared: Unpack[SearchSettings],
) -> Step:
    """Go wider or deeper by draws from a mixed model, a step at a time."""
    strategy = AbMctsM(verifier=verifier, most_steps=most_steps, parallel=parallel, **shared)
    return Step(strategy=strategy, name=name)
