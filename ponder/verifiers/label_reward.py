"""Step scores read from label tokens: the probability of a good label against a bad one.

With a tag behind each step this is Math-Shepherd's read-out (arXiv 2312.08935) and RLHFlow's; with
a question put to the model on a fork that is thrown away it is self-evaluation of a prefix (Manvi
et al., arXiv 2410.02725).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ponder.runtime import Branch, BranchPath, Engine, Scored, Standing, Usage
from ponder.verifiers.api import Question, Verdict
from ponder.verifiers.phases import Unjudged, closed, forked, phase, shadow, shown, then, unjudged
from ponder.verifiers.wording import SOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    good: str
    bad: str
    tag: str = ""
    """Behind each step; stays in the shadow."""
    probe: str = ""
    """Behind the newest step when it is judged; does not stay."""


SELF_EVALUATION = Labels(good="Yes", bad="No", probe=SOUND)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReward:
    """P(good) / (P(good) + P(bad)); see the module."""

    engine: Engine
    path: BranchPath
    labels: Labels

    async def open(self, question: Question, at: Standing | None = None) -> Branch:
        return await shadow(self.engine, question, self.path, at)

    async def judge(self, shadows: Sequence[Branch], steps: Sequence[str]) -> list[Verdict]:
        before = [shadow.usage for shadow in shadows]
        pairs = zip(shadows, steps, strict=True)
        taken = await phase(shown(shadow, step + self.labels.tag) for shadow, step in pairs)
        forks = [forked(shadow, 1)[0] for shadow in taken]  # so that a probe does not stay
        try:
            asked = forks
            if self.labels.probe:
                asked = await then(forks, lambda fork: shown(fork, self.labels.probe))
            words = (self.labels.good, self.labels.bad)
            read = await then(asked, lambda fork: fork.score(words))
        finally:
            spent = [closed([fork]) for fork in forks]
        used = [
            shadow.usage - past + more
            for shadow, past, more in zip(shadows, before, spent, strict=True)
        ]
        return [verdict_of(said, usage) for said, usage in zip(read, used, strict=True)]


def verdict_of(said: list[Scored] | Unjudged, used: Usage) -> Verdict:
    """P(good) / (P(good) + P(bad)) from what was scored for the two."""
    if isinstance(said, Unjudged):
        return unjudged(said, used)
    good, bad = (scored.total for scored in said)
    top = max(good, bad)
    if not math.isfinite(top):
        return Verdict(failure=f"neither label is possible: {good}, {bad} nats", usage=used)
    weights = math.exp(good - top), math.exp(bad - top)
    return Verdict(score=weights[0] / sum(weights), usage=used)
