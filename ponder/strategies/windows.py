"""Early-stopping self-consistency: samples come in windows, and one that agrees with itself is the
last (Li et al. 2024, arXiv 2401.10480).

Of L samples at most, in windows of w that agree with probability q, w (1 - (1 - q)^(L/w)) / q are
drawn on average. A window is decided when all of it is there, so nothing is cancelled, and all that
was drawn may vote.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar

from ponder.runtime import Branch, InputError
from ponder.strategies.api import Bound, Context, Item, Load
from ponder.strategies.concurrency import as_ready, collected
from ponder.strategies.drawing import Drawing, attempt
from ponder.strategies.ranking import in_order
from ponder.verifiers import Candidate, answer_of, group


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping(Drawing):
    """Draw windows of attempts until all answers of one window agree.

    An attempt without an answer agrees with none.
    """

    source: ClassVar[str] = "Li et al. 2024, arXiv 2401.10480"

    window: int = 5
    """Attempts drawn at once, from 1 to `most`."""
    most: int = 40
    """Attempts in all; the last window is smaller where `window` does not divide it."""

    def __post_init__(self) -> None:
        if self.most < 1:
            raise InputError(f"most is {self.most!r}; it must be at least 1")
        if not 1 <= self.window <= self.most:
            raise InputError(f"window is {self.window!r}; it must be from 1 to most ({self.most})")
        self.sampling()

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        await collected(inputs)
        async with self.forks(ctx, self.most) as branches:
            for first in range(0, len(branches), self.window):
                window: list[Candidate] = []
                part = branches[first : first + self.window]
                async with aclosing(self._draw(ctx, first, part)) as drawn:
                    async for candidate in drawn:
                        window.append(candidate)
                        yield candidate
                if len(window) < len(part) or await self._agrees(ctx, first, window):
                    break

    async def _draw(
        self, ctx: Context, first: int, branches: Sequence[Branch]
    ) -> AsyncGenerator[Candidate]:
        """All at once, as they are ready, but those that the budget refused."""
        params = self.sampling()
        jobs = [attempt(ctx, i, branch, params) for i, branch in enumerate(branches, first)]
        async with aclosing(as_ready(jobs)) as attempts:
            async for candidate in attempts:
                if candidate is not None:
                    yield candidate

    async def _agrees(self, ctx: Context, first: int, window: list[Candidate]) -> bool:
        answers = [answer_of(ctx.question, candidate) for candidate in in_order(window)]
        agrees = None not in answers and len(set(await group(answers, ctx.equivalence))) == 1
        ctx.record("window", first=first, answers=answers, agrees=agrees)
        return agrees

    def bound(self, load: Load) -> Bound:
        return self.drawing_bound(load, self.most)

    def needs(self) -> dict[str, frozenset[str]]:
        return {self.engine: self.drawing_needs()}
