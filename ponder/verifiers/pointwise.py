"""Judges that reason about one candidate at a time: a grade (Zheng et al., arXiv 2306.05685), or
Yes or No after several rationales (GenRM-CoT; Zhang et al., arXiv 2408.15240).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ponder.runtime import BranchPath, Engine
from ponder.verifiers.api import Candidate, Question, Verdict
from ponder.verifiers.asking import Asked, Replies, replies
from ponder.verifiers.sameness import mark
from ponder.verifiers.wording import GRADE, VERDICT, about, read_grade, read_verdict

RATIONALES = 4
"""Of one candidate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointwiseJudge:
    """The mean over rationales of what they come to: a grade, or 1 for Yes and 0 for No."""

    engine: Engine
    path: BranchPath
    rationales: int = 1
    graded: bool = True
    """Asks for a number; else for Yes or No."""

    async def judge(self, question: Question, candidates: Sequence[Candidate]) -> list[Verdict]:
        asked = [self._asked(question, candidate) for candidate in candidates]
        return [
            verdict_of(each) for each in await replies(self.engine, asked, draws=self.rationales)
        ]

    def _asked(self, question: Question, candidate: Candidate) -> Asked[float]:
        return Asked(
            path=self.path.child(mark(candidate.text)),
            prompt=about(question, [candidate.text], GRADE if self.graded else VERDICT),
            read=read_grade if self.graded else read_verdict,
            wanted="line 'Score: N' with one N from 0 to 10"
            if self.graded
            else "line 'Verdict: Yes' or 'Verdict: No'",
        )


def verdict_of(said: Replies[float]) -> Verdict:
    """The mean of what could be read; a failure where nothing could."""
    if not said.values:
        return Verdict(failure=said.failures[0], usage=said.usage)
    drawn = len(said.values) + len(said.failures)
    return Verdict(
        score=math.fsum(said.values) / len(said.values),
        reason=f"read {len(said.values)} of {drawn} replies, {said.again} drawn again",
        usage=said.usage,
    )
