"""What Ponder's orchestration itself costs, without any network: CPU a decode on the scripted
engine, less what the same decodes cost when made by hand.

32 questions at once, 32 samples each, replies of one character: what is left is planning, metering,
tracing, streaming and voting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from benchmarks.overhead.bench import OWN, Bench
from benchmarks.overhead.metrics import Row
from ponder.orchestrator import Budget, Runtime, sample, vote
from ponder.runtime import BranchPath, Sampling, ScriptedEngine
from ponder.verifiers import ExactEquivalence

QUESTIONS, SAMPLES = 32, 32
STRATEGY = sample(SAMPLES, max_tokens=8) | vote()


def one_character(prompt: str) -> dict[str, float]:
    return {"1": 1.0}


async def orchestrated() -> None:
    runtime = Runtime(ScriptedEngine(one_character), equivalence=ExactEquivalence())
    async with asyncio.TaskGroup() as tasks:
        for i in range(QUESTIONS):
            tasks.create_task(
                runtime.solve(f"Question {i}?", STRATEGY, seed=i, budget=Budget(tokens=10**6))
            )


async def by_hand() -> None:
    engine = ScriptedEngine(one_character)

    async def one(i: int) -> None:
        root = await engine.open(f"Question {i}?", path=BranchPath(i))
        branches = root.fork(SAMPLES)
        await asyncio.gather(*(b.extend(Sampling(max_tokens=8)) for b in branches))

    await asyncio.gather(*map(one, range(QUESTIONS)))


def milliseconds(work: Callable[[], Awaitable[None]]) -> float:
    """CPU milliseconds a decode."""
    started = time.process_time()
    asyncio.run(work())  # type: ignore[arg-type]  # both are coroutine functions
    return (time.process_time() - started) * 1000 / (QUESTIONS * SAMPLES)


def alone(bench: Bench, rounds: int) -> Iterator[Row]:
    """The difference, round by round; one round warms up."""
    row = Row(metric="alone", case="scripted engine", contender=OWN)
    for turn in range(rounds + 1):
        whole, bare = milliseconds(orchestrated), milliseconds(by_hand)
        if turn:
            row.add({"cpu ms a decode": whole - bare, "the engine's own": bare})
    yield row
