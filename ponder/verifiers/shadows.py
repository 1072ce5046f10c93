"""Shadows that may not be there: where one cannot be opened or forked, the steps that it was to
judge are stated failures, and the search goes on (`phases.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ponder.runtime import Branch, BudgetExceeded, Standing
from ponder.verifiers.api import Question, Verdict
from ponder.verifiers.phases import Unjudged, closed, forked, phase, unjudged
from ponder.verifiers.steps import StepVerifier


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shadow:
    """A branch of a step verifier, or why there is none."""

    held: Branch | Unjudged

    def fork(self, n: int, *, name: str | None = None) -> list[Shadow]:
        return [Shadow(held=each) for each in forked(self.held, n, name=name)]

    def standing(self) -> Standing | None:
        """None where there is none; then it can be opened afresh, as none was ever forked of it."""
        return None if isinstance(self.held, Unjudged) else self.held.standing()

    def close(self) -> None:
        closed([self.held])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShadowJudge:
    """A `StepVerifier` on such shadows."""

    verifier: StepVerifier

    async def open(self, question: Question) -> Shadow:
        """Raises `BudgetExceeded`: without a budget for the question there is no search."""
        (held,) = await phase([self.verifier.open(question)])
        if isinstance(held, BudgetExceeded):
            raise held
        return Shadow(held=held)

    async def reopen(self, question: Question, at: Standing | None) -> Shadow:
        """Of a search that goes on. Raises what the engine does: what was saved waits for it."""
        return Shadow(held=await self.verifier.open(question, at))

    async def judge(self, shadows: Sequence[Shadow], steps: Sequence[str]) -> list[Verdict]:
        branches: list[Branch] = []
        said_of: list[str] = []
        for shadow, step in zip(shadows, steps, strict=True):
            if not isinstance(shadow.held, Unjudged):
                branches.append(shadow.held)
                said_of.append(step)
        said = iter(await self.verifier.judge(branches, said_of))
        return [
            unjudged(shadow.held) if isinstance(shadow.held, Unjudged) else next(said)
            for shadow in shadows
        ]
