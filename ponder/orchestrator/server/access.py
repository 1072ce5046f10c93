"""Who may ask, how much at once, how large a request may be; and how everybody gets out."""

from __future__ import annotations

import asyncio
import hmac
import math
from collections.abc import Generator
from contextlib import contextmanager

from ponder.orchestrator.server.refusals import Refusal
from ponder.orchestrator.server.settings import ServerSettings

LEAVING = 2.0
"""Seconds that a client which reads nothing can hold up the end."""


class Access:
    """Counts requests under way; the count is right however they end."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._keys = [key.encode() for key in settings.keys]
        self.under_way = 0
        self.draining = False
        """Nobody comes in any more; those inside may finish."""
        self._cut: asyncio.Future[None] | None = None

    @property
    def cut(self) -> asyncio.Future[None]:
        """Done when those still inside have to leave."""
        if self._cut is None:
            self._cut = asyncio.get_running_loop().create_future()
        return self._cut

    async def drain(self, hurry: asyncio.Event) -> None:
        """Let nobody in, and wait until everybody is out; told to leave after the grace, or when
        `hurry` is set.
        """
        self.draining = True
        inside = asyncio.create_task(self._empty())
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait(
            (inside, hurried),
            timeout=self._settings.grace,
            return_when=asyncio.FIRST_COMPLETED,
        )
        hurried.cancel()
        if not self.cut.done():
            self.cut.set_result(None)
        await asyncio.wait((inside,), timeout=LEAVING)
        inside.cancel()

    async def _empty(self) -> None:
        while self.under_way:
            await asyncio.sleep(0.01)

    def stopping(self) -> Refusal:
        return Refusal(
            status=503,
            message="the server is stopping and takes no new requests; ask again in a while",
            kind="server_error",
            code="server_stopping",
            retry_after=max(1, math.ceil(self._settings.grace)),
        )

    def stopped(self) -> Refusal:
        """To a request that was under way."""
        return Refusal(
            status=503,
            message=f"the server stopped before the reply was whole: it gave requests under way "
            f"{self._settings.grace:g} seconds (--drain); ask again",
            kind="server_error",
            code="server_stopped",
            retry_after=1,
        )

    def check_key(self, header: str | None) -> None:
        """Raises `Refusal` for a missing or wrong key; takes the same time for every wrong one."""
        if not self._keys:
            return
        scheme, _, given = (header or "").partition(" ")
        sent = given.strip().encode()
        # Every key is compared, so that time does not tell which one was near.
        matches = [hmac.compare_digest(sent, key) for key in self._keys]
        if scheme.lower() != "bearer" or not any(matches):
            raise Refusal(
                status=401,
                message="no valid API key: send `Authorization: Bearer KEY`",
                kind="authentication_error",
                code="invalid_api_key",
            )

    def check_size(self, size: int) -> None:
        most = self._settings.most_bytes
        if size > most:
            raise Refusal(
                status=413,
                message=f"the body is over {most} bytes, the most this server reads",
                kind="invalid_request_error",
                code="request_too_large",
            )

    @contextmanager
    def place(self) -> Generator[None]:
        """A place among the requests under way; raises `Refusal` when all are taken."""
        if self.draining:
            raise self.stopping()
        most = self._settings.most_requests
        if self.under_way >= most:
            raise Refusal(
                status=429,
                message=f"{most} requests are under way, the most this server answers at once",
                kind="rate_limit_error",
                code="server_busy",
                retry_after=1,
            )
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1
