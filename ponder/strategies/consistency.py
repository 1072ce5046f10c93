"""Adaptive consistency: samples are drawn until their answers settle (Aggarwal et al. 2023, arXiv
2305.11860).

What is decided depends on the samples in the order of their indices alone, however many are under
way: when the first k settle it, those behind are cancelled, and what they had cost stays counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import ClassVar

from ponder.runtime import InputError
from ponder.strategies.api import Bound, Context, Item, Load
from ponder.strategies.concurrency import collected, in_turn
from ponder.strategies.drawing import Drawing, attempt
from ponder.strategies.stopping import RULES, Tally
from ponder.verifiers import Candidate, Groups, Question, answer_of


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveConsistency(Drawing):
    """Draw attempts until their answers settle, and cancel the rest.

    With `parallel` above 1 answer and candidates stay the same, but what the cancelled ones had
    drawn by then depends on timing, and so does that part of the trace.
    """

    source: ClassVar[str] = "Aggarwal et al. 2023, arXiv 2305.11860"

    most: int = 40
    """Attempts, at least 1."""
    rule: str = "beta"
    """beta, dirichlet, entropy, share, or lead: as soon as those left cannot change the majority.
    """
    threshold: float | None = None
    """Of the rule's measure, in [0, 1]: entropy stops at it or below, the others at it or above.
    None is the source's: 0.95 of beta and dirichlet, 0.75 of entropy, 0.8 of share. lead has none.
    """
    parallel: int = 1
    """Attempts under way at most; 1 is the paper's. One by one where the budget may bind."""

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise InputError(f"rule is {self.rule!r}; it must be one of {', '.join(RULES)}")
        for name in ("most", "parallel"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)!r}; it must be at least 1")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(f"threshold is {self.threshold!r}; it must be in [0, 1], or None")
        if self.threshold is not None and self.rule == "lead":
            raise InputError(f"threshold is {self.threshold!r}; rule 'lead' has none: leave it out")
        self.sampling()

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        await collected(inputs)
        rule, settled = RULES[self.rule], False
        progress = _Progress(question=ctx.question, groups=Groups(ctx.equivalence))
        async with self.forks(ctx, self.most) as branches:
            params = self.sampling()
            jobs = (attempt(ctx, i, branch, params) for i, branch in enumerate(branches))
            async with aclosing(in_turn(jobs, self._under_way(ctx))) as drawn:
                async for candidate in drawn:
                    if candidate is None:
                        break
                    await progress.add(candidate)
                    progress.values.append(rule.measure(progress.tally(self.most)))
                    settled = rule.settled(progress.values[-1], self._threshold)
                    if settled:
                        await drawn.aclose()
                    yield candidate
        self._record(ctx, progress, settled=settled)

    @property
    def _threshold(self) -> float:
        return RULES[self.rule].threshold if self.threshold is None else self.threshold

    def _under_way(self, ctx: Context) -> int:
        """One where the budget may bind: what a cancelled attempt has spent, and so what is left
        for others, would depend on timing.
        """
        return self.parallel if ctx.streaming else 1

    def _record(self, ctx: Context, progress: _Progress, *, settled: bool) -> None:
        of = len(progress.values)
        begun = min(self.most, of + self._under_way(ctx) - 1) if settled else of
        ctx.record(
            "consistency",
            rule=self.rule,
            threshold=self._threshold,
            settled=settled,
            of=of,
            cancelled=begun - of,
            values=progress.values,
            unanswered=of - progress.votes.total(),
            groups=[
                {"answer": answer, "votes": progress.votes[number]}
                for number, answer in enumerate(progress.groups.leaders)
            ],
        )

    def bound(self, load: Load) -> Bound:
        return self.drawing_bound(load, self.most)

    def needs(self) -> dict[str, frozenset[str]]:
        return {self.engine: self.drawing_needs()}


@dataclass(slots=True, kw_only=True, eq=False)
class _Progress:
    """The answers so far."""

    question: Question
    groups: Groups
    votes: Counter[int] = field(default_factory=Counter[int])
    """Of each group."""
    values: list[float] = field(default_factory=list[float])
    """Of the rule's measure, after each sample."""

    async def add(self, candidate: Candidate) -> None:
        answer = answer_of(self.question, candidate)
        if answer is not None:
            self.votes[await self.groups.place(answer)] += 1

    def tally(self, most: int) -> Tally:
        """Behind the newest sample, which is not measured yet."""
        counts = tuple(sorted(self.votes.values(), reverse=True))
        return Tally(counts=counts, drawn=len(self.values) + 1, most=most)
