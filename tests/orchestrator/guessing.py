"""Scripts and engines that the orchestrator's tests run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from ponder.orchestrator import Runtime
from ponder.runtime import BranchPath, ModelError, ScriptedEngine
from ponder.verifiers import ExactEquivalence

WEIGHTS = {"1": 0.5, "2": 0.3, "3": 0.2}


def guesses(prompt: str) -> Mapping[str, float]:
    """Answers 1, 2 or 3; as a judge, Yes or No, by the solution it is shown."""
    if "Is the final answer" in prompt:
        right = "answer is 1" in prompt
        return {"Yes": 0.9, "No": 0.1} if right else {"Yes": 0.2, "No": 0.8}
    return {f"The answer is {answer}.": weight for answer, weight in WEIGHTS.items()}


def shuffled(salt: int) -> Callable[[BranchPath, int], float]:
    """Delays of up to 3 ms, another order of completion for each salt."""
    return lambda path, _: BranchPath(salt, path.steps).uniform(0) * 0.003


def runtime(engine: ScriptedEngine, concurrency: int = 64) -> Runtime:
    return Runtime(engine, equivalence=ExactEquivalence(), concurrency=concurrency)


class Ticking(ScriptedEngine):
    """A hundredth of a second passes whenever someone looks at the clock."""

    looks = 0

    def clock(self) -> float:
        self.looks += 1
        return self.looks / 100


class Failing(ScriptedEngine):
    """Fails in the decode of one branch, while the others are still at it."""

    async def pause(self, path: BranchPath, tokens: int) -> None:
        if path.steps[-1] == 2:
            await asyncio.sleep(0.005)
            raise ModelError("the machine is gone")
        await asyncio.sleep(30)


class Crowded(ScriptedEngine):
    """Counts how many calls are inside at once."""

    inside = most = 0

    async def pause(self, path: BranchPath, tokens: int) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0.001)
        self.inside -= 1


class Dying(ScriptedEngine):
    """Answers so many calls, and then no more: it opens and forks nothing either."""

    left = 0

    def check_open(self) -> None:
        if self.left < 0:
            raise ModelError("the machine is gone")

    async def pause(self, path: BranchPath, tokens: int) -> None:
        await super().pause(path, tokens)
        self.left -= 1
        if self.left < 0:
            raise ModelError("the machine is gone")
