"""Minimum Bayes risk: the candidate that is closest to all of them on average, for text of any form
(Kumar and Byrne 2004, "Minimum Bayes-risk decoding for statistical machine translation").

With the utility of equal answers it is the majority vote. Each candidate is its own evidence too: a
constant, as a text is equal to itself, but that one without an answer, or without a word, is not.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ponder.runtime import InputError
from ponder.strategies.api import Answer, Bound, Context, Item, Load, Port
from ponder.strategies.concurrency import collected
from ponder.strategies.overlap import OVERLAPS, words
from ponder.strategies.ranking import candidates_in, named, ranked, score_of
from ponder.strategies.vote import WEIGHTS
from ponder.verifiers import Candidate, Equivalence, answer_of, group

UTILITIES = ("answer", *OVERLAPS)

Utility = Callable[[int, int], float]
"""Of the candidates at two places, in [0, 1] and symmetric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimumBayesRisk:
    """Answer with the candidate of the highest expected utility, which is the confidence."""

    takes: ClassVar[Port] = Port.CANDIDATES
    gives: ClassVar[Port] = Port.ANSWER
    source: ClassVar[str] = "Kumar and Byrne 2004, HLT-NAACL, N04-1022"

    utility: str = "answer"
    """"answer": 1 of equal final answers, else 0; "rouge1" and "rougeL": words in common."""
    weights: str = "count"
    """Of the evidence. "count": all alike; "judge": as the newest verdict's score."""

    def __post_init__(self) -> None:
        for name, known in (("utility", UTILITIES), ("weights", WEIGHTS)):
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(known)}"
                )

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        # From best to worst, so that of equals the first is the one to take.
        candidates = ranked(candidates_in(await collected(inputs)))
        answers = [answer_of(ctx.question, candidate) for candidate in candidates]
        utility = await self._utility(candidates, answers, ctx.equivalence)
        weights = [1.0 if self.weights == "count" else score_of(c) for c in candidates]
        expected = _expected(utility, weights)
        ctx.record(
            "mbr",
            of=len(candidates),
            utility=self.utility,
            unanswered=answers.count(None),
            expected=[
                {"source": c.source, "index": c.index, "utility": value}
                for c, value in zip(candidates, expected, strict=True)
            ],
        )
        places = range(len(candidates))
        best = max(places, key=lambda i: (expected[i], answers[i] is not None), default=None)
        if best is None:
            yield Answer(text=None, confidence=None, chosen=None)
            return
        yield Answer(
            text=answers[best],
            confidence=None if answers[best] is None else expected[best],
            chosen=named(candidates[best]),
        )

    async def _utility(
        self,
        candidates: Sequence[Candidate],
        answers: Sequence[str | None],
        equivalence: Equivalence,
    ) -> Utility:
        if self.utility == "answer":
            groups = await group(answers, equivalence)
            return lambda i, j: float(groups[i] is not None and groups[i] == groups[j])
        texts, overlap = [words(c.text) for c in candidates], OVERLAPS[self.utility]
        return lambda i, j: overlap(texts[i], texts[j])

    def bound(self, load: Load) -> Bound:
        return Bound()

    def needs(self) -> dict[str, frozenset[str]]:
        return {}


def _expected(utility: Utility, weights: Sequence[float]) -> list[float]:
    """Of each candidate, over all as evidence; 0 where nothing has weight."""
    n, total = len(weights), math.fsum(weights)
    table = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(i, n):
            table[i][j] = table[j][i] = utility(i, j)
    return [
        math.fsum(w * u for w, u in zip(weights, row, strict=True)) / total if total else 0.0
        for row in table
    ]
