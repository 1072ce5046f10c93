"""Samples that were drawn before, in place of new ones: the beginning of a rescoring."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar

from ponder.strategies.api import Bound, Context, Item, Load, Port
from ponder.strategies.concurrency import collected
from ponder.verifiers import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Give these candidates, whatever is asked. They keep their names (source and index)."""

    takes: ClassVar[Port] = Port.QUESTION
    gives: ClassVar[Port] = Port.CANDIDATES
    source: ClassVar[str] = "Ponder: samples drawn before"

    candidates: tuple[Candidate, ...]

    def __repr__(self) -> str:
        return f"stored({len(self.candidates)})"

    async def run(self, ctx: Context, inputs: AsyncIterator[Item]) -> AsyncIterator[Item]:
        await collected(inputs)
        for candidate in self.candidates:
            yield candidate

    def bound(self, load: Load) -> Bound:
        longest = max((c.usage.decoded for c in self.candidates), default=0)
        return Bound(candidates=len(self.candidates), candidate_tokens=longest)

    def needs(self) -> dict[str, frozenset[str]]:
        return {}
