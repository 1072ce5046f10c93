"""Best-of-N selection: answer with the candidate the verifier likes best.

A candidate without a final answer loses to any that has one: a cut-off attempt can score high and
say nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar

from ponder.strategies.api import Answer, Bound, Context, Item, Load, Port
from ponder.strategies.concurrency import collected
from ponder.strategies.ranking import candidates_in, has_score, named, ranked, score_of
from ponder.verifiers import answer_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """Answer with the highest-scored candidate; its score is the confidence."""

    takes: ClassVar[Port] = Port.CANDIDATES
    gives: ClassVar[Port] = Port.ANSWER
    source: ClassVar[str] = "Cobbe et al. 2021, arXiv 2110.14168"

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        candidates = ranked(candidates_in(await collected(inputs)))
        answers = {id(c): answer_of(ctx.question, c) for c in candidates}
        best = next((c for c in candidates if answers[id(c)] is not None), None)
        ctx.record(
            "best",
            of=len(candidates),
            unanswered=sum(answer is None for answer in answers.values()),
            unjudged=sum(not has_score(c) for c in candidates),
            chosen=best and [best.source, best.index],
        )
        fallback = best or next(iter(candidates), None)
        yield Answer(
            text=answers[id(best)] if best else None,
            confidence=score_of(best) if best and has_score(best) else None,
            chosen=named(fallback),
        )

    def bound(self, load: Load) -> Bound:
        return Bound()

    def needs(self) -> dict[str, frozenset[str]]:
        return {}
