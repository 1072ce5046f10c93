"""A finished candidate judged by what scores steps: step after step, or as one step.

Steps end at blank lines. Of a candidate's step scores, one number is made (dossier S 0.2). As one
step it is an outcome reward: the verifier reads the question and the whole solution (Cobbe et al.,
arXiv 2110.14168).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ponder.runtime import Branch, Usage
from ponder.verifiers.api import Candidate, Question, Verdict
from ponder.verifiers.phases import Unjudged, phase, unjudged
from ponder.verifiers.sameness import mark
from ponder.verifiers.steps import StepVerifier

MOST_STEPS = 64
"""Of one candidate; what comes after belongs to the last."""
BREAK = re.compile(r"\n[ \t]*\n\s*")

Combine = Callable[[Sequence[float]], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepwise:
    """See the module."""

    make: Callable[[str], StepVerifier]
    """From a name, unlike those of other candidates, for the shadow's path."""
    combine: Combine | None
    """From step scores to the candidate's; None has it judged as one step."""

    async def judge(self, question: Question, candidates: Sequence[Candidate]) -> list[Verdict]:
        if not candidates:
            return []
        verifiers = [self.make(mark(candidate.text)) for candidate in candidates]
        opened = await phase(verifier.open(question) for verifier in verifiers)
        walks = [
            _Walk(shadow=shadow, steps=self._steps(candidate.text), used=shadow.usage)
            for shadow, candidate in zip(opened, candidates, strict=True)
            if not isinstance(shadow, Unjudged)
        ]
        try:
            await _walk(verifiers[0], walks)
        finally:
            for walk in walks:
                walk.shadow.close()
        said = iter(walks)
        return [
            unjudged(shadow) if isinstance(shadow, Unjudged) else self._verdict(next(said))
            for shadow in opened
        ]

    def _steps(self, text: str) -> list[str]:
        found = [text] if self.combine is None else split(text)
        return [step for step in found if step.strip()]

    def _verdict(self, walk: _Walk) -> Verdict:
        if walk.failure is not None:
            return Verdict(failure=walk.failure, usage=walk.used)
        if not walk.scores:
            return Verdict(failure="it says nothing that could be judged", usage=walk.used)
        score = walk.scores[0] if self.combine is None else self.combine(walk.scores)
        reason = f"{len(walk.scores)} steps" if self.combine is not None else ""
        return Verdict(score=min(1.0, max(0.0, score)), reason=reason, usage=walk.used)


@dataclass(slots=True, kw_only=True, eq=False)
class _Walk:
    """One candidate on its way."""

    shadow: Branch
    steps: list[str]
    used: Usage
    scores: list[float] = field(default_factory=list[float])
    failure: str | None = None

    def take(self, verdict: Verdict) -> None:
        self.used += verdict.usage
        if verdict.score is None:
            self.failure = f"step {len(self.scores) + 1} of {len(self.steps)}: {verdict.failure}"
        else:
            self.scores.append(verdict.score)


async def _walk(verifier: StepVerifier, walks: Sequence[_Walk]) -> None:
    """The first step of each, then the second of each that has one."""
    for place in range(max((len(walk.steps) for walk in walks), default=0)):
        on = [walk for walk in walks if walk.failure is None and place < len(walk.steps)]
        verdicts = await verifier.judge(
            [walk.shadow for walk in on], [walk.steps[place] for walk in on]
        )
        for walk, verdict in zip(on, verdicts, strict=True):
            walk.take(verdict)


def split(text: str) -> list[str]:
    """Steps with the blank lines behind them: joined they are the text."""
    ends = [match.end() for match in BREAK.finditer(text)][: MOST_STEPS - 1]
    places = [0, *ends, len(text)]
    return [text[a:b] for a, b in pairwise(places)]
