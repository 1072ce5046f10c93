"""Work on many candidates in phases: the first call for each, then the second for each.

Calls of one phase are asked for in order, so under a budget that binds, who is refused does not
depend on who was faster in the phase before. And the one place where a verifier's engine that fails
becomes a stated failure: a run does not end because a judge did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TypeVar

from ponder.runtime import BudgetExceeded, ContextOverflow, ModelError, Usage
from ponder.verifiers.api import Verdict

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
    before: Sequence[object], on: Sequence[S], call: Callable[[S], Coroutine[object, object, T]]
) -> list[T | Unjudged]:
    """The next phase, for those that came through the one before; what stopped the others stays."""
    ready = [each for each, past in zip(on, before, strict=True) if not isinstance(past, Unjudged)]
    gone = iter(await phase(map(call, ready)))
    return [past if isinstance(past, Unjudged) else next(gone) for past in before]


def unjudged(error: Unjudged, used: Usage = Usage()) -> Verdict:
    kind = "the verifier's engine failed" if isinstance(error, ModelError) else "not judged"
    return Verdict(failure=f"{kind}: {error}", usage=used)
