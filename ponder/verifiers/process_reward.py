"""Process rewards on an engine's head: a reward or value model reads the path, and its head says at
each step's last token how good it is (Lightman et al. 2023; heads as Qwen2.5-Math-PRM has them).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ponder.runtime import Branch, BranchPath, Engine, Standing, Usage
from ponder.verifiers.api import Question, Verdict
from ponder.verifiers.phases import Unjudged, phase, shadow, shown, then, unjudged


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReward:
    """Asks a head of the engine; see the module."""

    engine: Engine
    path: BranchPath
    head: str | None = None
    """Name of the head; None takes the engine's only one."""
    separator: str = ""
    """Put behind each step, as the model was trained: "<extra_0>" for Qwen2.5-Math-PRM."""
    logit: bool = False
    """The head says a number without bounds, as one trained on pairs does (Bradley and Terry 1952):
    the logistic function of it is the score.
    """

    async def open(self, question: Question, at: Standing | None = None) -> Branch:
        return await shadow(self.engine, question, self.path, at)

    async def judge(self, shadows: Sequence[Branch], steps: Sequence[str]) -> list[Verdict]:
        head = self.head or self.engine.capabilities.heads[0]
        before = [shadow.usage for shadow in shadows]
        pairs = zip(shadows, steps, strict=True)
        taken = await phase(shown(shadow, step + self.separator) for shadow, step in pairs)
        said = await then(taken, lambda shadow: shadow.read(head))
        return [
            self._verdict(head, what, shadow.usage - past)
            for what, shadow, past in zip(said, shadows, before, strict=True)
        ]

    def _verdict(self, head: str, said: list[tuple[float, ...]] | Unjudged, used: Usage) -> Verdict:
        if isinstance(said, Unjudged):
            return unjudged(said, used)
        told = said[-1][-1]
        score = logistic(told) if self.logit else told
        if math.isnan(score) or not 0 <= score <= 1:
            hint = "" if self.logit else "; 'bradley_terry_reward' takes heads without bounds"
            failure = f"head {head!r} says {told!r}; a step's reward is in [0, 1]{hint}"
            return Verdict(failure=failure, usage=used)
        return Verdict(score=score, usage=used)


def logistic(value: float) -> float:
    """In [0, 1], for any finite number; NaN for none."""
    if not math.isfinite(value):
        return math.nan
    weight = math.exp(-abs(value))
    return (1 if value >= 0 else weight) / (1 + weight)
