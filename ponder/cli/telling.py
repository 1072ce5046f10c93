"""Commands that tell what there is, and what a strategy would cost."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from shutil import get_terminal_size
from typing import Annotated

import typer

from ponder.cli.engines import asked_engines, engines, opening
from ponder.cli.options import (
    AsJson,
    BaseUrl,
    BudgetTokens,
    Engines,
    Fallback,
    Model,
    Potentials,
)
from ponder.cli.potentials import asked_potentials
from ponder.cli.terminal import (
    print_json,
    print_rows,
)


def plan(
    strategy: Annotated[str, typer.Argument(help="Name of a preset, or a YAML file.")],
    question: Annotated[str | None, typer.Option(help="To count its tokens, by the model.")] = None,
    model: Model = "scripted",
    engine: Engines = None,
    base_url: BaseUrl = None,
    allow_fallback: Fallback = False,
    budget_tokens: BudgetTokens = None,
    potential: Potentials = None,
    picture: Annotated[bool, typer.Option("--picture", help="The graph, as Mermaid.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a strategy and tell what it costs at most, before a token is spent."""
    from ponder import orchestrator
    from ponder.verifiers import Question

    expression = orchestrator.load_strategy(strategy)
    asked = asked_engines(model, base_url, engine, expression)
    put = None if question is None else Question(text=question)
    budget, named = orchestrator.Budget(tokens=budget_tokens), asked_potentials(potential)

    async def run() -> orchestrator.Plan:
        async with engines(asked, opening(asked, allow_fallback=allow_fallback)) as found:
            return orchestrator.plan(
                expression, found, question=put, budget=budget, potentials=named
            )

    made = asyncio.run(run())
    if as_json:
        print_json(orchestrator.plan_data(made))
    else:
        shown = orchestrator.mermaid(expression) if picture else orchestrator.plan_table(made)
        typer.echo(shown.rstrip())


def strategies(
    name: Annotated[str | None, typer.Argument(help="Of an operation: its settings.")] = None,
    as_json: AsJson = False,
) -> None:
    """List presets, the operations strategies are made of, and verifiers."""
    from ponder.orchestrator import catalogue_data, catalogue_table, operation_table

    width = get_terminal_size().columns
    table = catalogue_table(width) if name is None else operation_table(name, width)
    if as_json:
        data = catalogue_data()
        print_json(data if name is None else data["operations"][name])
    else:
        typer.echo(table)


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


def doctor(as_json: AsJson = False) -> None:
    """Tell what this machine and this installation run models with."""
    from ponder.runtime import describe_platform

    found = asdict(describe_platform())
    (print_json if as_json else print_rows)(found)
