"""What is charged is what was done."""

from __future__ import annotations

import asyncio

import pytest
from laws import FREE, PATH, TURNS, needs, opened, used
from subjects import Subject

from ponder.runtime import Branch, Engine, Usage


def total(branches: list[Branch]) -> Usage:
    return sum((branch.usage for branch in branches), Usage())


async def work(engine: Engine) -> list[Branch]:
    """Branches with a history each."""
    root, twin = [await opened(engine) for _ in range(2)]
    if engine.capabilities.prefix_continuation:
        await root.append(" and more")
    forks = list(root.fork(5))
    await asyncio.gather(*(used(engine, fork) for fork in forks))
    if engine.capabilities.prompt_logprobs:
        await asyncio.gather(*(fork.score(["x", "abc"]) for fork in forks))
    await used(engine, twin)
    return [root, twin, *forks]


async def test_usage_adds_up_to_what_the_engine_counts(engine: Engine) -> None:
    before = engine.stats()
    branches = await work(engine)
    charged, after = total(branches), engine.stats()
    assert charged.prompt == after.prefilled + after.cached - before.prefilled - before.cached
    assert charged.cached == after.cached - before.cached
    assert charged.decoded == after.decoded - before.decoded
    assert charged.scored == after.scored - before.scored
    assert charged.tokens == charged.prompt + charged.decoded + charged.scored
    assert charged.cached <= charged.prompt
    assert (charged.decoded if engine.capabilities.decode else charged.scored) > 0


@needs("decode")
async def test_a_segment_tells_what_its_branch_was_charged(engine: Engine) -> None:
    branch = await opened(engine)
    before = branch.usage
    segment = await branch.extend(FREE)
    assert branch.usage - before == segment.usage
    if engine.capabilities.token_ids:
        assert segment.usage.decoded == len(segment.tokens)
    (child,) = branch.fork(1)
    assert child.usage == Usage()


async def test_what_was_computed_is_accounted_for(engine: Engine) -> None:
    """The identity of `EngineStats`, where the engine itself computes."""
    branches = await work(engine)
    for branch in branches:
        branch.close()
    last = await opened(engine)
    await used(engine, last)  # all commands are obeyed by now
    stats = engine.stats()
    if engine.capabilities.fork == "text":
        assert (stats.opened, stats.recomputed, stats.dropped) == (0, 0, 0)
    given = stats.prefilled - stats.opened
    done = given + stats.decoded + stats.scored + stats.recomputed + stats.dropped
    assert stats.computed == done
    assert min(stats.opened, stats.recomputed, stats.dropped, stats.steps) >= 0


async def test_closed_branches_leave_nothing_behind(engine: Engine, subject: Subject) -> None:
    """Pages may stay for whoever has the same beginning; then nothing else holds them."""
    branches = await work(engine)
    assert engine.stats().branches == len(branches) == 7
    for branch in branches:
        branch.close()
        branch.close()
    assert engine.stats().branches == 0
    async with await opened(engine, "last") as last:
        await used(engine, last)
        assert engine.stats().branches == 1
    assert engine.stats().branches == 0
    await asyncio.sleep(0.05)
    subject.drain(engine)
    assert engine.stats().pages_held == 0


@needs("token_ids")
async def test_what_is_cached_is_charged_and_told(engine: Engine) -> None:
    for _ in range(2):
        branch = await engine.open(TURNS, path=PATH)
        assert branch.usage.prompt == engine.count(TURNS)
        assert 0 <= branch.usage.cached < branch.usage.prompt
        branch.close()


async def test_usages_add_and_subtract(engine: Engine) -> None:
    branches = await work(engine)
    whole = total(branches)
    assert whole - branches[0].usage == total(branches[1:])
    assert whole.tokens == pytest.approx(sum(branch.usage.tokens for branch in branches))
