"""A strategy as a model: n runs of it, each answering with the attempt that it chose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, fields, replace

from ponder.orchestrator.budget import Budget
from ponder.orchestrator.expression import Expression, Parallel, Pipe, Step
from ponder.orchestrator.result import Result
from ponder.orchestrator.server.events import (
    End,
    Event,
    FinishReason,
    Piece,
    Progress,
    Total,
    finish_reason,
)
from ponder.orchestrator.server.merging import merged
from ponder.orchestrator.server.stops import before
from ponder.orchestrator.solving import Runtime
from ponder.orchestrator.tables import result_data
from ponder.orchestrator.trace import Event as TraceEvent
from ponder.runtime import Usage
from ponder.verifiers import Candidate, Question

PIECE = 64
"""Characters of an answer that is there whole, sent at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """What a request asks of a strategy."""

    question: Question
    strategy: Expression
    budget: Budget
    choices: int
    seed: int
    """Choice i is what seed + i gives alone."""
    stops: tuple[str, ...]


async def think(runtime: Runtime, asked: Thinking) -> AsyncGenerator[Event]:
    """Progress while runs go on, then each answer; closing it cancels the runs."""
    usages: list[Usage] = []
    runs = [_run(runtime, asked, i, usages) for i in range(asked.choices)]
    async with aclosing(merged(runs)) as events:
        async for event in events:
            yield event
    yield Total(usage=sum(usages, Usage()))


def with_sampling(expression: Expression, changes: Mapping[str, object]) -> Expression:
    """The expression with settings of that name replaced wherever a step has them."""
    if not changes:
        return expression
    if isinstance(expression, Step):
        known = {field.name for field in fields(expression.strategy)}  # type: ignore[arg-type]
        fitting = {name: value for name, value in changes.items() if name in known}
        return replace(expression, strategy=replace(expression.strategy, **fitting))  # type: ignore[type-var]
    if isinstance(expression, Pipe):
        return Pipe(parts=tuple(with_sampling(part, changes) for part in expression.parts))
    if isinstance(expression, Parallel):
        parts = tuple(with_sampling(part, changes) for part in expression.parts)
        return replace(expression, parts=parts)
    then = with_sampling(expression.then, changes)
    return replace(expression, then=then, otherwise=with_sampling(expression.otherwise, changes))


def takes(expression: Expression, name: str) -> bool:
    """Whether any step has a setting of that name."""
    if isinstance(expression, Step):
        return any(field.name == name for field in fields(expression.strategy))  # type: ignore[arg-type]
    if isinstance(expression, Pipe | Parallel):
        return any(takes(part, name) for part in expression.parts)
    return takes(expression.then, name) or takes(expression.otherwise, name)


async def _run(
    runtime: Runtime, asked: Thinking, choice: int, usages: list[Usage]
) -> AsyncGenerator[Event]:
    news = asyncio.Queue[Progress | None]()
    count = _Counter(news)
    solving = asyncio.create_task(
        runtime.solve(
            asked.question,
            asked.strategy,
            budget=asked.budget,
            seed=asked.seed + choice,
            on_event=count,
        )
    )
    solving.add_done_callback(lambda _: news.put_nowait(None))
    try:
        while (progress := await news.get()) is not None:
            yield progress
        result = await solving
    finally:
        solving.cancel()
        await asyncio.gather(solving, return_exceptions=True)
    usages.append(result.usage.total)
    for event in _said(result, choice, asked.stops):
        yield event


class _Counter:
    """Turns a run's calls into progress."""

    def __init__(self, news: asyncio.Queue[Progress | None]) -> None:
        self._news = news
        self._calls = self._tokens = 0

    def __call__(self, event: TraceEvent) -> None:
        if event["event"] == "call":
            usage = event["usage"]
            self._calls += 1
            self._tokens += usage["prompt"] + usage["decoded"] + usage["scored"]
            self._news.put_nowait(Progress(calls=self._calls, tokens=self._tokens))


def _said(result: Result, choice: int, stops: tuple[str, ...]) -> list[Event]:
    chosen = _chosen(result)
    text = before(result.text if chosen is None else chosen.text, stops)
    finish: FinishReason = "stop" if chosen is None else finish_reason(chosen.finish)
    pieces = range(0, len(text), PIECE)
    return [
        *(Piece(choice=choice, text=text[start : start + PIECE]) for start in pieces),
        End(choice=choice, finish=finish, told=result_data(result)),
    ]


def _chosen(result: Result) -> Candidate | None:
    made = {(a.candidate.source, a.candidate.index): a.candidate for a in result.candidates}
    return made.get(result.chosen) if result.chosen else None
