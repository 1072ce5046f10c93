"""Picking tokens on the own engine: one row a token, whatever goes wrong, whoever else is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
import pytest
from tiny_llama import CONFIG, tiny

from ponder.runtime import Branch, BranchClosed, BranchPath, EngineStats, Row, Sampling
from ponder.runtime.engine.engine import LocalEngine
from ponder.runtime.kernels import native
from ponder.runtime.runners.choice import Kernels

PATH = BranchPath(5)
KERNELS: list[Kernels] = ["torch"]
if native.instruction_sets():
    KERNELS.append("native")


def looped(law: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(law)
    def run(*given: Any, **named: Any) -> None:
        asyncio.run(law(*given, **named))

    return run


@asynccontextmanager
async def engine_of(
    *, pages: int = 100, spread: float = 1.0, kernels: Kernels = "auto"
) -> AsyncGenerator[LocalEngine]:
    model = tiny(replace(CONFIG, head_dim=32), ends=False, spread=spread)
    engine = LocalEngine(model, pages=pages, threads=1, kernels=kernels)
    try:
        yield engine
    finally:
        await engine.close()


async def best(row: Row) -> int:
    return int(row.argmax())


def reconciled(stats: EngineStats) -> bool:
    parts = stats.prefilled - stats.opened + stats.decoded + stats.scored
    return stats.computed == parts + stats.recomputed + stats.dropped


async def opened(engine: LocalEngine, i: int = 0) -> Branch:
    return await engine.open("a beginning for all of them", path=PATH.child(i))


@looped
async def test_a_token_picked_is_one_row() -> None:
    async with engine_of() as engine:
        branch = await opened(engine)
        before = engine.stats()
        for _ in range(20):
            await branch.draw(best)
        (fork,) = branch.fork(1)
        await fork.append("x")  # what was picked last has been counted then
        after = engine.stats()
    assert after.computed - before.computed == 21
    assert after.decoded - before.decoded == 20
    assert (after.recomputed, after.dropped) == (before.recomputed, before.dropped)
    assert reconciled(after)


@looped
async def test_counts_reconcile_whatever_happens() -> None:
    async with engine_of() as engine:
        branch, closing = await opened(engine, 1), await opened(engine, 2)

        async def fails(row: Row) -> int:
            raise ZeroDivisionError

        async def none(row: Row) -> None:
            return None

        async def closes(row: Row) -> int:
            closing.close()
            return 1

        async def hangs(row: Row) -> int:
            await asyncio.Event().wait()
            return 1

        with pytest.raises(ZeroDivisionError):
            await branch.draw(fails)
        await branch.draw(none)
        with pytest.raises(BranchClosed):
            await closing.draw(closes)
        task = asyncio.create_task(branch.draw(hangs))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await branch.draw(best)
        other = await opened(engine, 3)
        await other.draw(best)
        assert branch.tokens == other.tokens
        await opened(engine, 4)
        stats = engine.stats()
    assert reconciled(stats)
    assert (stats.scored, stats.decoded) == (1, 2)


@looped
async def test_kv_taken_while_thinking_is_computed_again() -> None:
    async with engine_of(pages=8, spread=0.1) as engine:
        alone = await opened(engine)
        await alone.extend(Sampling(max_tokens=30, temperature=0))
        wanted = alone.tokens
        alone.close()
        branch = await opened(engine, 1)
        for i in range(30):
            other = await opened(engine, 100 + i)

            async def crowded(row: Row, other: Branch = other) -> int:
                await other.extend(Sampling(max_tokens=60))
                return int(row.argmax())

            await branch.draw(crowded)
            other.close()
        assert branch.tokens == wanted
        stats = engine.stats()
    assert stats.preempted > 0
    assert reconciled(stats)


@pytest.mark.parametrize("kernels", KERNELS)
@looped
async def test_many_at_once_pick_what_each_picks_alone(kernels: Kernels) -> None:
    async def drawn(engine: LocalEngine, i: int) -> list[int]:
        branch = await opened(engine, i)

        async def choose(row: Row) -> int:
            p = np.exp(row.astype(np.float64) - row.max())
            point = branch.path.uniform(len(branch.tokens)) * p.sum()
            return int(p.cumsum().searchsorted(point, side="right"))

        for _ in range(12):
            await branch.draw(choose)
        return list(branch.tokens)

    async with engine_of(pages=400, spread=0.1, kernels=kernels) as engine:
        together = await asyncio.gather(*(drawn(engine, i) for i in range(32)))
    async with engine_of(pages=400, spread=0.1, kernels=kernels) as engine:
        assert [await drawn(engine, i) for i in range(0, 32, 8)] == together[::8]


@looped
async def test_who_thinks_long_is_waited_for_once() -> None:
    async with engine_of() as engine:
        slow, quick = await opened(engine, 1), await opened(engine, 2)
        shown, done = asyncio.Event(), asyncio.Event()

        async def waits(row: Row) -> int:
            shown.set()
            await done.wait()
            return int(row.argmax())

        pick = asyncio.create_task(slow.draw(waits))
        await shown.wait()
        for _ in range(3):
            await quick.draw(best)
        await opened(engine, 3)  # what was picked last has been taken then
        assert not engine.core.shown
        done.set()
        await pick
        await opened(engine, 4)
        stats = engine.stats()
    assert reconciled(stats)
    assert stats.decoded == 4


@looped
async def test_in_lock_step_each_row_is_computed_once() -> None:
    async with engine_of(pages=400, spread=0.1) as engine:
        branches = [await opened(engine, i) for i in range(8)]
        for branch in branches:
            await branch.draw(best)
        await opened(engine, 100)  # what was picked last has been counted then
        before = engine.stats()
        barrier = asyncio.Barrier(len(branches))

        async def together(row: Row) -> int:
            await barrier.wait()  # opens when all have been shown theirs
            return int(row.argmax())

        for _ in range(10):
            await asyncio.gather(*(branch.draw(together) for branch in branches))
        (fork,) = branches[0].fork(1)
        await fork.append("x")
        after = engine.stats()
    assert after.computed - before.computed == 81
    assert after.decoded - before.decoded == 80
