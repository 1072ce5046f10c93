"""Let a verifier judge every candidate, and keep all of them or the best few."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar

from ponder.runtime import InputError
from ponder.strategies.api import Bound, Context, Item, Load, Port
from ponder.strategies.concurrency import collected, mapped
from ponder.strategies.ranking import candidates_in, in_order, ranked
from ponder.verifiers import Candidate, verifier_kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Score candidates as they come. A candidate that could not be judged ranks below all that
    could.
    """

    takes: ClassVar[Port] = Port.CANDIDATES
    gives: ClassVar[Port] = Port.CANDIDATES
    source: ClassVar[str] = "Cobbe et al. 2021, arXiv 2110.14168"

    verifier: str
    """Name of a verifier; `ponder strategies` lists them."""
    keep: int | None = None
    """Pass on the best `keep` only, once all are judged; None passes on all, each at once."""
    engine: str = "policy"
    """Role of the engine that the verifier asks, if it asks one."""

    def __post_init__(self) -> None:
        verifier_kind(self.verifier)
        if self.keep is not None and self.keep < 1:
            raise InputError(f"keep is {self.keep!r}; it must be at least 1, or None for all")

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        if ctx.streaming and self.keep is None:

            async def one(item: Item) -> Candidate:
                return (await self._judge(ctx, candidates_in([item])))[0]

            async with aclosing(mapped(inputs, one)) as judged:
                async for candidate in judged:
                    yield candidate
            return
        everyone = in_order(candidates_in(await collected(inputs)))
        for candidate in self._kept(ctx, await self._judge(ctx, everyone)):
            yield candidate

    async def _judge(self, ctx: Context, candidates: Sequence[Candidate]) -> list[Candidate]:
        verifier = ctx.verifier(self.verifier, engine=self.engine)
        verdicts = await verifier.judge(ctx.question, candidates)
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

    def bound(self, load: Load) -> Bound:
        kind = verifier_kind(self.verifier)
        passed = min(load.candidates, self.keep or load.candidates)
        return Bound(
            calls=load.candidates * kind.calls,
            tokens=load.candidates * kind.tokens(load.prompt_tokens, load.candidate_tokens),
            branches=load.candidates if kind.calls else 0,
            candidates=passed,
            candidate_tokens=load.candidate_tokens,
        )

    def needs(self) -> dict[str, frozenset[str]]:
        return {self.engine: verifier_kind(self.verifier).needs}
