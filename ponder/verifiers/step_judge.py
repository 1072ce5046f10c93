"""A model that rates steps in words: the question, the steps so far, and a request to rate the last
one, on a fork that is thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ponder.runtime import Branch, BranchPath, Engine, Sampling, Segment, Standing, Usage
from ponder.verifiers.api import Question, Verdict
from ponder.verifiers.phases import Unjudged, closed, forked, phase, shadow, shown, then, unjudged
from ponder.verifiers.wording import STEP, read_rating

RATING = Sampling(max_tokens=8, temperature=0.0, stop=("\n",))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepJudge:
    """A number from 0 to 10, greedily drawn; what is no such number is a stated failure."""

    engine: Engine
    path: BranchPath

    async def open(self, question: Question, at: Standing | None = None) -> Branch:
        return await shadow(self.engine, question, self.path, at)

    async def judge(self, shadows: Sequence[Branch], steps: Sequence[str]) -> list[Verdict]:
        before = [shadow.usage for shadow in shadows]
        pairs = zip(shadows, steps, strict=True)
        taken = await phase(shown(shadow, step) for shadow, step in pairs)
        forks = [forked(shadow, 1)[0] for shadow in taken]
        try:
            asked = await then(forks, lambda fork: shown(fork, STEP))
            said = await then(asked, lambda fork: fork.extend(RATING))
        finally:
            spent = [closed([fork]) for fork in forks]
        used = [
            shadow.usage - past + more
            for shadow, past, more in zip(shadows, before, spent, strict=True)
        ]
        return [_verdict(each, usage) for each, usage in zip(said, used, strict=True)]


def _verdict(said: Segment | Unjudged, used: Usage) -> Verdict:
    if isinstance(said, Unjudged):
        return unjudged(said, used)
    score = read_rating(said.text)
    if score is None:
        return Verdict(failure=f"no number from 0 to 10 in the reply {said.text!r}", usage=used)
    return Verdict(score=score, usage=used)
