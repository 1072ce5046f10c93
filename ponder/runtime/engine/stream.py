"""A decode as pieces of text.

A class and not an async generator: a loop that breaks out drops it, and the decode is cancelled at
once instead of when the event loop gets round to it.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, Self

from ponder.runtime.api import Delta, Sampling, Segment
from ponder.runtime.engine.jobs import Decode


class Decoder(Protocol):
    """What a stream needs of its branch."""

    def begin_decode(
        self, params: Sampling, deadline: float | None, *, announce: bool
    ) -> Decode: ...

    def end_decode(self, job: Decode) -> Segment: ...

    def drop_decode(self, job: Decode) -> None: ...


class Stream:
    """An `extend` piece by piece. Dropping it, or `aclose`, cancels the decode and commits what was
    drawn.
    """

    def __init__(self, branch: Decoder, params: Sampling, deadline: float | None) -> None:
        self._branch = branch
        self._params = params
        self._deadline = deadline
        self._job: Decode | None = None
        self._sent = 0
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        if self._ended:
            raise StopAsyncIteration
        if self._job is None:
            self._job = self._branch.begin_decode(self._params, self._deadline, announce=True)
        try:
            while not (piece := self._piece(self._job)) and not self._job.over:
                await self._job.change()
            if piece:
                return Delta(text=piece)
            await self._job.finished()
        except Exception:
            self._branch.drop_decode(self._job)
            self._end()
            raise
        except asyncio.CancelledError:
            self._end()
            raise
        return self._last()

    async def aclose(self) -> None:
        self._end()

    def __del__(self) -> None:
        self._end()

    def _piece(self, job: Decode) -> str:
        text = job.tail.certain if job.tail else ""
        piece, self._sent = text[self._sent :], len(text)
        return piece

    def _last(self) -> Delta:
        segment = self._end()
        if segment is None:
            raise StopAsyncIteration
        return Delta(text=segment.text[self._sent :], segment=segment)

    def _end(self) -> Segment | None:
        if self._ended:
            return None
        self._ended = True
        return self._branch.end_decode(self._job) if self._job else None
