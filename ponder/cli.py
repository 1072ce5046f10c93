"""The command line: thin, one function a command. Answers go to standard output, everything else to
standard error; a user's mistake exits with 2, any other failure with 1, Ctrl-C with 130.

Rooms are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ponder.terminal import (
    bar,
    opened,
    opening,
    print_json,
    print_rows,
    resumable,
    standard_input,
    tally,
    tell,
)

if TYPE_CHECKING:
    from ponder.evals import Report
    from ponder.orchestrator import Result

app = typer.Typer(
    name="ponder",
    help="Make a language model think longer where it pays.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Strategy = Annotated[
    str, typer.Option("--strategy", "-s", help="Name of a preset, or a YAML file.")
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="embedded (SmolLM2-135M-Instruct), scripted (a toy, no model), a path, ORG/NAME, or "
        "openai:MODEL at an endpoint.",
    ),
]
Weights = Annotated[
    str,
    typer.Option("--weights", help="float32, bfloat16 (faster), int8 or int4 (faster yet)."),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(help="Of the endpoint, up to /v1. Its key is read from PONDER_API_KEY."),
]
Probe = Annotated[bool, typer.Option("--probe", help="Find out anew what the endpoint can do.")]
Fallback = Annotated[
    bool,
    typer.Option(
        "--allow-fallback",
        help="Tell a model that cannot go on from a begun reply how it begins, in a user turn.",
    ),
]
BudgetTokens = Annotated[
    int | None, typer.Option(help="Tokens a question may cost: given, drawn and scored.")
]
BudgetSeconds = Annotated[float | None, typer.Option(help="Seconds a question may take.")]
Concurrency = Annotated[int, typer.Option(help="Engine calls under way at once.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def solve(
    question: Annotated[str, typer.Argument(help="What to answer; - reads standard input.")],
    strategy: Strategy = "self_consistency",
    model: Model = "embedded",
    weights: Weights = "float32",
    base_url: BaseUrl = None,
    probe: Probe = False,
    allow_fallback: Fallback = False,
    seed: Annotated[int | None, typer.Option(help="Drawn, and told, if left out.")] = None,
    budget_tokens: BudgetTokens = None,
    budget_seconds: BudgetSeconds = None,
    trace: Annotated[Path | None, typer.Option(help="Write the run's trace here.")] = None,
    concurrency: Concurrency = 64,
    as_json: AsJson = False,
) -> None:
    """Answer one question."""
    from ponder.orchestrator import Budget, load_strategy, result_data, result_line
    from ponder.verifiers import Question

    expression = load_strategy(strategy)
    engine = opening(model, weights, base_url, probe, allow_fallback)
    budget = Budget(tokens=budget_tokens, seconds=budget_seconds)
    asked = Question(text=standard_input() if question == "-" else question)

    async def run() -> Result:
        async with opened(engine, concurrency) as runtime:
            with bar("thinking", runtime.plan(expression, asked).total.calls) as advance:
                return await runtime.solve(
                    asked,
                    expression,
                    budget=budget,
                    seed=seed,
                    trace=trace,
                    on_event=lambda e: advance("thinking") if e["event"] == "call" else None,
                )

    result = asyncio.run(run())
    if as_json:
        print_json({"strategy": strategy, "model": model, **result_data(result)})
    else:
        typer.echo(result.text)
        typer.echo(result_line(result), err=True)


@app.command(name="eval")
def evaluate(
    task: Annotated[str, typer.Argument(help="gsm8k, math500, aime24, multiarith, wordproblems.")],
    data: Annotated[Path | None, typer.Option(help="JSONL: id, question, answer.")] = None,
    limit: Annotated[int | None, typer.Option(help="Take the first so many.")] = None,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="By the seed, then cut.")] = False,
    difficulty: Annotated[int | None, typer.Option(help="Of wordproblems, 1 to 6.")] = None,
    strategy: Strategy = "self_consistency",
    model: Model = "embedded",
    weights: Weights = "float32",
    base_url: BaseUrl = None,
    probe: Probe = False,
    allow_fallback: Fallback = False,
    out: Annotated[Path | None, typer.Option(help="Where a run is kept, and resumed.")] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds, equal answers.")] = 0,
    budget_tokens: BudgetTokens = None,
    budget_seconds: BudgetSeconds = None,
    concurrency: Concurrency = 64,
    as_json: AsJson = False,
) -> None:
    """Run a benchmark; with --out, a stopped run goes on where it stopped."""
    from ponder.evals import find_task, load_examples, report_table, run_task
    from ponder.orchestrator import Budget, load_strategy

    declared, expression = find_task(task), load_strategy(strategy)
    engine = opening(model, weights, base_url, probe, allow_fallback)
    examples = load_examples(
        declared, data=data, limit=limit, seed=seed, shuffle=shuffle, difficulty=difficulty
    )

    async def run() -> Report:
        async with opened(engine, concurrency) as runtime:
            with bar(task, len(examples)) as advance:
                return await run_task(
                    runtime,
                    declared,
                    examples,
                    expression,
                    label=strategy,
                    seed=seed,
                    budget=Budget(tokens=budget_tokens, seconds=budget_seconds),
                    out=out,
                    on_progress=tally(task, advance),
                )

    with resumable(out):
        report = asyncio.run(run())
    if as_json:
        print_json(report.as_dict())
    else:
        typer.echo(report_table(report))


@app.command()
def serve(
    model: Model = "embedded",
    weights: Weights = "float32",
    base_url: BaseUrl = None,
    probe: Probe = False,
    strategy: Annotated[
        list[Path] | None,
        typer.Option("--strategy", "-s", help="A YAML file to offer too, by its file's name."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    concurrency: Concurrency = 64,
    most_requests: Annotated[int, typer.Option(help="Answered at once; more get a 429.")] = 64,
    most_tokens: Annotated[int, typer.Option(help="That one choice may cost.")] = 1_000_000,
    key_file: Annotated[
        Path | None, typer.Option(help="API keys, one a line; without it the door is open.")
    ] = None,
) -> None:
    """Serve strategies and the model over OpenAI's HTTP interface."""
    from ponder import orchestrator

    settings = orchestrator.ServerSettings(
        keys=orchestrator.read_keys(key_file), most_requests=most_requests, most_tokens=most_tokens
    )
    offered = orchestrator.served_strategies(strategy or [])
    engine = opening(model, weights, base_url, probe, False)

    async def run() -> None:
        async with opened(engine, concurrency) as runtime:
            catalogue = orchestrator.Catalogue(
                strategies=offered, engines={model: runtime.engines["policy"]}
            )
            await orchestrator.serve(runtime, catalogue, settings, host=host, port=port, told=tell)

    asyncio.run(run())


