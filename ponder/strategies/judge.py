"""Let a verifier judge every candidate, and keep all of them or the best few.

Candidates that say the same, white space aside, are judged once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar

from ponder.runtime import InputError
from ponder.strategies.api import Bound, Context, Item, Load, Port
from ponder.strategies.bench import Bench
from ponder.strategies.concurrency import collected, mapped
from ponder.strategies.ranking import candidates_in, in_order, ranked
from ponder.strategies.search.aggregation import AGGREGATIONS, check_aggregation
from ponder.verifiers import (
    MOST_STEPS,
    Candidate,
    Stepwise,
    Verifier,
    step_verifier_kind,
    verifier_kind,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Score candidates as they come. A candidate that could not be judged ranks below all that
    could.
    """

    takes: ClassVar[Port] = Port.CANDIDATES
    gives: ClassVar[Port] = Port.CANDIDATES
    source: ClassVar[str] = "Cobbe et al. 2021, arXiv 2110.14168"

    verifier: str
    """Name of a verifier, or of a step verifier where `aggregate` is given; `ponder strategies`
    lists them.
    """
    keep: int | None = None
    """Pass on the best `keep` only, once all are judged; None passes on all, each at once."""
    engine: str = "policy"
    """Role of the engine that the verifier asks, if it asks one."""
    aggregate: str | None = None
    """Judge step by step, and make one score of the steps': last, min, prod, mean, or model (the
    whole is one step). None has the candidate judged as a whole, by a verifier of its own kind.
    """

    def __post_init__(self) -> None:
        if self.aggregate is None:
            verifier_kind(self.verifier)
        else:
            step_verifier_kind(self.verifier)
            check_aggregation(self.aggregate)
        if self.keep is not None and self.keep < 1:
            raise InputError(f"keep is {self.keep!r}; it must be at least 1, or None for all")

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        bench = Bench(verifier=self._verifier(ctx), question=ctx.question, by_text=self._asks)
        if ctx.streaming and self.keep is None and not self._together:

            async def one(item: Item) -> Candidate:
                return (await self._judge(ctx, bench, candidates_in([item])))[0]

            async with aclosing(mapped(inputs, one)) as judged:
                async for candidate in judged:
                    yield candidate
        else:
            everyone = in_order(candidates_in(await collected(inputs)))
            for candidate in self._kept(ctx, await self._judge(ctx, bench, everyone)):
                yield candidate
        for (source, index), first in bench.duplicates():
            ctx.record("duplicate", source=source, index=index, same_as=list(first))

    async def _judge(
        self, ctx: Context, bench: Bench, candidates: Sequence[Candidate]
    ) -> list[Candidate]:
        verdicts = await bench.judge(candidates)
        for candidate, verdict in zip(candidates, verdicts, strict=True):
            ctx.record(
                "verdict",
                source=candidate.source,
                index=candidate.index,
                verifier=self.verifier,
                score=verdict.score,
                failure=verdict.failure,
                reason=verdict.reason,
            )
        return [c.judged(v) for c, v in zip(candidates, verdicts, strict=True)]

    def _kept(self, ctx: Context, candidates: list[Candidate]) -> list[Candidate]:
        if self.keep is None:
            return candidates
        kept = in_order(ranked(candidates)[: self.keep])
        ctx.record("kept", of=len(candidates), kept=[[c.source, c.index] for c in kept])
        return kept

    def _verifier(self, ctx: Context) -> Verifier:
        if self.aggregate is None:
            return ctx.verifier(self.verifier, engine=self.engine)
        return Stepwise(
            make=lambda place: ctx.step_verifier(self.verifier, engine=self.engine, place=place),
            combine=None if self.aggregate == "model" else AGGREGATIONS[self.aggregate],
        )

    @property
    def _together(self) -> bool:
        return self.aggregate is None and verifier_kind(self.verifier).together

    @property
    def _asks(self) -> bool:
        return self.aggregate is not None or verifier_kind(self.verifier).asks

    def bound(self, load: Load) -> Bound:
        calls, tokens = self._by_step(load) if self.aggregate is not None else self._whole(load)
        return Bound(
            calls=calls,
            tokens=tokens,
            branches=calls,
            candidates=min(load.candidates, self.keep or load.candidates),
            candidate_tokens=load.candidate_tokens,
        )

    def _whole(self, load: Load) -> tuple[int, int]:
        kind, n = verifier_kind(self.verifier), load.candidates
        return kind.calls(n), kind.tokens(load.prompt_tokens, load.candidate_tokens, n)

    def _by_step(self, load: Load) -> tuple[int, int]:
        """A step has a token at least."""
        steps = 1 if self.aggregate == "model" else min(MOST_STEPS, load.candidate_tokens)
        extra = step_verifier_kind(self.verifier).extra_tokens
        each = load.prompt_tokens + load.candidate_tokens + steps * (extra + 1)
        return load.candidates * steps, load.candidates * each

    def needs(self) -> dict[str, frozenset[str]]:
        kind = verifier_kind if self.aggregate is None else step_verifier_kind
        return {self.engine: kind(self.verifier).needs}
