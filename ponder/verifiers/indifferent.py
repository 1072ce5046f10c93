"""A step verifier without an opinion, for searches whose weights come from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from ponder.runtime import Branch, BranchPath, Standing, Usage
from ponder.verifiers.api import Question, Verdict


class Indifferent:
    """Each step scores 1; it asks no engine, and its shadows are nothing."""

    async def open(self, question: Question, at: Standing | None = None) -> Branch:
        return cast(Branch, Nothing())  # all that is ever done with a shadow by others

    async def judge(self, shadows: Sequence[Branch], steps: Sequence[str]) -> list[Verdict]:
        return [Verdict(score=1.0) for _ in steps]


class Nothing:
    """In place of a shadow."""

    usage = Usage()

    def fork(self, n: int, first: int = 0, *, name: str | None = None) -> list[Nothing]:
        return [self] * n

    def standing(self) -> Standing:
        return Standing(path=BranchPath(0))

    def close(self) -> None:
        """There is nothing to close."""
