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
from ponder.orchestrator import Expression, Runtime, best
from ponder.runtime import Branch, BranchPath, Finish, ScriptedEngine
from ponder.strategies import Purpose
from ponder.strategies.prompting import ask
from ponder.strategies.search.aggregation import aggregate
from ponder.strategies.search.growing import grow
from ponder.strategies.search.method import Expansion
from ponder.strategies.search.settings import TreeSearch
from ponder.strategies.search.tree import End, Grown, Node, Tree
from ponder.verifiers import (
    Equivalence,
    ExactEquivalence,
    Fit,
    Potential,
    Question,
    StepVerifier,
    Verifier,
    potential_of,
    step_verifier_kind,
)

SIZES = (100, 1_000, 10_000)
SHARED = ONE_TOKEN | {"depth": DEPTH}
QUESTION = Question(text="Which?")
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
        wave = list[tuple[Expansion, range]]()
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
    scores = [*tree.scores(parent), *([] if step.score is None else [step.score])]
    return tree.add(parent, place, step, aggregate(method.aggregate, scores))


def line(prompt: str) -> Mapping[str, float]:
    return {"x" * DEPTH: 1.0}


def scripted() -> ScriptedEngine:
    """Steps of one letter, scores at random."""
    dice = Random(0)
    return ScriptedEngine(line, heads={"score": lambda text: (dice.random(),)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """A `Context` without meter or trace; keeps where nodes are."""

    asked: ScriptedEngine
    question: Question = QUESTION
    node: str = "search"
    path: BranchPath = field(default_factory=lambda: BranchPath(0, ("search",)))
    equivalence: Equivalence = field(default_factory=ExactEquivalence)
    streaming: bool = True
    places: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])

    def engine(self, role: str = "policy", *, purpose: Purpose = "policy") -> ScriptedEngine:
        return self.asked

    def verifier(self, name: str, *, engine: str = "policy") -> Verifier:
        raise NotImplementedError("searches ask step verifiers")

    def step_verifier(
        self, name: str, *, engine: str = "policy", place: str = "steps"
    ) -> StepVerifier:
        return step_verifier_kind(name).build(self.asked, self.path.child(place))

    def shadow(self, branch: Branch, *, engine: str = "policy") -> Branch:
        raise NotImplementedError("searches open shadows of their own")

    def potential(self, fit: Fit) -> Potential:
        return potential_of(fit, {})

    def save(self, progress: Callable[[], object]) -> None:
        """Nothing is saved."""

    def resumed(self) -> None:
        return None

    def record(self, event: str, **fields: object) -> None:
        place = fields.get("place")
        if isinstance(place, list):
            self.places.append(tuple(place))


async def grower(search: Expression) -> tuple[Counted, Sequence[tuple[int, ...]]]:
    """The search without meter or trace; and the tree it grew."""
    context, method = Bare(asked=scripted()), strategy(search)
    started = time.process_time()
    await grow(context, method)
    return (time.process_time() - started, len(context.places)), context.places


async def by_hand(places: Sequence[tuple[int, ...]], search: Expression) -> float:
    """CPU seconds of the engine's own calls for the same tree, one after the other."""
    engine, params = scripted(), strategy(search).sampling(0)
    started = time.process_time()
    root = await engine.open(ask(QUESTION), path=BranchPath(0))
    shadow = await engine.open(ask(QUESTION), path=BranchPath(1))
    living: dict[tuple[int, ...], tuple[Branch, Branch]] = {(): (root, shadow)}
    for place in sorted(places, key=len):
        above = living[place[:-1]]
        branch, beside = above[0].fork(1)[0], above[1].fork(1)[0]
        said = await branch.extend(params)
        await beside.append(said.text)
        await beside.read("score")
        living[place] = (branch, beside)
    for branch, beside in living.values():
        branch.close()
        beside.close()
    return time.process_time() - started


async def metered(search: Expression) -> Counted:
    """The whole of it."""
    engine = scripted()
    runtime = Runtime(engine, equivalence=ExactEquivalence())
    started = time.process_time()
    await runtime.solve(QUESTION, search | best(), seed=0)
    return time.process_time() - started, engine.stats().scored


def microseconds(counted: Counted) -> float:
    return counted[0] / counted[1] * 1e6


def bookkeeping(quick: bool, rounds: int = 3) -> Iterator[Row]:
    """A row a method and a way, with a number a size."""
    for method in METHODS:
        row = Row(metric="bookkeeping", case=f"{method.name}, core", contender=OWN)
        for size in SIZES[:2] if quick else SIZES:
            strategy_ = strategy(method.sized(size, SHARED))
            for _ in range(rounds if size < SIZES[-1] else 1):
                gc.collect()
                row.add({label(size): microseconds(core(strategy_))})
        yield row
    for method in METHODS[:1] if quick else METHODS:
        yield from _whole(method, SIZES[:1] if quick else SIZES[:2])


def label(size: int) -> str:
    return f"us a node at {size:,}"


def _whole(method: Method, sizes: Sequence[int]) -> Iterator[Row]:
    names = ("grower", "metered", "the engine's own")
    rows = [Row(metric="bookkeeping", case=f"{method.name}, {n}", contender=OWN) for n in names]
    for size in sizes:
        search = method.sized(size, SHARED)
        gc.collect()
        bare, places = asyncio.run(grower(search))
        own = asyncio.run(by_hand(places, search)) / len(places) * 1e6
        whole = microseconds(asyncio.run(metered(search)))
        for row, cost in zip(rows, (microseconds(bare) - own, whole - own, own), strict=True):
            row.add({label(size): cost})
    yield from rows
