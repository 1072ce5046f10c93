"""The command that judges again what an eval sampled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ponder.cli.options import AsJson, Concurrency, Replay
from ponder.cli.terminal import bar, print_report, resumable, tally, tell

if TYPE_CHECKING:
    from ponder.evals import Report, Rescoring
    from ponder.runtime import Engine
    from ponder.verifiers import Equivalence


def rescore(
    run: Annotated[Path, typer.Argument(help="The --out of an eval. It stays as it is.")],
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            "-s",
            help="Name of a preset, or a YAML file. What it samples are the run's samples, the "
            "first n of each question, with whatever settings they were drawn.",
        ),
    ] = None,
    verifier: Annotated[
        str | None, typer.Option(help="Answer with the sample that this verifier likes best.")
    ] = None,
    replay: Replay = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Which of the replay's, if it has several.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the new records and traces here.")] = None,
    concurrency: Concurrency = 64,
    as_json: AsJson = False,
) -> None:
    """Judge or vote again on what an eval sampled, without drawing a token."""
    from ponder.evals import finished_run
    from ponder.evals import rescore as rescored

    rescoring, label = _asked(strategy, verifier)

    async def work() -> Report:
        async with _judging(replay, model) as (engine, equivalence):
            with bar("rescoring", len(found.records)) as advance:
                return await rescored(
                    found,
                    rescoring,
                    label=label,
                    equivalence=equivalence,
                    engine=engine,
                    concurrency=concurrency,
                    out=out,
                    on_progress=tally("rescoring", advance),
                )

    with finished_run(run) as found, resumable(out):
        if found.torn:
            tell(f"{run}: the last record is cut short and left out; its eval can go on from there")
        report = asyncio.run(work())
    print_report(report, as_json)


@asynccontextmanager
async def _judging(
    replay: Path | None, model: str | None
) -> AsyncGenerator[tuple[Engine | None, Equivalence]]:
    """What judges ask; closed in the end."""
    from ponder.runtime import ReplayEngine
    from ponder.verifiers import MathEquivalence

    engine = ReplayEngine(replay, model=model) if replay else None
    equivalence = MathEquivalence()
    try:
        yield engine, equivalence
    finally:
        await equivalence.close()
        if engine is not None:
            await engine.close()


def _asked(strategy: str | None, verifier: str | None) -> tuple[Rescoring, str]:
    """What is done with the samples, and what it is called."""
    from ponder.evals import Rescoring
    from ponder.orchestrator import load_strategy
    from ponder.runtime import InputError

    if strategy is not None and verifier is None:
        return Rescoring.by_strategy(load_strategy(strategy)), strategy
    if verifier is not None and strategy is None:
        return Rescoring.by_verifier(verifier), f"best by {verifier}"
    raise InputError("give either --strategy or --verifier: what is to be done with the samples")
