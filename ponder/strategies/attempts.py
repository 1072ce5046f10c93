"""Attempts that are decoded in stretches and judged while they live: the same tokens as in one go,
and judging one costs what is asked behind it, since a fork of its branch is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ponder.runtime import Branch, BudgetExceeded, Finish, Sampling, Usage
from ponder.strategies.api import Context
from ponder.strategies.prompting import begun_at
from ponder.verifiers import Candidate, StepVerifier, Verdict


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """One attempt under way."""

    index: int
    branch: Branch
    engine: str
    """Role of the engine that decodes it."""
    text: str = ""
    drawn: int = 0
    """Tokens."""
    logprobs: list[float] = field(default_factory=list[float])
    usage: Usage = field(default_factory=Usage)
    finish: Finish | None = None
    """Why it is over; None while it can go on."""
    _begins: int = field(init=False)
    """Place in the branch where it begins."""

    def __post_init__(self) -> None:
        self._begins = len(self.branch.tokens)

    async def advance(self, params: Sampling, to: int) -> None:
        """Decode until it has `to` tokens, of `params.max_tokens` in all, or is over.

        A stop string may begin before a stretch and end in it, so the tokens that could hold its
        beginning are drawn again with the next stretch: draws are functions of the position.
        """
        if self.finish is not None:
            return
        back = min(self.drawn, redrawn(params))
        if back:
            self.branch.rewind(len(self.branch.tokens) - back)
        start = self.drawn - back
        try:
            stretch = begun_at(replace(params, max_tokens=to - start), self._begins)
            segment = await self.branch.extend(stretch)
        except BudgetExceeded:
            self.finish = Finish.BUDGET
            return
        self.text, self.drawn = self.branch.text, start + segment.usage.decoded
        self.logprobs[len(self.logprobs) - back :] = segment.logprobs
        self.usage += segment.usage
        if segment.finish is not Finish.LENGTH or self.drawn < to or to >= params.max_tokens:
            self.finish = segment.finish

    def shadow(self, ctx: Context) -> Branch:
        """A fork for a verifier to read; an end token is no part of what was said."""
        fork = ctx.shadow(self.branch, engine=self.engine)
        ended = self.finish in (Finish.EOS, Finish.TOOLS)
        if ended and ctx.engine(self.engine).capabilities.token_ids:
            fork.rewind(len(fork.tokens) - 1)
        return fork

    def candidate(self, source: str, verdict: Verdict | None = None) -> Candidate:
        return Candidate(
            source=source,
            index=self.index,
            text=self.text,
            finish=self.finish or Finish.LENGTH,
            logprobs=tuple(self.logprobs) or None,
            usage=self.usage,
            verdict=verdict,
        )


async def judged(
    ctx: Context, verifier: StepVerifier, attempts: Sequence[Attempt]
) -> list[Verdict]:
    """What the verifier says of each so far, in their order; the attempts can go on."""
    shadows = [attempt.shadow(ctx) for attempt in attempts]
    try:
        return await verifier.judge(shadows, [""] * len(shadows))
    finally:
        for shadow in shadows:
            shadow.close()


def redrawn(params: Sampling) -> int:
    """Tokens drawn again at most where a decode goes on: all but the last byte of a stop string may
    be tokens of their own.
    """
    return max((len(stop.encode()) for stop in params.stop), default=1) - 1


def record_verdict(ctx: Context, candidate: Candidate, verifier: str) -> None:
    """Put the candidate's verdict into the trace, as `Judge` does."""
    verdict = candidate.verdict
    if verdict is not None:
        ctx.record(
            "verdict",
            source=candidate.source,
            index=candidate.index,
            verifier=verifier,
            score=verdict.score,
            failure=verdict.failure,
            reason=verdict.reason,
        )
