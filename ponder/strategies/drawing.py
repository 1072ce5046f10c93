"""How attempts are drawn: the settings that methods which decode attempts themselves share, the
branches they are drawn on, and one whole attempt on a branch.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar

from ponder.runtime import Branch, BudgetExceeded, Sampling
from ponder.strategies.api import Bound, Context, Load, Port
from ponder.strategies.measuring import needed, told
from ponder.strategies.prompting import ask, held
from ponder.verifiers import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Settings of one attempt."""

    takes: ClassVar[Port] = Port.QUESTION
    gives: ClassVar[Port] = Port.CANDIDATES

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

    def sampling(self, temperature: float | None = None) -> Sampling:
        """Raises `InputError` for settings out of range; None is the temperature set."""
        return Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature if temperature is None else temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            stop=self.stop,
        )

    def drawing_needs(self) -> frozenset[str]:
        """Capabilities that these settings ask for."""
        return needed(self.sampling())

    def drawing_bound(self, load: Load, most: int) -> Bound:
        """Of that many whole attempts."""
        return Bound(
            calls=most,
            tokens=load.prompt_tokens + most * self.max_tokens,
            branches=most + 1,
            candidates=most,
            candidate_tokens=self.max_tokens,
        )

    @asynccontextmanager
    async def root(self, ctx: Context) -> AsyncGenerator[Branch | None]:
        """A branch that has read the prompt, closed in the end; None where the budget refused to
        read it.
        """
        try:
            root = await ctx.engine(self.engine).open(ask(ctx.question), path=ctx.path)
        except BudgetExceeded:
            yield None
            return
        async with root:
            yield root

    @asynccontextmanager
    async def forks(self, ctx: Context, n: int) -> AsyncGenerator[list[Branch]]:
        """`n` branches that have read the prompt, closed in the end; none where the budget refused
        to read it. The first of many draw what fewer would.
        """
        async with self.root(ctx) as root:
            branches = [] if root is None else list(root.fork(n))
            try:
                yield branches
            finally:
                for branch in branches:
                    branch.close()


async def attempt(ctx: Context, index: int, branch: Branch, params: Sampling) -> Candidate | None:
    """Decode to the end and close the branch; None where the budget refused to begin."""
    async with branch:
        try:
            segment = await branch.extend(held(ctx.question, params))
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
