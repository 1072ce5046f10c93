"""Work on many candidates in phases: the first call for each, then the second for each.

Calls of one phase are asked for in order, so under a budget that binds, who is refused does not
depend on who was faster in the phase before. And the one place where a verifier's engine that fails
becomes a stated failure: a run does not end because a judge did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import TypeVar

from ponder.runtime import (
    Branch,
    BranchPath,
    BudgetExceeded,
    ContextOverflow,
    Engine,
    Message,
    ModelError,
    Standing,
    Usage,
)
from ponder.verifiers.api import Question, Verdict

S = TypeVar("S")
T = TypeVar("T")

Unjudged = BudgetExceeded | ModelError | ContextOverflow
"""Why a call gave nothing to judge by: what is too long for the engine is so for no fault of who
asks.
"""


async def phase(jobs: Iterable[Coroutine[object, object, T]]) -> list[T | Unjudged]:
    """Run all at once, started in order. What the budget refused, or the engine failed at, is in
    its place; any other failure cancels the rest and is raised.
    """

    async def one(job: Coroutine[object, object, T]) -> T | Unjudged:
        try:
            return await job
        except (BudgetExceeded, ModelError, ContextOverflow) as error:
            return error

    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(one(job)) for job in jobs]
    return [task.result() for task in started]


async def then(
    before: Iterable[S | Unjudged], call: Callable[[S], Coroutine[object, object, T]]
) -> list[T | Unjudged]:
    """The next phase, on what came of the one before; what stopped the others stays."""
    past = list(before)
    gone = iter(await phase(call(each) for each in past if not isinstance(each, Unjudged)))
    return [each if isinstance(each, Unjudged) else next(gone) for each in past]


async def shadow(
    engine: Engine, question: Question, path: BranchPath, at: Standing | None
) -> Branch:
    """One that holds the conversation and the question, or stands where another stood."""
    turns = (*question.history, Message(role="user", content=question.text))
    if at is not None:
        return await engine.reopen(turns, at)
    return await engine.open(turns, path=path)


async def shown(branch: Branch, text: str) -> Branch:
    """The branch, with the text behind it."""
    await branch.append(text)
    return branch


def forked(
    branch: Branch | Unjudged, n: int, *, name: str | None = None
) -> list[Branch | Unjudged]:
    """Its forks, or `n` times why there are none: a dead engine refuses to fork too."""
    if isinstance(branch, Unjudged):
        return [branch] * n
    try:
        return [*branch.fork(n, name=name)]
    except (BudgetExceeded, ModelError, ContextOverflow) as error:
        return [error] * n


def closed(branches: Iterable[Branch | Unjudged]) -> Usage:
    """Close those that there are; what they were charged."""
    used = Usage()
    for branch in branches:
        if not isinstance(branch, Unjudged):
            branch.close()
            used += branch.usage
    return used


def unjudged(error: Unjudged, used: Usage = Usage()) -> Verdict:
    down = isinstance(error, ModelError)
    kind = "the verifier's engine failed" if down else "not judged"
    return Verdict(failure=f"{kind}: {error}", usage=used, down=down)
