"""Universal self-consistency: a model is shown all candidates and names the one that agrees most
with the others, so that text of any form can be voted on (Chen et al. 2023, arXiv 2311.17311).

The order in which candidates are shown is drawn from the run's seed. A reply that names none is a
stated failure in the trace, and then the first candidate is taken, with no confidence.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar

from ponder.runtime import InputError, Sampling
from ponder.strategies.api import Answer, Bound, Context, Item, Load, Port
from ponder.strategies.concurrency import collected
from ponder.strategies.ranking import candidates_in, in_order, named
from ponder.verifiers import answer_of, group, pick, pick_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Universal:
    """Answer with the candidate that a model finds most consistent with the others.

    The confidence is the share of candidates that give the same final answer.
    """

    takes: ClassVar[Port] = Port.CANDIDATES
    gives: ClassVar[Port] = Port.ANSWER
    source: ClassVar[str] = "Chen et al. 2023, arXiv 2311.17311"

    engine: str = "policy"
    """Role of the engine that is asked."""
    shown: int = 8000
    """Characters of a candidate that it is shown, at least 100; a longer one loses its middle."""
    max_tokens: int = 256
    """Of its reply, which is drawn greedily."""

    def __post_init__(self) -> None:
        if self.shown < 100:
            raise InputError(f"shown is {self.shown!r}; it must be at least 100 characters")
        self.sampling()

    def sampling(self) -> Sampling:
        return Sampling(max_tokens=self.max_tokens, temperature=0.0)

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        candidates = in_order(candidates_in(await collected(inputs)))
        if not candidates:
            yield Answer(text=None, confidence=None, chosen=None)
            return
        order = sorted(range(len(candidates)), key=ctx.path.child("order").uniform)
        picked, failure = await pick(
            ctx.engine(self.engine, purpose="verifier"),
            ctx.question,
            [candidates[i].text for i in order],
            path=ctx.path,
            params=self.sampling(),
            longest=self.shown,
        )
        chosen = 0 if picked is None else order[picked]
        answers = [answer_of(ctx.question, candidate) for candidate in candidates]
        ctx.record(
            "universal",
            of=len(candidates),
            order=[[candidates[i].source, candidates[i].index] for i in order],
            shortened=sum(len(c.text.strip()) > self.shown for c in candidates),
            picked=None if picked is None else picked + 1,
            failure=failure,
        )
        groups = await group(answers, ctx.equivalence)
        sure = picked is not None and answers[chosen] is not None
        yield Answer(
            text=answers[chosen],
            confidence=groups.count(groups[chosen]) / len(groups) if sure else None,
            chosen=named(candidates[chosen]),
        )

    def bound(self, load: Load) -> Bound:
        if load.candidates < 2:
            return Bound()
        most = pick_tokens(
            load.prompt_tokens, load.candidate_tokens, load.candidates, self.max_tokens
        )
        return Bound(calls=1, tokens=most, branches=1)

    def needs(self) -> dict[str, frozenset[str]]:
        return {self.engine: frozenset()}
