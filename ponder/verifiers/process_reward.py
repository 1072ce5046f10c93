"""Process rewards on an engine's head: a reward or value model reads the path, and its head says at
each step's last token how good it is (Lightman et al. 2023; heads as Qwen2.5-Math-PRM has them).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ponder.runtime import Branch, BranchPath, BudgetExceeded, Engine, Message, Standing, Usage
from ponder.verifiers.api import Question, Verdict
from ponder.verifiers.phases import phase


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReward:
    """Asks a head of the engine; see the module."""

    engine: Engine
    path: BranchPath
    head: str | None = None
    """Name of the head; None takes the engine's only one."""
    separator: str = ""
    """Put behind each step, as the model was trained: "<extra_0>" for Qwen2.5-Math-PRM."""

    async def open(self, question: Question, at: Standing | None = None) -> Branch:
        turns = (*question.history, Message(role="user", content=question.text))
        if at is not None:
            return await self.engine.reopen(turns, at)
        return await self.engine.open(turns, path=self.path)

    async def judge(self, shadows: Sequence[Branch], steps: Sequence[str]) -> list[Verdict]:
        head = self.head or self.engine.capabilities.heads[0]
        before = [shadow.usage for shadow in shadows]
        shown = zip(shadows, steps, strict=True)
        taken = await phase(shadow.append(step + self.separator) for shadow, step in shown)
        ready = [s for s, t in zip(shadows, taken, strict=True) if t is None]
        read = iter(await phase(shadow.read(head) for shadow in ready))
        said = [next(read) if t is None else t for t in taken]
        return [
            _verdict(head, what, shadow.usage - past)
            for what, shadow, past in zip(said, shadows, before, strict=True)
        ]


def _verdict(head: str, said: list[tuple[float, ...]] | BudgetExceeded, used: Usage) -> Verdict:
    if isinstance(said, BudgetExceeded):
        return Verdict(failure=f"not judged: {said}", usage=used)
    score = said[-1][-1]
    if math.isnan(score) or not 0 <= score <= 1:
        told = f"head {head!r} says {score!r}; a step's reward is in [0, 1]"
        return Verdict(failure=told, usage=used)
    return Verdict(score=score, usage=used)
