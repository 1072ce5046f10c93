"""A judge that ranks all candidates at once, in an order drawn for the run (Archon's ranker, arXiv
2409.15254; Sun et al., arXiv 2304.09542).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ponder.runtime import BranchPath, Engine, Usage
from ponder.verifiers.api import Candidate, Question, Verdict
from ponder.verifiers.asking import Asked, replies
from ponder.verifiers.sameness import mark
from ponder.verifiers.wording import RANKING, about, read_ranking

MOST = 20
"""Candidates of one ranking."""
BY_CANDIDATE = 8
"""Tokens of a reply, beside 32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListwiseJudge:
    """The best of a ranking scores 1, the worst 0, the others between in equal steps."""

    engine: Engine
    path: BranchPath

    async def judge(self, question: Question, candidates: Sequence[Candidate]) -> list[Verdict]:
        n = len(candidates)
        if n < 2:
            return [Verdict(score=1.0, reason="nothing to rank it against")] * n
        if n > MOST:
            failure = f"{n} candidates are too many for one ranking; give at most {MOST}"
            return [Verdict(failure=failure) for _ in candidates]
        order = sorted(range(n), key=lambda i: self._place(candidates[i]))
        asked = Asked(
            path=self.path.child("ranking"),
            prompt=about(question, [candidates[i].text for i in order], RANKING.format(n=n)),
            read=partial(read_ranking, n=n),
            wanted=f"first line that names each of 1 to {n} once, as in 2 > 1",
            tokens=reply_tokens(n),
        )
        (said,) = await replies(self.engine, [asked])
        if not said.values:
            failed = Verdict(failure=said.failures[0])
            return [Verdict(failure=failed.failure, usage=said.usage), *[failed] * (n - 1)]
        rank = {order[place]: i for i, place in enumerate(said.values[0])}
        return [
            Verdict(
                score=(n - 1 - rank[i]) / (n - 1),
                reason=f"ranked {rank[i] + 1} of {n}",
                usage=said.usage if i == 0 else Usage(),
            )
            for i in range(n)
        ]

    def _place(self, candidate: Candidate) -> float:
        return self.path.child("order", mark(candidate.text)).uniform(0)


def reply_tokens(n: int) -> int:
    return 32 + BY_CANDIDATE * n
