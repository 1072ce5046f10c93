"""Independent samples: one prompt, read once, and n forks of it that decode at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar

from ponder.runtime import Branch, BudgetExceeded, InputError, Sampling
from ponder.strategies.api import Bound, Context, Item, Load, Port
from ponder.strategies.concurrency import as_ready, collected
from ponder.strategies.prompting import ask, held
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
        )

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        await collected(inputs)
        try:
            root = await ctx.engine(self.engine).open(ask(ctx.question), path=ctx.path)
        except BudgetExceeded:
            return
        async with root:
            branches = root.fork(self.n)
            jobs = [self._attempt(ctx, i, branch) for i, branch in enumerate(branches)]
            async with aclosing(as_ready(jobs)) as attempts:
                async for attempt in attempts:
                    if attempt is not None:
                        yield attempt

    async def _attempt(self, ctx: Context, index: int, branch: Branch) -> Candidate | None:
        async with branch:
            try:
                segment = await branch.extend(held(ctx.question, self.sampling()))
            except BudgetExceeded:
                return None
        return Candidate(
            source=ctx.node,
            index=index,
            text=segment.text,
            finish=segment.finish,
            logprobs=segment.logprobs or None,
            usage=segment.usage,
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
        asked = {"top_k": self.top_k is not None, "min_p": self.min_p > 0}
        return {self.engine: frozenset(name for name, used in asked.items() if used)}
