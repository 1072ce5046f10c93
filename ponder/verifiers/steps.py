"""The seam between a search and what scores its steps: a shadow beside each policy branch.

A shadow is a branch of the verifier's own engine that holds the question and the steps so far. It
forks with its policy branch, so scoring a step costs that step's tokens and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ponder.runtime import Branch, Standing
from ponder.verifiers.api import Question, Verdict


class StepVerifier(Protocol):
    async def open(self, question: Question, at: Standing | None = None) -> Branch:
        """A shadow of no steps yet, or one that stands where another stood.

        Raises:
            BudgetExceeded: not even the question could be shown.
        """
        ...

    async def judge(self, shadows: Sequence[Branch], steps: Sequence[str]) -> list[Verdict]:
        """Take one step into each shadow, and say how good each path is now, all at once. A step is
        empty where the shadow, a fork of the policy's own branch, holds it already. Failing,
        for want of budget too, is a `Verdict` with `failure`.
        """
        ...
