"""Process rewards on an engine's head: a reward or value model reads the path, and its head says at
each step's last token how good it is (Lightman et al. 2023; heads as Qwen2.5-Math-PRM has them).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ponder.runtime import Branch, BranchPath, BudgetExceeded, Engine, Message
from ponder.verifiers.api import Question, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReward:
    """Asks a head of the engine; see the module."""

    engine: Engine
    path: BranchPath
    head: str | None = None
    """Name of the head; None takes the engine's only one."""
    separator: str = ""
    """Put behind each step, as the model was trained: "<extra_0>" for Qwen2.5-Math-PRM."""

    async def open(self, question: Question) -> HeadShadow:
        turns = (*question.history, Message(role="user", content=question.text))
        branch = await self.engine.open(turns, path=self.path)
        head = self.head or self.engine.capabilities.heads[0]
        return HeadShadow(branch=branch, head=head, separator=self.separator)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadShadow:
    branch: Branch
    head: str
    separator: str

    def fork(self, n: int) -> Sequence[HeadShadow]:
        return [replace(self, branch=branch) for branch in self.branch.fork(n)]

    async def judge(self, step: str) -> Verdict:
        before = self.branch.usage
        try:
            await self.branch.append(step + self.separator)
            outputs = (await self.branch.read(self.head))[-1]
        except BudgetExceeded as error:
            return Verdict(failure=f"not judged: {error}")
        score, used = outputs[-1], self.branch.usage - before
        if math.isnan(score) or not 0 <= score <= 1:
            return Verdict(
                failure=f"head {self.head!r} says {score!r}; a step's reward is in [0, 1]",
                usage=used,
            )
        return Verdict(score=score, usage=used)

    def close(self) -> None:
        self.branch.close()
