"""One request, and its retries: within the endpoint's limit, with backoff from the path and not
from ambient chance.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

import openai

from ponder.runtime.errors import InputError, unknown
from ponder.runtime.remote.body import Body
from ponder.runtime.remote.endpoint import Endpoint
from ponder.runtime.remote.faults import EndpointError, NotFound, excerpt, translated
from ponder.runtime.remote.pool import HTTPError, Line, line_to
from ponder.runtime.remote.wire import Listed, Listing, Reply, read
from ponder.runtime.seeds import BranchPath

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds before the second try, and at most before any; each try doubles it."""

Result = TypeVar("Result")


async def ask(endpoint: Endpoint, path: str, body: Body) -> Reply:
    """A whole reply.

    Raises:
        EndpointError: the endpoint failed; says whether another try may help.
        InputError: the endpoint refused; says why, in its words.
    """
    return read(Reply, await send(endpoint, path, body), endpoint)


async def send(endpoint: Endpoint, path: str, body: Body) -> str:
    async with _sending(endpoint) as line:
        text = await line.post(path, body)
        line.limit.grow()
        return text


async def pieces(endpoint: Endpoint, path: str, body: Body) -> AsyncGenerator[Reply]:
    """A reply as it is drawn; raises as `ask` does. Leaving it early closes the connection."""
    async with _sending(endpoint) as line:
        stream = await line.client.post(
            path, cast_to=object, body=body, stream=True, stream_cls=openai.AsyncStream[object]
        )
        try:
            kind = stream.response.headers.get("content-type", "")
            if "text/event-stream" not in kind:
                text = (await stream.response.aread()).decode(errors="replace")
                raise EndpointError(
                    f"endpoint {endpoint.host!r} sent {kind!r} for a stream; it begins with "
                    f"{endpoint.hide(excerpt(text))}",
                    retryable=True,
                )
            async with aclosing(_events(stream)) as events:
                async for data in events:
                    yield read(Reply, data, endpoint)
            line.limit.grow()
        finally:
            await stream.close()


async def _events(stream: openai.AsyncStream[object]) -> AsyncGenerator[str]:
    """Data of server-sent events; comments and other fields are nothing to us."""
    data: list[str] = []
    async for line in stream.response.aiter_lines():
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            whole, data = "\n".join(data), []
            if whole != "[DONE]":  # the body's end follows; read it, and the connection is kept
                yield whole


@asynccontextmanager
async def _sending(endpoint: Endpoint) -> AsyncGenerator[Line]:
    """A place under the limit, and failures in our words."""
    line = await line_to(endpoint)
    async with line.limit.place() as era:
        try:
            yield line
        except (openai.OpenAIError, HTTPError) as error:
            ours = translated(error, endpoint)
            if isinstance(ours, EndpointError) and ours.crowded:
                line.limit.shrink(era)
            raise ours from error


async def persist(
    endpoint: Endpoint,
    path: BranchPath,
    work: Callable[[], Awaitable[Result]],
    may_retry: Callable[[], bool] = lambda: True,
) -> Result:
    """Try until it works, the failure is none that another try mends, or tries run out.

    Waits double from half a second, of which half is drawn from the path; `Retry-After` is obeyed.
    """
    tries = 1
    while True:
        try:
            return await work()
        except EndpointError as error:
            if not error.retryable or not may_retry() or tries >= endpoint.attempts:
                error.args = (f"{error} (tried {tries} times)",) if tries > 1 else error.args
                raise
            await asyncio.sleep(wait(path, tries, error.after))
        tries += 1


def wait(path: BranchPath, tries: int, after: float | None) -> float:
    """Seconds until the next try."""
    longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** (tries - 1))
    drawn = longest * (0.5 + 0.5 * path.child("retry").uniform(tries))
    return drawn if after is None else after + 0.1 * drawn


async def models(endpoint: Endpoint) -> list[Listed]:
    """What `/models` lists."""
    return read(Listing, await get(endpoint, "/models"), endpoint).data


async def get(endpoint: Endpoint, address: str) -> str:
    async with _sending(endpoint) as line:
        text: str = await line.client.get(address, cast_to=str)
        return text


async def explained(error: NotFound, endpoint: Endpoint, model: str) -> InputError:
    """A 404, told as a wrong model name where the endpoint lists others."""
    try:
        names = [listed.id for listed in await models(endpoint)]
    except (EndpointError, InputError):
        return error
    if not names or model in names:
        return error
    return InputError(f"endpoint {endpoint.host!r}: {unknown('model', model, names)}")
