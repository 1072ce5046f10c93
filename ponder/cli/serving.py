"""The command that serves strategies over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from ponder.cli.engines import asked_engines, opened, opening
from ponder.cli.options import (
    BaseUrl,
    Concurrency,
    Engines,
    Model,
    Potentials,
    Probe,
    Weights,
)
from ponder.cli.potentials import asked_potentials
from ponder.cli.terminal import tell


def serve(
    model: Model = "embedded",
    engine: Engines = None,
    weights: Weights = "float32",
    base_url: BaseUrl = None,
    probe: Probe = False,
    strategy: Annotated[
        list[Path] | None,
        typer.Option("--strategy", "-s", help="A YAML file to offer too, by its file's name."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    potential: Potentials = None,
    concurrency: Concurrency = 64,
    most_requests: Annotated[int, typer.Option(help="Answered at once; more get a 429.")] = 64,
    most_tokens: Annotated[int, typer.Option(help="That one choice may cost.")] = 1_000_000,
    pages: Annotated[
        int | None,
        typer.Option(help="KV pages of 16 tokens; by default a quarter of the memory."),
    ] = None,
    drain: Annotated[
        float, typer.Option(help="Seconds that requests under way get, told to stop.")
    ] = 30.0,
    key_file: Annotated[
        Path | None, typer.Option(help="API keys, one a line; without it the door is open.")
    ] = None,
) -> None:
    """Serve strategies and the model over OpenAI's HTTP interface."""
    from ponder import orchestrator

    settings = orchestrator.ServerSettings(
        keys=orchestrator.read_keys(key_file),
        most_requests=most_requests,
        most_tokens=most_tokens,
        grace=drain,
    )
    offered = orchestrator.served_strategies(strategy or [])
    asked = asked_engines(model, base_url, engine)
    making = opening(asked, weights, probe, pages=pages)

    async def run() -> None:
        async with opened(asked, making, concurrency, asked_potentials(potential)) as runtime:
            for file in strategy or []:
                runtime.plan(offered[file.stem])
            catalogue = orchestrator.Catalogue(
                strategies=offered, engines={model: runtime.engines["policy"]}
            )
            await orchestrator.serve(runtime, catalogue, settings, host=host, port=port, told=tell)

    asyncio.run(run())
