"""Work on many candidates in phases: the first call for each, then the second for each.

Calls of one phase are asked for in order, so under a budget that binds, who is refused does not
depend on who was faster in the phase before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TypeVar

from ponder.runtime import BudgetExceeded

T = TypeVar("T")


async def phase(jobs: Iterable[Coroutine[object, object, T]]) -> list[T | BudgetExceeded]:
    """Run all at once, started in order. What the budget refused is in its place; any other failure
    cancels the rest and is raised.
    """

    async def one(job: Coroutine[object, object, T]) -> T | BudgetExceeded:
        try:
            return await job
        except BudgetExceeded as error:
            return error

    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(one(job)) for job in jobs]
    return [task.result() for task in started]
