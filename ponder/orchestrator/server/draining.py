"""A server that leaves politely: told to stop, it stays at the door to say so until all inside are
served.

uvicorn by itself closes the door first, so that new clients see a dead address, and dies of the
signal in the end.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from ponder.orchestrator.server.access import Access
from ponder.orchestrator.server.app import make_app
from ponder.orchestrator.server.catalogue import Catalogue
from ponder.orchestrator.server.settings import ServerSettings
from ponder.orchestrator.solving import Runtime

LINGER = 5
"""Seconds for connections to close when every request has ended."""


async def serve_until_told(
    runtime: Runtime,
    catalogue: Catalogue,
    settings: ServerSettings,
    listening: socket.socket,
    *,
    started: Callable[[], None],
) -> None:
    """`started` is called when it listens, and hears signals."""
    access = Access(settings)
    config = uvicorn.Config(
        make_app(runtime, catalogue, settings, access),
        log_level="warning",
        timeout_graceful_shutdown=LINGER,
        lifespan="off",
    )
    await _Server(config, access, started).serve(sockets=[listening])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, access: Access, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._access = access
        self._told = started
        self._loop = asyncio.get_running_loop()
        self._hurry = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._told()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came, perhaps not the first."""
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._draining is not None:
            self._hurry.set()
            return
        self._draining = self._loop.create_task(self._access.drain(self._hurry))
        self._draining.add_done_callback(self._drained)

    def _drained(self, _: object) -> None:
        self.should_exit = True
