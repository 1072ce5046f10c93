"""What orchestration itself costs: CPU time a request at zero latency.

32 questions at once, 32 samples each, replies of one character from the scripted engine. The same
decodes made by hand on the bare engine are subtracted: what is left is planning, metering, tracing,
streaming and voting.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from ponder.orchestrator import Budget, Runtime, sample, vote
from ponder.runtime import BranchPath, Sampling, ScriptedEngine
from ponder.verifiers import ExactEquivalence

QUESTIONS, SAMPLES, ROUNDS = 32, 32, 7
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


async def bare() -> None:
    engine = ScriptedEngine(one_character)

    async def question(i: int) -> None:
        root = await engine.open(f"Question {i}?", path=BranchPath(i))
        branches = root.fork(SAMPLES)
        await asyncio.gather(*(b.extend(Sampling(max_tokens=8)) for b in branches))

    await asyncio.gather(*map(question, range(QUESTIONS)))


def milliseconds(work: Callable[[], Awaitable[None]]) -> list[float]:
    """CPU milliseconds a request, one number a round, after one round to warm up."""
    spent: list[float] = []
    for _ in range(ROUNDS + 1):
        started = time.process_time()
        asyncio.run(work())  # type: ignore[arg-type]  # both are coroutine functions
        spent.append((time.process_time() - started) * 1000 / (QUESTIONS * SAMPLES))
    return spent[1:]


def main() -> None:
    with_all, alone = milliseconds(orchestrated), milliseconds(bare)
    for name, spent in (("orchestrated", with_all), ("bare engine", alone)):
        print(
            f"{name:14} {statistics.median(spent):.3f} ms CPU a request "
            f"({min(spent):.3f} to {max(spent):.3f} in {ROUNDS} rounds)"
        )
    difference = statistics.median(with_all) - statistics.median(alone)
    print(f"{'orchestration':14} {difference:.3f} ms CPU a request; the floor is 0.2")


if __name__ == "__main__":
    main()
