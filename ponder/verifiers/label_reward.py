"""Step scores read from label tokens: the probability of a good label against a bad one.

With a tag behind each step this is Math-Shepherd's read-out (arXiv 2312.08935) and RLHFlow's; with
a question put to the model on a fork that is thrown away it is self-evaluation of a prefix (Manvi
et al., arXiv 2410.02725).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ponder.runtime import (
    Branch,
    BranchPath,
    BudgetExceeded,
    Engine,
    Message,
    Scored,
    Standing,
    Usage,
)
from ponder.verifiers.api import Question, Verdict
from ponder.verifiers.phases import phase


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

    async def open(self, question: Question, at: Standing | None = None) -> Branch:
        turns = (*question.history, Message(role="user", content=question.text))
        if at is not None:
            return await self.engine.reopen(turns, at)
        return await self.engine.open(turns, path=self.path)

    async def judge(self, shadows: Sequence[Branch], steps: Sequence[str]) -> list[Verdict]:
        before = [shadow.usage for shadow in shadows]
        shown = zip(shadows, steps, strict=True)
        taken = await phase(shadow.append(step + self.labels.tag) for shadow, step in shown)
        asked = [shadow.fork(1)[0] for shadow in shadows]  # so that a probe does not stay
        try:
            taken = await self._probed(asked, taken)
            read = await self._read(asked, taken)
            used = [
                shadow.usage - past + fork.usage
                for shadow, past, fork in zip(shadows, before, asked, strict=True)
            ]
        finally:
            for fork in asked:
                fork.close()
        return [verdict_of(said, usage) for said, usage in zip(read, used, strict=True)]

    async def _probed(
        self, asked: Sequence[Branch], taken: list[BudgetExceeded | None]
    ) -> list[BudgetExceeded | None]:
        if not self.labels.probe:
            return taken
        ready = [fork for fork, t in zip(asked, taken, strict=True) if t is None]
        probed = iter(await phase(fork.append(self.labels.probe) for fork in ready))
        return [next(probed) if t is None else t for t in taken]

    async def _read(
        self, asked: Sequence[Branch], taken: list[BudgetExceeded | None]
    ) -> list[list[Scored] | BudgetExceeded]:
        words = (self.labels.good, self.labels.bad)
        ready = [fork for fork, t in zip(asked, taken, strict=True) if t is None]
        read = iter(await phase(fork.score(words) for fork in ready))
        return [next(read) if t is None else t for t in taken]


def verdict_of(said: list[Scored] | BudgetExceeded, used: Usage) -> Verdict:
    """P(good) / (P(good) + P(bad)) from what was scored for the two."""
    if isinstance(said, BudgetExceeded):
        return Verdict(failure=f"not judged: {said}", usage=used)
    good, bad = (scored.total for scored in said)
    top = max(good, bad)
    if not math.isfinite(top):
        return Verdict(failure=f"neither label is possible: {good}, {bad} nats", usage=used)
    weights = math.exp(good - top), math.exp(bad - top)
    return Verdict(score=weights[0] / sum(weights), usage=used)
