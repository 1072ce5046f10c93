"""Adaptive best-of-N: attempts one after another, each judged, until one is good enough (Manvi et
al., arXiv 2410.02725).

With a threshold above 1 this is best-of-N, with one of 0 or below a single sample.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import ClassVar

from ponder.runtime import Branch, InputError
from ponder.strategies.annealing import SCHEDULES, annealed
from ponder.strategies.api import Bound, Context, Item, Load
from ponder.strategies.attempts import Attempt, judged, record_verdict
from ponder.strategies.concurrency import collected, in_turn
from ponder.strategies.drawing import Drawing
from ponder.strategies.prompting import held
from ponder.strategies.ranking import score_of
from ponder.verifiers import Candidate, Verdict, platt, step_verifier_kind, verifier_kind

RESTART = "restart"
"""The verifier that reads a fork of the living attempt, where others are shown its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveBestOf(Drawing):
    """Draw and judge attempts until one scores at least `threshold`, or there are `most`."""

    source: ClassVar[str] = "Manvi et al. 2024, arXiv 2410.02725"

    most: int = 16
    """Attempts, at least 1."""
    threshold: float = 0.9
    """Of the best score so far, which is 0 while nothing was judged."""
    verifier: str = RESTART
    """Name of a verifier; `ponder strategies` lists them."""
    verifier_engine: str | None = None
    """Role of the engine that the verifier asks; None is the one that decodes."""
    anneal: str = "none"
    """How the temperature rises from `lowest` to `temperature`: none, halving or exponential."""
    lowest: float = 0.0
    """Temperature of the first attempt where it is annealed."""
    kappa: float = 2.0
    """Attempts in which exponential annealing does 63 % of the way."""
    platt: tuple[float, float] = (1.0, 0.0)
    """Slope and offset, in nats, that calibrate scores; (1, 0) leaves them as they are."""
    parallel: int = 1
    """Attempts under way at once. They are decided in order; those under way when one is good
    enough are cancelled, and what they had drawn is spent.
    """

    def __post_init__(self) -> None:
        if verifier_kind(self.verifier).together:
            raise InputError(
                f"verifier is {self.verifier!r}, which compares attempts; it must judge each alone"
            )
        slope, offset = self.platt
        checks: list[tuple[str, object, bool, str]] = [
            ("most", self.most, self.most >= 1, "at least 1"),
            ("threshold", self.threshold, math.isfinite(self.threshold), "a finite number"),
            ("anneal", self.anneal, self.anneal in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
            ("lowest", self.lowest, 0 <= self.lowest <= self.temperature, "0 to temperature"),
            ("kappa", self.kappa, 0 < self.kappa < math.inf, "above 0"),
            (
                "platt",
                self.platt,
                0 < slope < math.inf and math.isfinite(offset),
                "a slope above 0 and an offset, both finite",
            ),
            ("parallel", self.parallel, self.parallel >= 1, "at least 1"),
        ]
        for name, value, good, allowed in checks:
            if not good:
                raise InputError(f"{name} is {value!r}; it must be {allowed}")
        self.sampling()

    def temperature_of(self, attempt: int) -> float:
        """Of the attempt by this number, from 0."""
        return annealed(self.anneal, attempt, self.lowest, self.temperature, self.kappa)

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        await collected(inputs)
        async with (
            self.forks(ctx, self.most) as branches,
            aclosing(self._until_good(ctx, branches)) as found,
        ):
            async for candidate in found:
                yield candidate

    async def _until_good(
        self, ctx: Context, branches: Sequence[Branch]
    ) -> AsyncGenerator[Candidate]:
        best, count = 0.0, 0
        # One by one where the budget may bind: what a cancelled attempt has spent by then, and so
        # what is left for others, would depend on timing.
        at_once = self.parallel if ctx.streaming else 1
        async with aclosing(in_turn(self._attempts(ctx, branches), at_once)) as attempts:
            async for attempt in attempts:
                if attempt is None:
                    break
                record_verdict(ctx, attempt, self.verifier)
                best, count = max(best, score_of(attempt)), count + 1
                if best >= self.threshold:
                    await attempts.aclose()
                yield attempt
        good = count > 0 and best >= self.threshold
        cancelled = min(at_once - 1, self.most - count) if good else 0
        ctx.record(
            "stopped",
            attempts=count,
            best=best,
            threshold=self.threshold,
            good=good,
            cancelled=cancelled,
        )

    def _attempts(
        self, ctx: Context, branches: Sequence[Branch]
    ) -> Iterator[Coroutine[object, object, Candidate | None]]:
        for index, branch in enumerate(branches):
            yield self._attempt(ctx, Attempt(index=index, branch=branch, engine=self.engine))

    async def _attempt(self, ctx: Context, attempt: Attempt) -> Candidate | None:
        """None where the budget let nothing be drawn."""
        params = held(ctx.question, self.sampling(self.temperature_of(attempt.index)))
        await attempt.advance(params, self.max_tokens)
        if not attempt.drawn:
            return None
        made = attempt.candidate(ctx.node)
        verdict = await self._verdict(ctx, attempt, made)
        attempt.branch.close()
        return made.judged(self._calibrated(verdict))

    async def _verdict(self, ctx: Context, attempt: Attempt, made: Candidate) -> Verdict:
        if self._reads_forks:
            reader = ctx.step_verifier(RESTART, engine=self.engine)
            (verdict,) = await judged(ctx, reader, [attempt])
        else:
            verifier = ctx.verifier(self.verifier, engine=self._asked)
            (verdict,) = await verifier.judge(ctx.question, [made])
        return verdict

    @property
    def _asked(self) -> str:
        return self.verifier_engine or self.engine

    @property
    def _reads_forks(self) -> bool:
        return self.verifier == RESTART and self._asked == self.engine

    def _calibrated(self, verdict: Verdict) -> Verdict:
        if verdict.score is None:
            return verdict
        return replace(verdict, score=platt(verdict.score, *self.platt))

    def bound(self, load: Load) -> Bound:
        kind = verifier_kind(self.verifier)
        judging = (
            step_verifier_kind(RESTART).extra_tokens
            if self._reads_forks
            else kind.tokens(load.prompt_tokens, self.max_tokens, 1)
        )
        return Bound(
            calls=self.most * (1 + kind.calls(1)),
            tokens=load.prompt_tokens + self.most * (self.max_tokens + judging),
            branches=1 + self.most + 2 * self.parallel,
            candidates=self.most,
            candidate_tokens=self.max_tokens,
        )

    def needs(self) -> dict[str, frozenset[str]]:
        found = {self.engine: self.drawing_needs()}
        asked = verifier_kind(self.verifier).needs
        found[self._asked] = found.get(self._asked, frozenset()) | asked
        return found
