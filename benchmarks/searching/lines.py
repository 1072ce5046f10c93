"""What is compared at equal accuracy: a line of the table is a method and the budgets it is given.
A new method is a new line.

Settings were fixed before any result was seen; those of the trees are as the examples have them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.searching.oracle import ANSWERS
from ponder.orchestrator import (
    Expression,
    ab_mcts,
    astar,
    beam,
    best,
    dvts,
    mcts,
    particle_filter,
    rebase,
    sample,
    step,
    vote,
)
from ponder.orchestrator.searches import SearchSettings
from ponder.strategies import Bound, Context, Item, Load, Port
from ponder.strategies.concurrency import collected
from ponder.strategies.ranking import candidates_in, in_order
from ponder.strategies.search.aggregation import aggregate
from ponder.verifiers import Verdict

HEAD, VERIFIER = "score", "process_reward"
LONGEST = 64
"""Tokens of a path: above any depth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Whole attempts by the reward model that steers the trees: its scores of all their steps, as
    one number. A strategy of the benchmark's own.
    """

    takes: ClassVar[Port] = Port.CANDIDATES
    gives: ClassVar[Port] = Port.CANDIDATES
    source: ClassVar[str] = "Cobbe et al. 2021, arXiv 2110.14168"

    aggregate: str

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        candidates = in_order(candidates_in(await collected(inputs)))
        reader = ctx.step_verifier(VERIFIER)
        root = await reader.open(ctx.question)
        async with root:
            start = len(root.tokens)
            for candidate, shadow in zip(candidates, root.fork(len(candidates)), strict=True):
                async with shadow:
                    await shadow.append(candidate.text)
                    scores = [said[-1] for said in await shadow.read(HEAD, start)]
                yield candidate.judged(Verdict(score=aggregate(self.aggregate, scores)))

    def bound(self, load: Load) -> Bound:
        return Bound(
            calls=load.candidates,
            tokens=load.prompt_tokens + 2 * load.candidates * load.candidate_tokens,
            branches=load.candidates + 1,
            candidates=load.candidates,
            candidate_tokens=load.candidate_tokens,
        )

    def needs(self) -> dict[str, frozenset[str]]:
        return {"policy": frozenset({"heads"})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    name: str
    budgets: Sequence[int]
    """Of what the method calls its size: samples, width, next steps of a prefix, simulations."""
    make: Callable[[int, SearchSettings], Expression]


TREE: SearchSettings = {
    "step_tokens": 1,
    "step_stop": ANSWERS,
    "goal": ANSWERS,
    "max_tokens": LONGEST,
    "depth": LONGEST,
    "temperature": 1.0,
}


def drawn(n: int) -> Expression:
    return sample(n, temperature=1.0, max_tokens=LONGEST, stop=ANSWERS)


def scored(n: int, how: str) -> Expression:
    return drawn(n) | step(Scored(aggregate=how))


def best_of(how: str) -> Line:
    return Line(
        name=f"best of N, {how}", budgets=SAMPLES, make=lambda n, _: scored(n, how) | best()
    )


def a_star(cost: str) -> Line:
    def make(n: int, tree: SearchSettings) -> Expression:
        return astar(VERIFIER, expand=n, path_cost=cost, most_expansions=64, **tree) | best()

    return Line(name=f"astar, {cost}", budgets=(2, 4, 8, 16), make=make)


SAMPLES, WIDTHS = (1, 2, 4, 8, 16, 32, 64), (4, 8, 16, 32)
MAJORITY = Line(name="majority vote", budgets=SAMPLES, make=lambda n, _: drawn(n) | vote())
WEIGHTED = Line(
    name="weighted vote, last",
    budgets=SAMPLES,
    make=lambda n, _: scored(n, "last") | vote(weights="judge"),
)
LINES = (
    MAJORITY,
    *map(best_of, ("last", "min", "mean")),
    WEIGHTED,
    Line(
        name="beam",
        budgets=WIDTHS,
        make=lambda n, tree: beam(VERIFIER, width=n, **tree) | vote(weights="judge"),
    ),
    Line(
        name="dvts",
        budgets=WIDTHS,
        make=lambda n, tree: dvts(VERIFIER, width=n, **tree) | vote(weights="judge"),
    ),
    Line(
        name="rebase",
        budgets=WIDTHS,
        make=lambda n, tree: rebase(VERIFIER, width=n, **tree) | vote(weights="judge"),
    ),
    *map(a_star, ("rise", "drop")),
    Line(
        name="mcts",
        budgets=(8, 16, 32, 64),
        make=lambda n, tree: mcts(VERIFIER, simulations=n, **tree) | best(),
    ),
    Line(
        name="ab_mcts",
        budgets=(32, 64, 128, 256),
        make=lambda n, tree: ab_mcts(VERIFIER, most_steps=n, **tree) | best(),
    ),
    Line(
        name="particle filter",
        budgets=WIDTHS,
        make=lambda n, tree: particle_filter(VERIFIER, particles=n, **tree) | vote(),
    ),
)


def searches() -> Sequence[Line]:
    return LINES
