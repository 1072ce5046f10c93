"""Predict whether starting again would do better (Manvi et al., arXiv 2410.02725): behind an
attempt, or the beginning of one, the model is asked whether a new one would be better, and the
probability of No against Yes is how likely this one is at least as good as a fresh one.

The paper trains the model to answer; here one is asked that was not, so what it says is a ranking
more than a probability, and `platt` is there to calibrate it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ponder.runtime import BranchPath, Engine, Usage
from ponder.verifiers.api import Candidate, Question, Verdict
from ponder.verifiers.label_reward import LabelReward, Labels, verdict_of
from ponder.verifiers.phases import phase

RESTART = Labels(
    good="No",
    bad="Yes",
    probe="\n\nWould starting again from the question do better than this? Yes or No: ",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """P(No) / (P(No) + P(Yes)) of whole candidates, each on a branch of its own behind the
    question; see the module. Where the attempt's own branch lives, `LabelReward` with `RESTART`
    reads a fork of it instead.
    """

    engine: Engine
    path: BranchPath

    async def judge(self, question: Question, candidates: Sequence[Candidate]) -> list[Verdict]:
        readers = [self._reader(self.path.child(c.source, c.index)) for c in candidates]
        opened = await phase(reader.open(question) for reader in readers)
        pairs = zip(candidates, opened, strict=True)
        shown = [(b, c.text, b.usage) for c, b in pairs if not isinstance(b, Exception)]
        try:
            read = await self._reader(self.path).judge(
                [b for b, _, _ in shown], [t for _, t, _ in shown]
            )
        finally:
            for branch, _, _ in shown:
                branch.close()
        said = (
            replace(verdict, usage=verdict.usage + usage)
            for verdict, (_, _, usage) in zip(read, shown, strict=True)
        )
        return [verdict_of(b, Usage()) if isinstance(b, Exception) else next(said) for b in opened]

    def _reader(self, path: BranchPath) -> LabelReward:
        return LabelReward(engine=self.engine, path=path, labels=RESTART)


def platt(score: float, slope: float, offset: float) -> float:
    """sigmoid(slope * logit(score) + offset): a score fitted to how often it is right (Platt 1999).

    Args:
        score: in [0, 1]; both ends stay as they are.
        slope: above 0, so that the order of scores stays; 1 with offset 0 changes nothing.
        offset: in nats.
    """
    if (slope, offset) == (1.0, 0.0) or score in (0.0, 1.0):
        return score
    turned = slope * (math.log(score) - math.log1p(-score)) + offset
    return 1 / (1 + math.exp(-turned)) if turned > -700 else 0.0
