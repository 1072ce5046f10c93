"""Where the items of one edge wait: any number of writers, one reader, no limit.

Writers never wait, so a node is never held between two of its items: whatever cancels it reaches it
inside its own code.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar, cast

from ponder.strategies import Item

T = TypeVar("T")


class Channel:
    """Ends when every writer has closed it. Reading again goes on where reading stopped."""

    def __init__(self, items: Iterable[Item] = (), *, writers: int) -> None:
        self._items: deque[Item] = deque(items)
        self._writers = writers
        self._news = asyncio.Event()

    def put(self, item: Item) -> None:
        self._items.append(item)
        self._news.set()

    def admit(self, writers: int) -> None:
        """That many more will write."""
        self._writers += writers

    def close(self) -> None:
        """One writer is done."""
        self._writers -= 1
        self._news.set()

    async def __aiter__(self) -> AsyncGenerator[Item]:
        while self._items or self._writers:
            if self._items:
                yield self._items.popleft()
            else:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def closing(items: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T]]:
    """Close an iterator that can be closed, however its reader leaves."""
    try:
        yield items
    finally:
        if isinstance(items, AsyncGenerator):
            await cast(AsyncGenerator[T], items).aclose()
