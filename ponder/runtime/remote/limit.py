"""How many requests an endpoint gets at once: one more after a round without complaint, half after
a 429 (additive increase, multiplicative decrease; Chiu and Jain, Computer Networks and ISDN
Systems 17, 1989).

First come, first served. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class AdaptiveLimit:
    """See the module."""

    def __init__(self, most: int) -> None:
        self.allowed = most
        """Requests that may be under way now."""
        self._most = most
        self._inside = 0
        self._calm = 0
        self._era = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def inside(self) -> int:
        return self._inside

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[int]:
        """Wait for a place; gives the era it was taken in, for `shrink`."""
        if self._inside >= self.allowed or self._waiting:
            await self._queue()
        else:
            self._inside += 1
        try:
            yield self._era
        finally:
            self._inside -= 1
            self._admit()

    def grow(self) -> None:
        """A request went well."""
        self._calm += 1
        if self._calm >= self.allowed and self.allowed < self._most:
            self.allowed += 1
            self._calm = 0
            self._admit()

    def shrink(self, era: int) -> None:
        """A request of that era was too many; a burst of them is one complaint."""
        if era == self._era:
            self.allowed = max(1, min(self.allowed, self._inside) // 2)
            self._calm = 0
            self._era += 1

    async def _queue(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._inside -= 1
                self._admit()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def _admit(self) -> None:
        while self._waiting and self._inside < self.allowed:
            turn = self._waiting.popleft()
            if not turn.done():
                self._inside += 1
                turn.set_result(None)
