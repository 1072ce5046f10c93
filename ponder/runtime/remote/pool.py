"""One client an endpoint, event loop and process: its connections are shared by all engines, and
closed when the loop ends.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator
from typing import Any
from weakref import WeakKeyDictionary

import openai

from ponder.runtime.remote.endpoint import Endpoint
from ponder.runtime.remote.limit import AdaptiveLimit

# The HTTP library is the client's choice, and newer clients choose another than older ones.
_http: Any = importlib.import_module(  # Any: either of two libraries
    openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0]
)
HTTPError: type[Exception] = _http.HTTPError


class Line:
    """The way to one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        timeout = openai.Timeout(endpoint.timeout, connect=min(10.0, endpoint.timeout))
        # Our own limit counts requests; a second one on connections would only hide it.
        limits = _http.Limits(max_connections=None, max_keepalive_connections=endpoint.concurrency)
        self.limit = AdaptiveLimit(endpoint.concurrency)
        self.client = openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.key or "none",
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(limits=limits, timeout=timeout),
        )
        self.life = self._live()

    async def _live(self) -> AsyncGenerator[None]:
        """The loop closes its generators when it ends, and the client with this one."""
        try:
            yield
        finally:
            await self.client.close()


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Endpoint, Line]] = WeakKeyDictionary()


async def line_to(endpoint: Endpoint) -> Line:
    """The line of this process and event loop."""
    here = _lines.setdefault(asyncio.get_running_loop(), {})
    if endpoint not in here:
        here[endpoint] = Line(endpoint)
        await anext(here[endpoint].life)
    return here[endpoint]
