"""Independent samples: one prompt, read once, and n forks of it that decode at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar

from ponder.runtime import Branch, BudgetExceeded, InputError, Sampling
from ponder.strategies.api import Bound, Context, Item, Load, Port
from ponder.strategies.concurrency import as_ready, collected
from ponder.strategies.measuring import available, needed, told
from ponder.strategies.prompting import ask
from ponder.verifiers import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Draw n complete attempts at the question."""

    takes: ClassVar[Port] = Port.QUESTION
    gives: ClassVar[Port] = Port.CANDIDATES
    source: ClassVar[str] = "Ponder: independent draws"

    n: int = 1
    """Attempts, at least 1."""
    temperature: float = 0.8
    """0 takes the likeliest token."""
    top_p: float = 1.0
    """Draw from the likeliest tokens that make up this share; 1 is all."""
    top_k: int | None = None
    """Draw from so many likeliest tokens; None is all."""
    min_p: float = 0.0
    """Leave out tokens less likely than this share of the likeliest one's probability."""
    max_tokens: int = 512
    """Of one attempt."""
    stop: tuple[str, ...] = ()
    """Strings that end an attempt."""
    confidence: int = 0
    """Of how many of the likeliest tokens each token's confidence is told, as `self_certainty` and
    votes by confidence read it; 0 tells none. Of as many as the engine tells of, where that is
    fewer.
    """
    engine: str = "policy"
    """Role of the engine that decodes."""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InputError(f"n is {self.n!r}; it must be at least 1 sample")
        self.sampling()

    def sampling(self) -> Sampling:
        return Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            stop=self.stop,
            confidence=self.confidence,
        )

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        await collected(inputs)
        engine = ctx.engine(self.engine)
        try:
            root = await engine.open(ask(ctx.question), path=ctx.path)
        except BudgetExceeded:
            return
        async with root:
            branches = root.fork(self.n)
            params = available(self.sampling(), engine)
            jobs = [self._attempt(ctx, i, branch, params) for i, branch in enumerate(branches)]
            async with aclosing(as_ready(jobs)) as attempts:
                async for attempt in attempts:
                    if attempt is not None:
                        yield attempt

    async def _attempt(
        self, ctx: Context, index: int, branch: Branch, params: Sampling
    ) -> Candidate | None:
        async with branch:
            try:
                segment = await branch.extend(params)
            except BudgetExceeded:
                return None
        return Candidate(
            source=ctx.node,
            index=index,
            text=segment.text,
            finish=segment.finish,
            logprobs=segment.logprobs or None,
            usage=segment.usage,
            token_confidence=told(params.confidence, segment.confidences),
        )

    def bound(self, load: Load) -> Bound:
        return Bound(
            calls=self.n,
            tokens=load.prompt_tokens + self.n * self.max_tokens,
            branches=self.n + 1,
            candidates=self.n,
            candidate_tokens=self.max_tokens,
        )

    def needs(self) -> dict[str, frozenset[str]]:
        return {self.engine: needed(self.sampling())}
