"""What slow steps cost: the time of a search over the time that its own work would take spread
evenly over the calls that it may have at once. Steps take log-normal times, sigma 1.

Ponder runs on the scripted engine under a clock that jumps to the next event, so its own work takes
no time and only the order of waiting shows. its-hub runs on the scripted endpoint, in real time.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from statistics import NormalDist

from benchmarks.overhead.bench import OWN
from benchmarks.overhead.metrics import Row
from benchmarks.searching.methods import METHODS, ONE_TOKEN, Method
from ponder.orchestrator import Runtime, best
from ponder.runtime import BranchPath, ScriptedEngine
from ponder.verifiers import ExactEquivalence

SIGMA, LEVELS, WIDTHS = 1.0, 8, (8, 16)
QUESTIONS, AT_ONCE = 64, 64
_ELSEWHERE = 1 << 40
"""A place on a branch that no token has."""


class Jumping(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer when there is nothing else to do."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self.now


class _Jump(selectors.SelectSelector):
    def __init__(self, loop: Jumping) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.now += max(0.0, timeout or 0.0)
        return super().select(0)


class Slow(ScriptedEngine):
    """Steps of one token that take log-normal times, median 1; scores at random, at once."""

    def __init__(self) -> None:
        dice = Random(0)
        super().__init__(
            _levels, delay=self._seconds, heads={"score": lambda text: (dice.random(),)}
        )
        self.work = 0.0

    def _seconds(self, path: BranchPath, tokens: int) -> float:
        if not tokens:
            return 0.0
        point = max(1e-9, path.uniform(_ELSEWHERE))
        seconds = math.exp(SIGMA * NormalDist().inv_cdf(point))
        self.work += seconds
        return seconds


def _levels(prompt: str) -> Mapping[str, float]:
    return {"x" * LEVELS: 1.0}


def excess(method: Method, width: int, seeds: Sequence[int], at_once: int) -> float:
    """Time over even time, of a question a seed."""
    engine = Slow()
    strategy = method.wide(width, ONE_TOKEN | {"depth": LEVELS}) | best()

    async def all_of_them() -> float:
        runtime = Runtime(engine, equivalence=ExactEquivalence(), concurrency=at_once)
        async with asyncio.TaskGroup() as tasks:
            for i in seeds:
                tasks.create_task(runtime.solve(f"Question {i}?", strategy, seed=i))
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=Jumping) as runner:
        seconds = runner.run(all_of_them())
    return seconds * at_once / engine.work


def straggler(quick: bool) -> Iterator[Row]:
    """Eight questions, each by itself, and many at once under one limit."""
    for width in WIDTHS[:1] if quick else WIDTHS:
        for method in METHODS[:3] if quick else METHODS:
            row = Row(metric="straggler", case=f"{method.name}, width {width}", contender=OWN)
            for seed in range(2 if quick else 8):
                row.add({"alone": excess(method, width, [seed], width)})
            many = range(8 if quick else QUESTIONS)
            row.add({f"{len(many)} at once": excess(method, width, many, AT_ONCE)})
            yield row
