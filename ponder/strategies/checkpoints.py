"""Which attempts go on from a checkpoint: the best share of those that got there, at least one.

Who is surely among them, or surely not, is told at once, so nobody waits for an attempt that can no
longer change it. What is decided is the same in every order of arrival.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import ceil


def places(reached: int, keep: float) -> int:
    """How many of those that reached it go on."""
    return max(
        1, ceil(keep * reached - 1e-9)
    )  # the product of two decimals may be a hair too large


def settled(scores: Mapping[int, float], coming: int, keep: float) -> dict[int, bool]:
    """Of attempts by index: whether each goes on, if that is sure already. Ties go to the lower
    index.

    Args:
        scores: of those that have been judged.
        coming: others that may get there yet, and may be better or worse, or may not.
        keep: the share that goes on, in (0, 1].
    """
    known = len(scores)
    best_first = sorted(scores, key=lambda index: (-scores[index], index))
    sure: dict[int, bool] = {}
    for rank, index in enumerate(best_first):
        if rank >= places(known + coming, keep):
            sure[index] = False
        elif all(rank + more < places(known + more, keep) for more in range(coming + 1)):
            sure[index] = True
    return sure


class Checkpoint:
    """Where attempts meet while they run."""

    def __init__(self, *, tokens: int, keep: float, coming: int) -> None:
        """`coming` attempts may get here."""
        self.tokens = tokens
        self._keep = keep
        self._coming = coming
        self._scores: dict[int, float] = {}
        self._waiting: dict[int, asyncio.Future[bool]] = {}

    async def passes(self, index: int, score: float) -> bool:
        """Whether the attempt goes on, as soon as that is sure."""
        self._scores[index] = score
        self._waiting[index] = asyncio.get_running_loop().create_future()
        self.leave()
        return await self._waiting[index]

    def leave(self) -> None:
        """One attempt fewer to come: it is here, or never will be."""
        self._coming -= 1
        for index, goes in settled(self._scores, self._coming, self._keep).items():
            if not self._waiting[index].done():
                self._waiting[index].set_result(goes)
