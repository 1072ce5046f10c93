"""The seam between a search and what scores its steps: a shadow beside each policy branch.

A shadow is a branch of the verifier's own engine that holds the question and the steps so far. It
forks with its policy branch, so scoring a step costs that step's tokens and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

from ponder.verifiers.api import Question, Verdict


class Shadow(Protocol):
    """The steps so far, as a verifier sees them. One call at a time; close it."""

    def fork(self, n: int) -> Sequence[Self]: ...

    async def judge(self, step: str) -> Verdict:
        """Take `step` in, and say how good the path is now. Failing, for want of budget too, is a
        `Verdict` with `failure`.
        """
        ...

    def close(self) -> None: ...


class StepVerifier(Protocol):
    async def open(self, question: Question) -> Shadow:
        """A shadow of no steps yet.

        Raises:
            BudgetExceeded: not even the question could be shown.
        """
        ...
