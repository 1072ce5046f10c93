"""A branch of a reward model: a prompt, and the steps appended to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from ponder.runtime.errors import CapabilityError, InputError, unknown
from ponder.runtime.remote.history import History
from ponder.runtime.remote.text_branch import TextBranch
from ponder.runtime.reward.wire import Solution
from ponder.runtime.standing import Origin, Standing
from ponder.runtime.tokens import moved
from ponder.runtime.values import Delta, Sampling, Scored, Segment, Tokens

if TYPE_CHECKING:
    from ponder.runtime.reward.engine import RewardEngine


class RewardBranch(TextBranch):
    """A `Branch` of a `RewardEngine`. What is appended at once is a step."""

    def __init__(
        self,
        engine: RewardEngine,
        origin: Origin,
        history: History,
        parent: RewardBranch | None = None,
        *,
        own: int,
        ends: tuple[int, ...] = (),
    ) -> None:
        super().__init__(engine, origin, history, parent, own=own)
        self._engine = engine
        self._ends = ends
        """Of steps, in the journal; the last is the journal's."""

    @property
    def steps(self) -> tuple[str, ...]:
        journal = self._history.journal
        return tuple(journal[a:b] for a, b in pairwise((self._history.border, *self._ends)))

    def standing(self) -> Standing:
        border = self._history.border
        return replace(super().standing(), ends=tuple(end - border for end in self._ends))

    def _children(self, origins: Sequence[Origin]) -> Sequence[Self]:
        history, own = self._history, self._history.length
        return [
            type(self)(self._engine, origin, history, self, own=own, ends=self._ends)
            for origin in origins
        ]

    async def extend(self, params: Sampling, *, deadline: float | None = None) -> Segment:
        raise self._untold("tokens of its own: it only reads")

    def stream(self, params: Sampling, *, deadline: float | None = None) -> AsyncIterator[Delta]:
        raise self._untold("tokens of its own: it only reads")

    async def score(self, continuations: Sequence[str | Tokens]) -> list[Scored]:
        raise self._untold("log-probabilities")

    async def read(self, head: str, start: int | None = None) -> list[tuple[float, ...]]:
        """What the head says at the end of the last step.

        Raises:
            CapabilityError: there is no such head, or `start` is given.
            InputError: there is no step, or the endpoint refuses the branch.
            ModelError: the endpoint failed, or what it says is no score.
        """
        with self._gate.call("read"):
            self._check(head, start)
            solution = Solution(prompt=self._history.prompt, steps=self.steps)
            reading = await self._engine.read(self.path, solution)
        self._charge(reading.usage)
        self._gate.check_open()
        return [reading.row]

    def _check(self, head: str, start: int | None) -> None:
        heads = self._engine.capabilities.heads
        if head not in heads:
            raise CapabilityError(f"{self._engine.name!r}: {unknown('head', head, heads)}")
        if start is not None:
            raise CapabilityError(
                f"{self._engine.name!r} tells no more than what the head says at the end of the "
                f"last step; start is {start!r}, leave it out"
            )
        if not self._ends:
            raise InputError(f"branch {self.path} holds no step to read; append one")

    def _say(self, text: str) -> None:
        super()._say(text)
        self._cut((*self._ends, self._history.length))

    def _edit(self, start: int, stop: int, text: str) -> None:
        super()._edit(start, stop, text)
        ends = (moved(end, start, stop, len(text)) for end in self._ends)
        self._cut((*ends, self._history.length))

    def _cut(self, ends: Sequence[int]) -> None:
        self._ends = tuple(sorted({end for end in ends if end > self._history.border}))
