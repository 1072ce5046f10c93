"""The command that judges again what an eval sampled."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ponder.cli.engines import asked_engines, engines, kept, opening
from ponder.cli.options import AsJson, BaseUrl, Concurrency, Engines, Replay, Weights
from ponder.cli.terminal import bar, print_report, resumable, tally, tell

if TYPE_CHECKING:
    from ponder.evals import FinishedRun, Report, Rescoring
    from ponder.runtime import Engine


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
        str | None,
        typer.Option(
            "--model", "-m", help="Whom verifiers ask; which of the replay's, if it has several."
        ),
    ] = None,
    engine: Engines = None,
    weights: Weights = "float32",
    base_url: BaseUrl = None,
    out: Annotated[Path | None, typer.Option(help="Keep the new records and traces here.")] = None,
    concurrency: Concurrency = 64,
    as_json: AsJson = False,
) -> None:
    """Judge or vote again on what an eval sampled, without drawing a token."""
    from ponder.evals import finished_run

    rescoring, label = _asked(strategy, verifier, engine or ())
    asked = asked_engines(model or "", base_url, engine, rescoring.strategy)
    if model is None and replay is None:
        del asked["policy"]  # of a replay None is its only one

    with finished_run(run) as found, resumable(out):
        if found.torn:
            tell(f"{run}: the last record is cut short and left out; its eval can go on from there")
        report = asyncio.run(
            _judged(
                found,
                rescoring,
                label,
                judging=engines(asked, kept(opening(asked, weights), None, replay)),
                concurrency=concurrency,
                out=out,
            )
        )
    print_report(report, as_json)


async def _judged(
    found: FinishedRun,
    rescoring: Rescoring,
    label: str,
    *,
    judging: AbstractAsyncContextManager[Mapping[str, Engine]],
    concurrency: int,
    out: Path | None,
) -> Report:
    """The run's samples judged again, under a bar."""
    from ponder.evals import rescore as rescored
    from ponder.verifiers import MathEquivalence

    equivalence = MathEquivalence()
    try:
        async with judging as asked:
            with bar("rescoring", len(found.records)) as advance:
                return await rescored(
                    found,
                    rescoring,
                    label=label,
                    equivalence=equivalence,
                    engine=asked,
                    concurrency=concurrency,
                    out=out,
                    on_progress=tally("rescoring", advance),
                )
    finally:
        await equivalence.close()


def _asked(
    strategy: str | None, verifier: str | None, given: Sequence[str]
) -> tuple[Rescoring, str]:
    """What is done with the samples, and what it is called. A verifier asks the one engine that is
    given.
    """
    from ponder.evals import Rescoring
    from ponder.orchestrator import load_strategy
    from ponder.runtime import InputError

    if strategy is not None and verifier is None:
        return Rescoring.by_strategy(load_strategy(strategy)), strategy
    if verifier is not None and strategy is None:
        if len(given) > 1:
            raise InputError(f"--verifier {verifier} asks one engine, not {len(given)}")
        role = given[0].partition("=")[0].strip() if given else "policy"
        return Rescoring.by_verifier(verifier, engine=role), f"best by {verifier}"
    raise InputError("give either --strategy or --verifier: what is to be done with the samples")
