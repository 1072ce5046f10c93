"""One client an endpoint, event loop and process: its connections are shared by all engines, and
closed when the loop ends.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

import openai

from ponder.runtime.remote.body import Body
from ponder.runtime.remote.endpoint import Endpoint
from ponder.runtime.remote.limit import AdaptiveLimit
from ponder.runtime.remote.transport import Transport, framed, http, port

HTTPError: type[Exception] = http.HTTPError


class Line:
    """The way to one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        connect = min(10.0, endpoint.timeout)
        timeout = openai.Timeout(endpoint.timeout, connect=connect)
        self.limit = AdaptiveLimit(endpoint.concurrency)
        self._seconds = endpoint.timeout, connect
        self._url: Any = http.URL(endpoint.base_url)  # Any: see `http`
        self._transport = None if _proxied(self._url) else Transport(kept=endpoint.concurrency)
        # Our own limit counts requests; a second one on connections would only hide it.
        limits = http.Limits(max_connections=None, max_keepalive_connections=endpoint.concurrency)
        self.client = openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.key or "none",
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(
                limits=limits, timeout=timeout, transport=self._transport
            ),
        )
        self._origin = self._url.scheme, self._url.host, port(self._url)
        self._heads: dict[str, bytes] = {}
        self.life = self._live()

    async def post(self, path: str, body: Body) -> str:
        """The text of a whole reply.

        The address, the headers and the connections are the official client's; what it does around
        each request besides takes longer than all the rest, and is left out.

        Raises:
            OpenAIError: the endpoint refused or did not answer in time.
            HTTPError: the connection failed.
        """
        if self._transport is None or not path.startswith("/"):
            return await self._slowly(path, body)
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        read, connect = self._seconds
        try:
            head, reply = await self._transport.exchange(
                self._origin,
                b"%scontent-length: %d\r\n\r\n%s" % (self._head(path), len(content), content),
                connect=connect,
                read=read,
            )
        except http.TimeoutException as error:
            raise openai.APITimeoutError(request=http.Request("POST", self._url)) from error
        if 300 <= head.status < 400:
            return await self._slowly(path, body)
        if head.status >= 400:
            request = http.Request("POST", self._url)
            told = http.Response(head.status, headers=head.fields, content=reply, request=request)
            raise openai.APIStatusError(f"status {head.status}", response=told, body=None)
        return reply.decode(errors="replace")

    async def _slowly(self, path: str, body: Body) -> str:
        text: str = await self.client.post(path, cast_to=str, body=body)
        return text

    def _head(self, path: str) -> bytes:
        """All that the official client sends with each request to `path`, but the length."""
        if path not in self._heads:
            target = self._url.raw_path.rstrip(b"/") + path.encode()
            self._heads[path] = framed("POST", target, self._usual_fields(), b"")[:-2]
        return self._heads[path]

    def _usual_fields(self) -> list[tuple[bytes, bytes]]:
        told = {**self.client.default_headers, **self.client.auth_headers}
        given = {name: value for name, value in told.items() if isinstance(value, str)}
        given["Accept-Encoding"] = "identity"
        request = http.Request("POST", self._url, headers=given)
        return [pair for pair in request.headers.raw if pair[0].lower() != b"content-length"]

    async def _live(self) -> AsyncGenerator[None]:
        """The loop closes its generators when it ends, and the client with this one."""
        try:
            yield
        finally:
            await self.client.close()


def _proxied(url: Any) -> bool:  # Any: see `http`
    """Whether requests go through a proxy, which is the official client's own affair."""
    proxies = getproxies()
    return bool({url.scheme, "all"} & set(proxies)) and not proxy_bypass(url.host)


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Endpoint, Line]] = WeakKeyDictionary()


async def line_to(endpoint: Endpoint) -> Line:
    """The line of this process and event loop."""
    here = _lines.setdefault(asyncio.get_running_loop(), {})
    if endpoint not in here:
        here[endpoint] = Line(endpoint)
        await anext(here[endpoint].life)
    return here[endpoint]
