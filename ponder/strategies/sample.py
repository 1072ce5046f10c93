"""Independent samples: one prompt, read once, and n forks of it that decode at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import ClassVar

from ponder.runtime import InputError, Sampling
from ponder.strategies.api import Bound, Context, Item, Load
from ponder.strategies.concurrency import as_ready, collected
from ponder.strategies.drawing import Drawing, attempt
from ponder.strategies.measuring import available


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Drawing):
    """Draw n complete attempts at the question."""

    source: ClassVar[str] = "Ponder: independent draws"

    n: int = 1
    """Attempts, at least 1."""
    confidence: int = 0
    """Of how many of the likeliest tokens each token's confidence is told, as `self_certainty` and
    votes by confidence read it; 0 tells none. Of as many as the engine tells of, where that is
    fewer.
    """

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InputError(f"n is {self.n!r}; it must be at least 1 sample")
        self.sampling()

    def sampling(self, temperature: float | None = None) -> Sampling:
        return replace(Drawing.sampling(self, temperature), confidence=self.confidence)

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        await collected(inputs)
        async with self.forks(ctx, self.n) as branches:
            params = available(self.sampling(), ctx.engine(self.engine))
            jobs = [attempt(ctx, i, branch, params) for i, branch in enumerate(branches)]
            async with aclosing(as_ready(jobs)) as attempts:
                async for candidate in attempts:
                    if candidate is not None:
                        yield candidate

    def bound(self, load: Load) -> Bound:
        return self.drawing_bound(load, self.n)

    def needs(self) -> dict[str, frozenset[str]]:
        return {self.engine: self.drawing_needs()}
