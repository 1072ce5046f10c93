"""Step scores read from label tokens: the probability of a good label against a bad one.

With a tag behind each step this is Math-Shepherd's read-out (arXiv 2312.08935) and RLHFlow's; with
a question put to the model on a fork that is thrown away it is self-evaluation of a prefix (Manvi
et al., arXiv 2410.02725).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ponder.runtime import Branch, BranchPath, BudgetExceeded, Engine, Message, Usage
from ponder.verifiers.api import Question, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    good: str
    bad: str
    tag: str = ""
    """Behind each step; stays in the shadow."""
    probe: str = ""
    """Behind the newest step when it is judged; does not stay."""


SELF_EVALUATION = Labels(
    good="Yes", bad="No", probe="\n\nIs every step of this solution so far correct? "
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReward:
    """P(good) / (P(good) + P(bad)); see the module."""

    engine: Engine
    path: BranchPath
    labels: Labels

    async def open(self, question: Question) -> LabelShadow:
        turns = (*question.history, Message(role="user", content=question.text))
        branch = await self.engine.open(turns, path=self.path)
        return LabelShadow(branch=branch, labels=self.labels)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelShadow:
    branch: Branch
    labels: Labels

    def fork(self, n: int) -> Sequence[LabelShadow]:
        return [replace(self, branch=branch) for branch in self.branch.fork(n)]

    async def judge(self, step: str) -> Verdict:
        before = self.branch.usage
        try:
            await self.branch.append(step + self.labels.tag)
            good, bad, probing = await self._read()
        except BudgetExceeded as error:
            return Verdict(failure=f"not judged: {error}")
        used, top = self.branch.usage - before + probing, max(good, bad)
        if not math.isfinite(top):
            return Verdict(failure=f"neither label is possible: {good}, {bad} nats", usage=used)
        weights = math.exp(good - top), math.exp(bad - top)
        return Verdict(score=weights[0] / sum(weights), usage=used)

    async def _read(self) -> tuple[float, float, Usage]:
        """Log-probabilities of the labels, and what a probe was charged."""
        words = (self.labels.good, self.labels.bad)
        if not self.labels.probe:
            good, bad = await self.branch.score(words)
            return good.total, bad.total, Usage()
        async with self.branch.fork(1)[0] as asked:
            await asked.append(self.labels.probe)
            good, bad = await asked.score(words)
            return good.total, bad.total, asked.usage

    def close(self) -> None:
        self.branch.close()
