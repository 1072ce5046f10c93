"""Ponder's server on a free port, in a thread of this process, for tests to talk to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from ponder.orchestrator import PRESETS, Catalogue, Runtime, ServerSettings, sample, vote
from ponder.orchestrator.server.app import make_app
from ponder.runtime import Engine
from ponder.verifiers import ExactEquivalence

STRATEGIES = {
    **{name: preset.expression for name, preset in PRESETS.items()},
    "four": sample(4) | vote(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"


@contextmanager
def served(
    engine: Engine,
    settings: ServerSettings | None = None,
) -> Generator[Served]:
    """A server of the presets, "four" and the engine, as "scripted"."""
    runtime = Runtime(engine, equivalence=ExactEquivalence())
    catalogue = Catalogue(strategies=STRATEGIES, engines={"scripted": engine})
    app = make_app(runtime, catalogue, settings or ServerSettings())
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the server did not start")
        time.sleep(0.005)
    try:
        yield Served(host="127.0.0.1", port=server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(10)
        if thread.is_alive():
            raise RuntimeError("the server did not stop")
