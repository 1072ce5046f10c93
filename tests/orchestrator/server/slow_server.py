"""A server process whose decodes take as many tenths of a second as their seed says.

`python slow_server.py DRAIN` prints its address and serves until it is told to stop.
"""

from __future__ import annotations

import asyncio
import sys

from ponder.orchestrator import Catalogue, Runtime, ServerSettings, sample, serve, vote
from ponder.runtime import ScriptedEngine
from ponder.verifiers import ExactEquivalence


async def run(drain: float) -> None:
    engine = ScriptedEngine(delay=lambda path, _: (path.seed or int(path.steps[-1])) / 10)
    await serve(
        Runtime(engine, equivalence=ExactEquivalence()),
        Catalogue(strategies={"two": sample(2) | vote()}, engines={"scripted": engine}),
        ServerSettings(grace=drain),
        host="127.0.0.1",
        port=0,
        told=lambda text: print(text, flush=True),
    )
    print(f"branches {engine.stats().branches}", flush=True)


if __name__ == "__main__":
    asyncio.run(run(float(sys.argv[1])))
