"""Ask the model whether a solution is right, and read the probability of Yes against No.

One prompt and two scored continuations a candidate; nothing is decoded, so nothing has to be
parsed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ponder.runtime import Branch, BranchPath, Engine
from ponder.verifiers.api import Candidate, Question, Verdict
from ponder.verifiers.label_reward import verdict_of
from ponder.verifiers.phases import Unjudged, phase, unjudged
from ponder.verifiers.sameness import mark
from ponder.verifiers.wording import CORRECT, about

WORDS = ("Yes", "No")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfEvaluation:
    """P(Yes) / (P(Yes) + P(No)) after the question and the solution."""

    engine: Engine
    path: BranchPath

    async def judge(self, question: Question, candidates: Sequence[Candidate]) -> list[Verdict]:
        opened = await phase(self._open(question, candidate) for candidate in candidates)
        branches = [branch for branch in opened if not isinstance(branch, Unjudged)]
        try:
            scored = await phase(branch.score(WORDS) for branch in branches)
            used = [branch.usage for branch in branches]
        finally:
            for branch in branches:
                branch.close()
        said = iter(map(verdict_of, scored, used))
        return [
            unjudged(branch) if isinstance(branch, Unjudged) else next(said) for branch in opened
        ]

    async def _open(self, question: Question, candidate: Candidate) -> Branch:
        path = self.path.child(mark(candidate.text))
        return await self.engine.open(about(question, [candidate.text], CORRECT), path=path)
