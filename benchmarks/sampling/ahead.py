"""Asking a predicate ahead: its functions run in another process, so that a question has a price
whatever the function costs. What is drawn is the same; what changes is how often it is asked, and
about how many.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.sampling.checks import RULE
from benchmarks.sampling.constraints import CASES
from benchmarks.sampling.table import Given, Table
from ponder.runtime import BranchPath, Engine, Message, Row, open_engine
from ponder.strategies.fitting.steps import uniforms
from ponder.verifiers import Guide, Predicate

MOST = 1_000
"""Where half a character was drawn that leads nowhere, all tokens would be asked about."""
NAMES, AHEAD = ("JSON", "brackets", "no letter e"), (1, 4, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one token."""

    seconds: float
    checks: int


def tables(given: Given) -> Iterator[Table]:
    texts, tokens = (1, 4) if given.quick else (4, 10)
    engine = open_engine("embedded", weights="bfloat16")
    with asyncio.Runner() as loop:
        try:
            rows = [(name, loop.run(_row(engine, name, texts, tokens))) for name in NAMES]
        finally:
            loop.run(engine.close())
    yield Table(
        title="A predicate in its process, asked ahead",
        columns=[f"{what}, {n} ahead" for n in AHEAD for what in ("ms a token", "tokens asked")],
        rows=rows,
        notes=[
            f"means of {texts} texts of up to {tokens} tokens, without the model; given up after "
            f"{MOST:,}"
        ],
    )


async def _row(engine: Engine, name: str, texts: int, tokens: int) -> list[object]:
    cells = list[object]()
    for ahead in AHEAD:
        predicate = Predicate(CASES[name].ends, prefix=CASES[name].goes_on)
        await predicate.weights([""], whole=False)  # its process starts
        costs = [
            cost
            for text in range(texts)
            for cost in await _drawn(engine, predicate, name, text, tokens, ahead)
        ]
        await predicate.close()
        cells.append(1e3 * statistics.mean(cost.seconds for cost in costs))
        cells.append(statistics.mean(cost.checks for cost in costs))
    return cells


async def _drawn(
    engine: Engine, predicate: Predicate, name: str, text: int, tokens: int, ahead: int
) -> list[Cost]:
    rule, costs = replace(RULE, ahead=ahead, most_checks=MOST), list[Cost]()
    guide: Guide = predicate.begin(engine.vocabulary())

    async def choose(row: Row) -> int | None:
        started = time.perf_counter()
        found = await rule.draw(row, [guide], engine.vocabulary(), uniforms(branch), last=False)
        costs.append(Cost(seconds=time.perf_counter() - started, checks=found.checks))
        return found.token

    turns = (Message(role="user", content=CASES[name].prompt),)
    async with await engine.open(turns, path=BranchPath(text, (name,))) as branch:
        for _ in range(tokens):
            said = await branch.draw(choose)
            if not said.tokens or said.tokens[0] in engine.vocabulary().ends:
                break
            guide = await guide.after(said.tokens[0])
    return costs
