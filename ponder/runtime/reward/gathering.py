"""Reads that come in the same turn of the event loop share a request, up to a number of them; what
becomes of one says nothing of the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ponder.runtime.errors import InputError, ModelError
from ponder.runtime.reward.contract import Reading
from ponder.runtime.reward.wire import Solution
from ponder.runtime.seeds import BranchPath

MOST = 64
"""Solutions of one request."""

Ask = Callable[[Sequence["Wish"]], Awaitable[list[Reading | ModelError]]]


class Wish:
    """One read."""

    def __init__(self, path: BranchPath, solution: Solution) -> None:
        self.path = path
        self.solution = solution
        self.done: asyncio.Future[Reading] = asyncio.get_running_loop().create_future()

    def settle(self, said: Reading | Exception) -> None:
        if self.done.done():
            return
        if isinstance(said, Exception):
            self.done.set_exception(said)
        else:
            self.done.set_result(said)


class Gathering:
    """Of one engine, on one event loop."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._next: list[Wish] = []
        self._asking: dict[asyncio.Task[None], list[Wish]] = {}

    async def read(self, wish: Wish) -> Reading:
        if not self._next:
            asyncio.get_running_loop().call_soon(self._start)
        self._next.append(wish)
        try:
            return await wish.done
        finally:
            wish.done.cancel()
            self._leave()

    def fail(self, error: Exception) -> None:
        """All that wait."""
        for wish in [*self._next, *(w for wishes in self._asking.values() for w in wishes)]:
            wish.settle(error)

    def _start(self) -> None:
        waiting = [wish for wish in self._next if not wish.done.done()]
        self._next = []
        for i in range(0, len(waiting), MOST):
            wishes = waiting[i : i + MOST]
            task = asyncio.get_running_loop().create_task(self._run(wishes))
            self._asking[task] = wishes
            task.add_done_callback(self._asking.pop)

    def _leave(self) -> None:
        """Stop requests that nobody waits for any more."""
        for task, wishes in self._asking.items():
            if all(wish.done.done() for wish in wishes):
                task.cancel()

    async def _run(self, wishes: Sequence[Wish]) -> None:
        try:
            said = await self._ask(wishes)
        except InputError as error:
            if len(wishes) == 1:
                wishes[0].settle(error)
            else:  # one of them may be too long, say: alone each gets its own answer
                await asyncio.gather(*(self._run([wish]) for wish in wishes))
        except Exception as error:
            for wish in wishes:
                wish.settle(error)  # theirs to raise
        else:
            for wish, reading in zip(wishes, said, strict=True):
                wish.settle(reading)