@app.command()
def plan(
    strategy: Annotated[str, typer.Argument(help="Name of a preset, or a YAML file.")],
    question: Annotated[str | None, typer.Option(help="To count its tokens, by the model.")] = None,
    model: Model = "scripted",
    base_url: BaseUrl = None,
    allow_fallback: Fallback = False,
    budget_tokens: BudgetTokens = None,
    picture: Annotated[bool, typer.Option("--picture", help="The graph, as Mermaid.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a strategy and tell what it costs at most, before a token is spent."""
    from ponder import orchestrator
    from ponder.runtime import open_engine
    from ponder.verifiers import Question

    expression = orchestrator.load_strategy(strategy)
    asked = None if question is None else Question(text=question)
    budget = orchestrator.Budget(tokens=budget_tokens)
    engine = open_engine(model, base_url=base_url, allow_fallback=allow_fallback)
    try:
        made = orchestrator.plan(expression, engine, question=asked, budget=budget)
    finally:
        asyncio.run(engine.close())
    if as_json:
        print_json(orchestrator.plan_data(made))
    else:
        shown = orchestrator.mermaid(expression) if picture else orchestrator.plan_table(made)
        typer.echo(shown.rstrip())


@app.command()
def strategies(as_json: AsJson = False) -> None:
    """List presets, the operations strategies are made of, and verifiers."""
    from ponder.orchestrator import catalogue_data, catalogue_table

    if as_json:
        print_json(catalogue_data())
    else:
        typer.echo(catalogue_table())


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the models that can be opened by name on this machine."""
    from ponder.runtime import known_models

    found = [{**asdict(model), "where": str(model.where)} for model in known_models()]
    if as_json:
        print_json(found)
        return
    for model in found:
        state = "ready" if model["cached"] else "fetched when first used"
        typer.echo(f"{model['name']}  {model['size']:,} bytes, {state}  {model['where']}")
    typer.echo("scripted  no model: a toy oracle to try things out with")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Tell what this machine and this installation run models with."""
    from ponder.runtime import describe_platform

    found = asdict(describe_platform())
    (print_json if as_json else print_rows)(found)


def main() -> None:
    """The `ponder` program."""
    from ponder.runtime import InputError, PonderError

    try:
        app()
    except InputError as error:
        code, told = 2, str(error)
    except (PonderError, OSError) as error:
        code, told = 1, str(error)
    except KeyboardInterrupt:
        code, told = 130, ""
    else:
        return
    if told:
        typer.echo(f"ponder: {told}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
