"""A reply as server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ponder.orchestrator.server.access import Access
from ponder.orchestrator.server.clients import ClientGone, Cut, kept_alive, unless_gone
from ponder.orchestrator.server.events import End, Event, Piece, Progress
from ponder.orchestrator.server.refusals import Refusal, refusal
from ponder.orchestrator.server.replies import (
    Header,
    end_data,
    opening_data,
    piece_data,
    total_data,
)
from ponder.runtime import PonderError

QUIET = 10.0
"""Seconds without an event after which a comment tells the client that work goes on."""
OK, GONE = 200, 499


class EventStream(Response):
    """Sends text as it comes; stops its source when the client leaves."""

    media_type = "text/event-stream"

    def __init__(
        self, texts: AsyncGenerator[str], access: Access, ended: Callable[[int], None]
    ) -> None:
        """`ended` is told how it ended, once: OK, GONE, or the status of what cut it short."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._texts = texts
        self._access = access
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = GONE
        try:
            await send({"type": "http.response.start", "status": OK, "headers": self.raw_headers})
            await unless_gone(receive, self._access.cut, self._send(send))
            status = OK
        except Cut:
            stopped = self._access.stopped()
            status = stopped.status
            await self._texts.aclose()
            await self._end(send, _data(stopped.body()))
        except ClientGone:
            pass  # Recorded as GONE: there is nobody left to tell.
        finally:
            await self._texts.aclose()
            self._ended(status)

    async def _send(self, send: Send) -> None:
        async for text in kept_alive(self._texts, QUIET, ": working\n\n"):
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        await self._end(send, "")

    async def _end(self, send: Send, text: str) -> None:
        await send({"type": "http.response.body", "body": text.encode(), "more_body": False})


async def texts(
    events: AsyncIterator[Event], header: Header, choices: int, *, with_usage: bool
) -> AsyncGenerator[str]:
    """The stream's text. Progress is a comment line, which clients skip; a failure is an event with
    `error`, since the status is sent already.
    """
    if header.chat:
        for choice in range(choices):
            yield _data(opening_data(header, choice))
    try:
        async for event in events:
            text = _text(event, header, with_usage=with_usage)
            if text:
                yield text
    except Exception as error:
        yield _data(refusal(error).body())
        if not isinstance(error, PonderError | Refusal):
            raise
        return
    yield "data: [DONE]\n\n"


def _text(event: Event, header: Header, *, with_usage: bool) -> str:
    if isinstance(event, Progress):
        return f": progress {json.dumps({'calls': event.calls, 'tokens': event.tokens})}\n\n"
    if isinstance(event, Piece):
        return _data(piece_data(header, event))
    if isinstance(event, End):
        return _data(end_data(header, event))
    return _data(total_data(header, event)) if with_usage else ""


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
