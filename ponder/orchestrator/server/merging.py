"""Several streams as one, each item as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TypeVar

from ponder.orchestrator.channel import closing

T = TypeVar("T")


async def merged(streams: Sequence[AsyncIterator[T]]) -> AsyncGenerator[T]:
    """Read all streams at once. Leaving early, or the failure of one, closes the others."""
    items = asyncio.Queue[T | None]()  # None: one stream is at its end

    async def read(stream: AsyncIterator[T]) -> None:
        try:
            async with closing(stream):
                async for item in stream:
                    items.put_nowait(item)
        finally:
            items.put_nowait(None)

    tasks = [asyncio.create_task(read(stream)) for stream in streams]
    running = len(tasks)
    try:
        while running:
            item = await items.get()
            if item is not None:
                yield item
                continue
            running -= 1
            failed = next(
                (t for t in tasks if t.done() and not t.cancelled() and t.exception()), None
            )
            if failed is not None:
                failed.result()
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
