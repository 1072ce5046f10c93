"""Commands that put questions to a strategy: one, or a benchmark's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ponder.cli.engines import asked_engines, kept, opened, opening
from ponder.cli.options import (
    AnswerSchema,
    AnyStrategy,
    AsJson,
    Asked,
    BaseUrl,
    BudgetSeconds,
    BudgetTokens,
    Concurrency,
    Engines,
    Fallback,
    Model,
    Potentials,
    Probe,
    Record,
    Replay,
    Resume,
    SaveSearch,
    Strategy,
    Weights,
)
from ponder.cli.potentials import asked_potentials
from ponder.cli.resuming import DEFAULT, asked_for, budget_of, end_as_interrupted, searching
from ponder.cli.terminal import (
    bar,
    print_json,
    print_report,
    resumable,
    tally,
)

if TYPE_CHECKING:
    from ponder.evals import Report
    from ponder.orchestrator import Result


def solve(
    question: Asked = None,
    strategy: AnyStrategy = None,
    model: Model = "embedded",
    engine: Engines = None,
    weights: Weights = "float32",
    base_url: BaseUrl = None,
    probe: Probe = False,
    allow_fallback: Fallback = False,
    seed: Annotated[int | None, typer.Option(help="Drawn, and told, if left out.")] = None,
    budget_tokens: BudgetTokens = None,
    budget_seconds: BudgetSeconds = None,
    trace: Annotated[Path | None, typer.Option(help="Write the run's trace here.")] = None,
    answer_schema: AnswerSchema = None,
    potential: Potentials = None,
    record: Record = None,
    replay: Replay = None,
    save_search: SaveSearch = None,
    resume: Resume = None,
    concurrency: Concurrency = 64,
    as_json: AsJson = False,
) -> None:
    """Answer one question; with --save-search, a stopped search goes on by --resume."""
    put, expression = asked_for(question, strategy, resume, answer_schema)
    asked = asked_engines(model, base_url, engine, expression)
    making = kept(opening(asked, weights, probe, allow_fallback), record, replay)

    async def run() -> Result:
        end_as_interrupted()
        async with opened(asked, making, concurrency, asked_potentials(potential)) as runtime:
            with bar("thinking", runtime.plan(expression, put).total.calls) as advance:
                return await runtime.solve(
                    put,
                    expression,
                    budget=budget_of(budget_tokens, budget_seconds),
                    seed=seed,
                    trace=trace,
                    on_event=lambda e: advance("thinking") if e["event"] == "call" else None,
                    save_search=save_search,
                    resume=resume,
                )

    with searching(save_search):
        result = asyncio.run(run())
    _show(result, strategy or str(resume or DEFAULT), model, as_json=as_json)


def _show(result: Result, label: str, model: str, *, as_json: bool) -> None:
    from ponder.orchestrator import result_data, result_line

    if as_json:
        print_json({"strategy": label, "model": model, **result_data(result)})
    else:
        typer.echo(result.text)
        typer.echo(result_line(result), err=True)


def evaluate(
    task: Annotated[str, typer.Argument(help="gsm8k, math500, aime24, multiarith, wordproblems.")],
    data: Annotated[Path | None, typer.Option(help="JSONL: id, question, answer.")] = None,
    limit: Annotated[int | None, typer.Option(help="Take the first so many.")] = None,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="By the seed, then cut.")] = False,
    difficulty: Annotated[int | None, typer.Option(help="Of wordproblems, 1 to 6.")] = None,
    strategy: Strategy = "self_consistency",
    model: Model = "embedded",
    engine: Engines = None,
    weights: Weights = "float32",
    base_url: BaseUrl = None,
    probe: Probe = False,
    allow_fallback: Fallback = False,
    out: Annotated[Path | None, typer.Option(help="Where a run is kept, and resumed.")] = None,
    record: Record = None,
    replay: Replay = None,
    seed: Annotated[int, typer.Option(help="Equal seeds, equal answers.")] = 0,
    budget_tokens: BudgetTokens = None,
    budget_seconds: BudgetSeconds = None,
    potential: Potentials = None,
    concurrency: Concurrency = 64,
    as_json: AsJson = False,
) -> None:
    """Run a benchmark; with --out, a stopped run goes on where it stopped."""
    from ponder.evals import find_task, load_examples, run_task
    from ponder.orchestrator import Budget, load_strategy

    declared, expression = find_task(task), load_strategy(strategy)
    asked = asked_engines(model, base_url, engine, expression)
    making = kept(opening(asked, weights, probe, allow_fallback), record, replay)
    examples = load_examples(
        declared, data=data, limit=limit, seed=seed, shuffle=shuffle, difficulty=difficulty
    )

    async def run() -> Report:
        async with opened(asked, making, concurrency, asked_potentials(potential)) as runtime:
            with bar(task, len(examples)) as advance:
                return await run_task(
                    *(runtime, declared, examples, expression),
                    label=strategy,
                    seed=seed,
                    budget=Budget(tokens=budget_tokens, seconds=budget_seconds),
                    out=out,
                    on_progress=tally(task, advance),
                )

    with resumable(out):
        print_report(asyncio.run(run()), as_json)
