"""Early pruning: attempts start together, and those that look worst at fixed lengths are dropped in
the middle (Manvi et al., arXiv 2410.02725).

Only attempts of equal length compete: those that have ended before a checkpoint keep their place.
An attempt that could not be judged goes on too: nothing is dropped for want of a score.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar

from ponder.runtime import InputError, Sampling
from ponder.strategies.api import Bound, Context, Item, Load
from ponder.strategies.attempts import (
    Attempt,
    judged,
    record_verdict,
    redrawn,
)
from ponder.strategies.checkpoints import Checkpoint, settled
from ponder.strategies.concurrency import all_of, as_ready, collected
from ponder.strategies.drawing import Drawing
from ponder.strategies.prompting import held
from ponder.verifiers import Candidate, StepVerifier, Verdict, step_verifier_kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned(Drawing):
    """Draw n attempts, and at each checkpoint go on with the best share of them."""

    source: ClassVar[str] = "Manvi et al. 2024, arXiv 2410.02725"

    n: int = 16
    """Attempts, at least 1."""
    at: tuple[int, ...] = (128, 256)
    """Checkpoints, in tokens of an attempt."""
    keep: float = 0.5
    """Share of those still under way that goes on from a checkpoint, in (0, 1]; one at least."""
    verifier: str = "restart"
    """Name of a step verifier, which reads forks of the attempts; `ponder strategies` lists them.
    """

    def __post_init__(self) -> None:
        step_verifier_kind(self.verifier)
        rising = all(a < b for a, b in zip((0, *self.at), (*self.at, self.max_tokens), strict=True))
        checks: list[tuple[str, object, bool, str]] = [
            ("n", self.n, self.n >= 1, "at least 1 attempt"),
            (
                "at",
                self.at,
                bool(self.at) and rising,
                f"checkpoints from 1 to below max_tokens ({self.max_tokens!r}), each above the one "
                "before",
            ),
            ("keep", self.keep, 0 < self.keep <= 1, "in (0, 1]"),
        ]
        for name, value, good, allowed in checks:
            if not good:
                raise InputError(f"{name} is {value!r}; it must be {allowed}")
        self.sampling()

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        await collected(inputs)
        async with self.forks(ctx, self.n) as branches:
            attempts = [
                Attempt(index=i, branch=branch, engine=self.engine)
                for i, branch in enumerate(branches)
            ]
            race = _Race(ctx=ctx, rules=self)
            run = race.run(attempts) if ctx.streaming else race.waves(attempts)
            async with aclosing(run) as finished:
                async for candidate in finished:
                    yield candidate

    def bound(self, load: Load) -> Bound:
        stretches = len(self.at) + 1
        again = len(self.at) * redrawn(self.sampling())
        judging = stretches * step_verifier_kind(self.verifier).extra_tokens
        return Bound(
            calls=2 * self.n * stretches,
            tokens=load.prompt_tokens + self.n * (self.max_tokens + again + judging),
            branches=1 + 3 * self.n,
            candidates=self.n,
            candidate_tokens=self.max_tokens,
        )

    def needs(self) -> dict[str, frozenset[str]]:
        # A stop string across a checkpoint is found by drawing its beginning again.
        again = frozenset({"seed", "token_ids"} if self.stop else ())
        own = frozenset({"prefix_continuation"}) | again | self.drawing_needs()
        return {self.engine: own | step_verifier_kind(self.verifier).needs}


@dataclass(slots=True, kw_only=True, eq=False)
class _Race:
    """One run's attempts under way."""

    ctx: Context
    rules: Pruned

    @property
    def _params(self) -> Sampling:
        return held(self.ctx.question, self.rules.sampling())

    @property
    def _verifier(self) -> StepVerifier:
        return self.ctx.step_verifier(self.rules.verifier, engine=self.rules.engine)

    async def run(self, attempts: Sequence[Attempt]) -> AsyncGenerator[Candidate]:
        """Each attempt by itself; they meet at checkpoints."""
        checkpoints = [
            Checkpoint(tokens=tokens, keep=self.rules.keep, coming=len(attempts))
            for tokens in self.rules.at
        ]
        jobs = [self._follow(attempt, checkpoints) for attempt in attempts]
        async with aclosing(as_ready(jobs)) as finished:
            async for candidate in finished:
                if candidate is not None:
                    yield candidate

    async def _follow(
        self, attempt: Attempt, checkpoints: Sequence[Checkpoint]
    ) -> Candidate | None:
        dropped = False
        for checkpoint in checkpoints:
            if not dropped:
                await attempt.advance(self._params, checkpoint.tokens)
            if dropped or attempt.finish is not None:
                checkpoint.leave()
                continue
            (verdict,) = await judged(self.ctx, self._verifier, [attempt])
            if verdict.score is None:
                checkpoint.leave()
                goes = True
            else:
                goes = await checkpoint.passes(attempt.index, verdict.score)
            self._decided(attempt, checkpoint.tokens, verdict, goes=goes)
            dropped = not goes
        if dropped:
            return None
        await attempt.advance(self._params, self.rules.max_tokens)
        if not attempt.drawn:  # the budget let nothing be drawn
            return None
        (verdict,) = await judged(self.ctx, self._verifier, [attempt])
        return self._finished(attempt, verdict)

    async def waves(self, attempts: Sequence[Attempt]) -> AsyncGenerator[Candidate]:
        """All decodes, then all judgements, each in order: who is cut short by the budget does not
        depend on timing.
        """
        alive = list(attempts)
        for tokens in self.rules.at:
            await all_of(attempt.advance(self._params, tokens) for attempt in alive)
            going = [attempt for attempt in alive if attempt.finish is None]
            verdicts = await judged(self.ctx, self._verifier, going)
            pairs = list(zip(going, verdicts, strict=True))
            scores = {a.index: v.score for a, v in pairs if v.score is not None}
            sure = settled(scores, 0, self.rules.keep)
            for attempt, verdict in pairs:
                goes = sure.get(attempt.index, True)
                self._decided(attempt, tokens, verdict, goes=goes)
                if not goes:
                    alive.remove(attempt)
        await all_of(a.advance(self._params, self.rules.max_tokens) for a in alive)
        ended = [attempt for attempt in alive if attempt.drawn]
        verdicts = await judged(self.ctx, self._verifier, ended)
        for attempt, verdict in zip(ended, verdicts, strict=True):
            yield self._finished(attempt, verdict)

    def _decided(self, attempt: Attempt, tokens: int, verdict: Verdict, *, goes: bool) -> None:
        if not goes:
            attempt.branch.close()
        self.ctx.record(
            "checkpoint",
            index=attempt.index,
            tokens=tokens,
            score=verdict.score,
            failure=verdict.failure,
            kept=goes,
        )

    def _finished(self, attempt: Attempt, verdict: Verdict) -> Candidate:
        attempt.branch.close()
        candidate = attempt.candidate(self.ctx.node, verdict)
        record_verdict(self.ctx, candidate, self.rules.verifier)
        return candidate
