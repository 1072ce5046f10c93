"""Majority and weighted voting over final answers (self-consistency; Wang et al. 2022).

Answers are grouped by meaning, not by spelling. A candidate without an answer does not vote, but
stays in the denominator. Ties go to the group with the larger sum of scores, then to the one whose
first member was asked for first.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import ClassVar

from ponder.runtime import InputError
from ponder.strategies.api import Answer, Bound, Context, Item, Load, Port
from ponder.strategies.concurrency import collected
from ponder.strategies.measuring import measured
from ponder.strategies.ranking import candidates_in, in_order, named, ranked, score_of
from ponder.verifiers import Candidate, answer_of, group

WEIGHTS: dict[str, Callable[[Candidate], float]] = {
    "count": lambda candidate: 1.0,
    "judge": score_of,
    "confidence": measured,
}
"""What a vote weighs, beside the weight that a weighted sample has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """Answer with the largest group of equal answers."""

    takes: ClassVar[Port] = Port.CANDIDATES
    gives: ClassVar[Port] = Port.ANSWER
    source: ClassVar[str] = "Wang et al. 2022, arXiv 2203.11171"

    weights: str = "count"
    """What each vote weighs, beside the weight that a weighted sample has: "count": nothing else;
    "judge": the newest verdict's score; "confidence": the newest measure of confidence, else the
    mean over tokens (Fu et al. 2025, arXiv 2508.15260).
    """

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise InputError(f"weights is {self.weights!r}; it must be one of {', '.join(WEIGHTS)}")

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        candidates = in_order(candidates_in(await collected(inputs)))
        answers = [answer_of(ctx.question, c) for c in candidates]
        groups: dict[int, list[int]] = {}
        for place, number in enumerate(await group(answers, ctx.equivalence)):
            if number is not None:
                groups.setdefault(number, []).append(place)
        tally = {n: self._weight([candidates[i] for i in places]) for n, places in groups.items()}
        ctx.record(
            "vote",
            of=len(candidates),
            unanswered=answers.count(None),
            unjudged=sum(c.verdict is None or c.verdict.failure is not None for c in candidates),
            groups=[
                {"answer": answers[places[0]], "votes": len(places), "weight": tally[n]}
                for n, places in groups.items()
            ],
        )
        yield self._answer(candidates, answers, groups, tally)

    def _weight(self, members: list[Candidate]) -> float:
        value = WEIGHTS[self.weights]
        return math.fsum(c.weight * value(c) for c in members)

    def _answer(
        self,
        candidates: list[Candidate],
        answers: list[str | None],
        groups: dict[int, list[int]],
        tally: dict[int, float],
    ) -> Answer:
        if not groups:
            best = next(iter(ranked(candidates)), None)
            return Answer(text=None, confidence=None, chosen=named(best))
        scores = {n: sum(score_of(candidates[i]) for i in places) for n, places in groups.items()}
        winner = max(groups, key=lambda n: (tally[n], scores[n], -groups[n][0]))
        total = self._weight(candidates)
        chosen = ranked(candidates[i] for i in groups[winner])[0]
        return Answer(
            text=answers[groups[winner][0]],
            confidence=tally[winner] / total if total else 0.0,
            chosen=named(chosen),
        )

    def bound(self, load: Load) -> Bound:
        return Bound()

    def needs(self) -> dict[str, frozenset[str]]:
        return {}
