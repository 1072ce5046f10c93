"""Streams of results from work that runs at once.

Results come as they are ready; whoever decides something by order sorts by index. Leaving a stream
early cancels what still runs, and a failure cancels its siblings before it is raised.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from itertools import islice
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


async def as_ready(jobs: Iterable[Coroutine[object, object, Out]]) -> AsyncGenerator[Out]:
    """Run all jobs at once, started in their order; yield each result when it is there."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        await _stop(tasks)


async def mapped(
    inputs: AsyncIterator[In], work: Callable[[In], Coroutine[object, object, Out]]
) -> AsyncGenerator[Out]:
    """Apply `work` to each item as it comes in, without waiting for the ones before it."""
    tasks: set[asyncio.Task[Out]] = set()
    coming: asyncio.Task[In] | None = asyncio.create_task(_next(inputs))
    try:
        while coming or tasks:
            waiting: set[asyncio.Task[In] | asyncio.Task[Out]] = {
                *tasks,
                *([coming] if coming else []),
            }
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if coming in done:
                try:
                    tasks.add(asyncio.create_task(work(coming.result())))
                    coming = asyncio.create_task(_next(inputs))
                except StopAsyncIteration:
                    coming = None
            for task in [task for task in tasks if task in done]:
                tasks.discard(task)
                yield task.result()
    finally:
        await _stop([*tasks, *([coming] if coming else [])])


async def all_of(jobs: Iterable[Coroutine[object, object, None]]) -> None:
    """Run all at once, started in their order; a failure cancels the others."""
    async with asyncio.TaskGroup() as tasks:
        for job in jobs:
            tasks.create_task(job)


async def in_turn(
    jobs: Iterator[Coroutine[object, object, Out]], at_once: int
) -> AsyncGenerator[Out]:
    """Run `at_once` jobs at a time; yield results in the order of the jobs. Another job is made and
    started when a result was taken, so how many were started does not depend on timing.
    """
    tasks = deque(asyncio.create_task(job) for job in islice(jobs, at_once))
    try:
        while tasks:
            yield await tasks[0]
            tasks.popleft()
            tasks += [asyncio.create_task(job) for job in islice(jobs, 1)]
    finally:
        await _stop(tasks)


async def collected(inputs: AsyncIterator[In]) -> list[In]:
    return [item async for item in inputs]


def _next(inputs: AsyncIterator[In]) -> Coroutine[object, object, In]:
    async def step() -> In:
        return await anext(inputs)

    return step()


async def _stop(tasks: Iterable[asyncio.Task[Out]]) -> None:
    stopped = list(tasks)
    for task in stopped:
        task.cancel()
    await asyncio.gather(*stopped, return_exceptions=True)  # of those that failed at once, too
