"""Independent samples: one prompt, read once, and n forks of it that decode at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from ponder.runtime import InputError
from ponder.strategies.api import Bound, Context, Item, Load
from ponder.strategies.concurrency import as_ready, collected
from ponder.strategies.drawing import Drawing, attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Drawing):
    """Draw n complete attempts at the question."""

    n: int = 1
    """Attempts, at least 1."""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InputError(f"n is {self.n!r}; it must be at least 1 sample")
        self.sampling()

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        await collected(inputs)
        async with self.forks(ctx, self.n) as branches:
            params = self.sampling()
            jobs = [attempt(ctx, i, branch, params) for i, branch in enumerate(branches)]
            async with aclosing(as_ready(jobs)) as attempts:
                async for candidate in attempts:
                    if candidate is not None:
                        yield candidate

    def bound(self, load: Load) -> Bound:
        return self.drawing_bound(load, self.n)

    def needs(self) -> dict[str, frozenset[str]]:
        return {self.engine: self.drawing_needs()}
