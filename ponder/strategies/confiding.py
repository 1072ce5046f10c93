"""DeepConf's attempts under way, in rounds: each living attempt draws a chunk, then all are looked
at in the order of their indices.

So nothing depends on who is faster, and an attempt that is given up has drawn as much with one call
at a time as with many. An attempt ends "whole" and may vote; or it "fell" below the threshold while
it was drawn, was "low" when it was over, "dropped" when an answer had won, or "cut" by the budget:
what was cut may vote, as it is the best there is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ponder.runtime import Branch, BudgetExceeded, Engine, Finish, Sampling
from ponder.strategies.api import Context
from ponder.strategies.chunked import Chunked
from ponder.strategies.concurrency import all_of
from ponder.strategies.measuring import told
from ponder.verifiers import (
    Candidate,
    Groups,
    answer_of,
    attempt_confidence,
    group_means,
    percentile,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`DeepConf` says what they mean."""

    warmup: int
    most: int
    eta: float
    window: int
    consensus: float
    chunk: int
    parallel: int


@dataclass(slots=True, kw_only=True, eq=False)
class _Attempt:
    index: int
    branch: Branch
    growth: Chunked
    end: str | None = None
    """How it ended, once it has."""
    text: str = ""
    looked: int = 0
    """Tokens whose confidence was looked at."""

    @property
    def over(self) -> bool:
        """Whether it came to an end of its own."""
        return self.growth.finish not in (None, Finish.BUDGET)


class Confiding:
    """See the module. Close it."""

    def __init__(
        self, ctx: Context, engine: Engine, root: Branch, params: Sampling, limits: Limits
    ) -> None:
        self._ctx = ctx
        self._engine = engine
        self._root = root
        self._params = params
        self._limits = limits
        self._attempts: list[_Attempt] = []
        self._cut = False
        self._threshold = 0.0
        self._groups = Groups(ctx.equivalence)
        self._weights: defaultdict[int, float] = defaultdict(float)
        """Of each group of equal answers."""

    async def draw(self) -> None:
        """Until the attempts, the budget or all doubt are over."""
        limits = self._limits
        agreed = await self._warm_up()
        while not (agreed or self._cut):
            room = min(limits.parallel - len(self._living), limits.most - len(self._attempts))
            self._admit([self._root.fork(1)[0] for _ in range(room)])
            if not self._living:
                break
            await self._grow(limits.chunk)
            agreed = await self._look()
        for attempt in self._living:
            self._end(attempt, "cut" if self._cut else "dropped")
        self._record()

    def candidates(self) -> list[Candidate]:
        """Those that may vote, by index, each measured by its lowest group."""
        voting = [a for a in self._attempts if a.end == "whole" or (a.end == "cut" and a.text)]
        return [
            Candidate(
                source=self._ctx.node,
                index=attempt.index,
                text=attempt.text,
                finish=attempt.growth.finish or Finish.BUDGET,
                logprobs=tuple(attempt.growth.logprobs) or None,
                usage=attempt.growth.usage,
                token_confidence=told(self._params.confidence, attempt.growth.confidences),
                measured=self._lowest(attempt),
            )
            for attempt in voting
        ]

    def close(self) -> None:
        for attempt in self._attempts:
            attempt.branch.close()

    @property
    def _living(self) -> list[_Attempt]:
        return [attempt for attempt in self._attempts if attempt.end is None]

    async def _warm_up(self) -> bool:
        """Draw the first attempts whole and set the threshold; whether they agree already."""
        self._admit(self._root.fork(self._limits.warmup))
        await self._grow(self._params.max_tokens)
        lowest = list(map(self._lowest, self._attempts))
        if not self._cut:
            self._threshold = percentile(lowest, 100 - self._limits.eta)
        self._ctx.record(
            "threshold", lowest=lowest, threshold=self._threshold, k=self._params.confidence
        )
        for attempt in self._attempts:
            if attempt.over:
                await self._finish(attempt)
        return self._agreed

    def _admit(self, branches: Sequence[Branch]) -> None:
        first = len(self._attempts)
        self._attempts += [
            _Attempt(index=i, branch=b, growth=Chunked(self._engine, b, self._params))
            for i, b in enumerate(branches, first)
        ]

    async def _grow(self, tokens: int) -> None:
        """Every living attempt, asked in order."""
        await all_of(self._grow_one(attempt, tokens) for attempt in self._living)

    async def _grow_one(self, attempt: _Attempt, tokens: int) -> None:
        try:
            await attempt.growth.grow(tokens)
        except BudgetExceeded:
            self._cut = True
        self._cut = self._cut or attempt.growth.finish is Finish.BUDGET

    async def _look(self) -> bool:
        """End what fell or is over, in order, until an answer has its consensus; whether it has."""
        for attempt in self._living:
            if self._fell(attempt):
                self._end(attempt, "fell")
            elif attempt.over:
                await self._finish(attempt)
                if self._agreed:
                    return True
        return False

    async def _finish(self, attempt: _Attempt) -> None:
        """An attempt that is over votes, unless it is low."""
        lowest = self._lowest(attempt)
        if lowest < self._threshold:
            self._end(attempt, "low")
            return
        self._end(attempt, "whole")
        answer = answer_of(self._ctx.question, attempt.text)
        if answer is not None:
            self._weights[await self._groups.place(answer)] += lowest

    @property
    def _agreed(self) -> bool:
        total = sum(self._weights.values())
        return total > 0 and max(self._weights.values()) / total >= self._limits.consensus

    def _fell(self, attempt: _Attempt) -> bool:
        """Whether a whole group that ends in the newest tokens is below the threshold."""
        values, window = attempt.growth.confidences, self._limits.window
        before, attempt.looked = attempt.looked, len(values)
        if len(values) == before or len(values) < window:
            return False
        fresh = values[max(0, before - window + 1) :]
        return min(group_means(fresh, window)) < self._threshold

    def _lowest(self, attempt: _Attempt) -> float:
        return attempt_confidence(attempt.growth.confidences, "lowest", self._limits.window)

    def _end(self, attempt: _Attempt, how: str) -> None:
        attempt.end, attempt.text = how, attempt.branch.text
        attempt.branch.close()

    def _record(self) -> None:
        for attempt in self._attempts:
            self._ctx.record(
                "attempt",
                index=attempt.index,
                end=attempt.end,
                tokens=attempt.growth.usage.decoded,
                lowest=self._lowest(attempt),
            )
        self._ctx.record(
            "deepconf",
            attempts=len(self._attempts),
            agreed=self._agreed,
            groups=[
                {"answer": answer, "weight": self._weights[number]}
                for number, answer in enumerate(self._groups.leaders)
            ],
        )
