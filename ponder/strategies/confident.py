"""Keep the attempts that the model was most confident of, and weigh each by it (DeepConf offline;
Fu et al. 2025, arXiv 2508.15260, section 3.1).

A candidate without an answer could not vote: it is left out, unless none has one.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ponder.runtime import InputError
from ponder.strategies.api import Bound, Context, Item, Load, Port
from ponder.strategies.concurrency import collected
from ponder.strategies.measuring import check_measure, measure
from ponder.strategies.ranking import candidates_in, in_order
from ponder.verifiers import WINDOW, Candidate, answer_of

_ROUNDING = 1e-9
"""0.1 of 30 is 3, not a little more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confident:
    """Keep the candidates with the highest token confidence, which then weighs their votes."""

    takes: ClassVar[Port] = Port.CANDIDATES
    gives: ClassVar[Port] = Port.CANDIDATES
    source: ClassVar[str] = "Fu et al. 2025, arXiv 2508.15260 (DeepConf, offline)"

    keep: float = 1.0
    """Share of them, in (0, 1]; at least one stays."""
    measure: str = "mean"
    """Of an attempt's tokens: the "mean"; the "lowest" group; the mean of the "bottom" tenth of the
    groups; the "tail", which is the last group.
    """
    window: int = WINDOW
    """Tokens a group."""

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise InputError(f"keep is {self.keep!r}; it must be a share in (0, 1]")
        check_measure(self.measure, self.window)

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        everyone = in_order(candidates_in(await collected(inputs)))
        answering = [c for c in everyone if answer_of(ctx.question, c) is not None] or everyone
        weighed = [replace(c, measured=measure(c, self.measure, self.window)) for c in answering]
        kept = in_order(self._highest(weighed))
        ctx.record(
            "confident",
            of=len(everyone),
            unanswered=len(everyone) - len(answering),
            measure=self.measure,
            measured=[[c.source, c.index, c.measured] for c in weighed],
            kept=[[c.source, c.index] for c in kept],
        )
        for candidate in kept:
            yield candidate

    def _highest(self, weighed: Sequence[Candidate]) -> list[Candidate]:
        """The first in order among equals."""
        ranked = sorted(weighed, key=lambda c: -(c.measured or 0.0))
        return ranked[: self._room(len(weighed))]

    def _room(self, candidates: int) -> int:
        return math.ceil(self.keep * candidates - _ROUNDING)

    def bound(self, load: Load) -> Bound:
        return Bound(candidates=self._room(load.candidates), candidate_tokens=load.candidate_tokens)

    def needs(self) -> dict[str, frozenset[str]]:
        return {}
