"""Work for a client that may leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import TypeVar

from starlette.types import Receive

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed its connection; nobody waits for the reply."""


class Cut(Exception):
    """The server stops, and waits for the reply no longer."""


async def unless_gone(
    receive: Receive, cut: asyncio.Future[None], work: Coroutine[object, object, T]
) -> T:
    """The result of `work`, which is cancelled, to its end, when the client leaves first or the
    server must go.

    Raises:
        ClientGone: the client left.
        Cut: `cut` is done.
    """
    working, leaving = asyncio.create_task(work), asyncio.create_task(_left(receive))
    try:
        await asyncio.wait((working, leaving, cut), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Cut if cut.done() else ClientGone
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def kept_alive(texts: AsyncGenerator[str], quiet: float, sign: str) -> AsyncGenerator[str]:
    """`texts`, with `sign` put in whenever nothing came for `quiet` seconds."""
    coming: asyncio.Task[str | None] | None = None
    try:
        while True:
            coming = coming or asyncio.create_task(_next(texts))
            done, _ = await asyncio.wait((coming,), timeout=quiet)
            if not done:
                yield sign
                continue
            text, coming = coming.result(), None
            if text is None:
                return
            yield text
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await texts.aclose()


async def _next(texts: AsyncGenerator[str]) -> str | None:
    return await anext(texts, None)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
