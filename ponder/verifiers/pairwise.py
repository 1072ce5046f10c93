"""A judge that compares candidates two at a time, each pair in both orders, since judges prefer a
place (Zheng et al., arXiv 2306.05685; Wang et al., arXiv 2305.17926).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ponder.runtime import BranchPath, Engine, Usage
from ponder.verifiers.api import Candidate, Question, Verdict
from ponder.verifiers.asking import Asked, Replies, replies
from ponder.verifiers.pairing import Pair, paired, rounds
from ponder.verifiers.sameness import mark
from ponder.verifiers.wording import BETTER, about, read_better


@dataclass(frozen=True, slots=True, kw_only=True)
class PairwiseJudge:
    """A candidate's score is its share of wins; half a win where the order decided."""

    engine: Engine
    path: BranchPath

    async def judge(self, question: Question, candidates: Sequence[Candidate]) -> list[Verdict]:
        if len(candidates) < 2:
            return [Verdict(score=1.0, reason="nothing to compare it with")] * len(candidates)
        marks = [mark(candidate.text) for candidate in candidates]
        table = [_Row() for _ in candidates]
        order = sorted(
            range(len(candidates)), key=lambda i: self.path.child("order", marks[i]).uniform(0)
        )
        met: list[Pair] = []
        for _ in range(rounds(len(candidates))):
            pairs = paired(order, [row.points for row in table], met)
            met += pairs
            asked = [
                self._asked(question, candidates, p) for a, b in pairs for p in ((a, b), (b, a))
            ]
            said = await replies(self.engine, asked)
            for i, (a, b) in enumerate(pairs):
                _enter(table[a], table[b], said[2 * i], said[2 * i + 1])
        return [row.verdict() for row in table]

    def _asked(self, question: Question, candidates: Sequence[Candidate], pair: Pair) -> Asked[int]:
        texts = [candidates[i].text for i in pair]
        return Asked(
            path=self.path.child(*map(mark, texts)),
            prompt=about(question, texts, BETTER),
            read=read_better,
            wanted="line 'Better: 1' or 'Better: 2'",
        )


@dataclass(slots=True, kw_only=True, eq=False)
class _Row:
    """One candidate's record."""

    points: float = 0.0
    compared: int = 0
    failures: list[str] = field(default_factory=list[str])
    usage: Usage = Usage()

    def verdict(self) -> Verdict:
        if not self.compared:
            failure = self.failures[0] if self.failures else "it was compared with none"
            return Verdict(failure=failure, usage=self.usage)
        reason = f"{self.points:g} of {self.compared} comparisons won"
        reason += f", {len(self.failures)} failed" if self.failures else ""
        return Verdict(score=self.points / self.compared, reason=reason, usage=self.usage)


def _enter(first: _Row, second: _Row, forth: Replies[int], back: Replies[int]) -> None:
    """A comparison in both orders, each paid for by who was shown first. Where one of them cannot
    be read it does not count: alone the other says as much of places as of solutions.
    """
    first.usage += forth.usage
    second.usage += back.usage
    failures = [*forth.failures, *back.failures]
    if failures:
        first.failures.append(failures[0])
        second.failures.append(failures[0])
        return
    won = (forth.values[0] == 0) + (back.values[0] == 1)
    for row, points in ((first, won / 2), (second, 1 - won / 2)):
        row.points += points
        row.compared += 1
