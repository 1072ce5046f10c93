"""What a search's own bookkeeping costs: CPU microseconds a node, at 100, 1,000 and 10,000 nodes.

"core" asks and tells a method by itself, with steps that cost nothing. "grower" is the same search
on the scripted engine without a meter, less what the engine's own calls cost when they are made by
hand in the same tree; "metered" is the whole of it, with the ledger, the limit and the trace.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from typing import Any

from benchmarks.overhead.bench import OWN
from benchmarks.overhead.metrics import Row
from benchmarks.searching.methods import DEPTH, METHODS, ONE_TOKEN, Method, strategy
from ponder.orchestrator import Runtime
from ponder.runtime import BranchPath, Finish, Sampling, ScriptedEngine
from ponder.strategies.search.aggregation import aggregate
from ponder.strategies.search.growing import Grower
from ponder.strategies.search.settings import TreeSearch
from ponder.strategies.search.tree import End, Grown, Node, Tree
from ponder.verifiers import ExactEquivalence, Question, StepVerifier, step_verifier_kind

SIZES = (100, 1_000, 10_000)
SHARED = ONE_TOKEN | {"depth": DEPTH}
QUESTION = "Which?"
Counted = tuple[float, int]
"""CPU seconds, and nodes."""


def _steps(finish: Finish, end: End | None) -> list[Grown]:
    dice = Random(0)
    return [
        Grown(text="x", tokens=1, logprobs=(), finish=finish, score=dice.random(), end=end)
        for _ in range(1009)
    ]


GOING, LAST = _steps(Finish.LENGTH, None), _steps(Finish.EOS, End.GOAL)


def core(method: TreeSearch[Any]) -> Counted:
    """Ask, add and tell until there is no more to ask for, in the order of asking."""
    steps = cycle(range(len(GOING)))
    started = time.process_time()
    state = method.start(BranchPath(0))
    tree: Tree = state.tree
    while True:
        wave = []
        while method.in_flight is None or len(wave) < method.in_flight:
            asked = method.ask(state)
            if asked is None:
                break
            wave.append((asked, tree.reserve(asked.node, asked.width)))
        if not wave:
            break
        for asked, places in wave:
            kinds = GOING if tree[asked.node].depth + 1 < method.depth else LAST
            grown = [_added(method, tree, asked.node, i, kinds[next(steps)]) for i in places]
            method.tell(state, asked, grown)
            tree.ended.clear()
    method.leaves(state)
    return time.process_time() - started, len(tree.nodes) - 1


def _added(method: TreeSearch[Any], tree: Tree, parent: int, place: int, step: Grown) -> Node:
    scores = tree.scores(parent)
    scores += [] if step.score is None else [step.score]
    return tree.add(parent, place, step, aggregate(method.aggregate, scores))


def steps_of_x(prompt: str) -> Mapping[str, float]:
    return {"x" * DEPTH: 1.0}


def score(text: str) -> tuple[float, ...]:
    """Of the prefix as a text is given it; what it is does not matter, that it is cheap does."""
    return (len(text) % 7 / 7,)


@dataclass(slots=True, kw_only=True, eq=False)
class Bare:
    """A `Context` without meter or trace."""

    engine_: ScriptedEngine
    question: Question = field(default_factory=lambda: Question(text=QUESTION))
    node: str = "search"
    path: BranchPath = field(default_factory=lambda: BranchPath(0, ("search",)))
    equivalence: ExactEquivalence = field(default_factory=ExactEquivalence)
    streaming: bool = True

    def engine(self, role: str = "policy") -> ScriptedEngine:
        return self.engine_

    def step_verifier(self, name: str, *, engine: str = "policy") -> StepVerifier:
        return step_verifier_kind(name).build(self.engine_, self.path.child("steps"))

    def record(self, event: str, **fields: object) -> None:
        pass
