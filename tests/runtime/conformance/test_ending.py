"""Cancelling, closing, and calls that get in each other's way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from laws import FREE, GREEDY, LONG, ONE, PATH, TURNS, needs, opened, used
from subjects import Subject

from ponder.runtime import Branch, BranchClosed, Engine, Finish, InputError, ModelError

Call = Callable[[Branch], Coroutine[Any, Any, object]]
CALLS: list[Call] = [
    lambda branch: branch.extend(FREE),
    lambda branch: streamed(branch),
    lambda branch: branch.append("x"),
    lambda branch: branch.score(["x"]),
    lambda branch: branch.logits(),
    lambda branch: branch.span_logits(5, 6),
    lambda branch: branch.embed(),
    lambda branch: branch.read("reward"),
    lambda branch: branch.splice(0, 1),
    lambda branch: branch.join([]),
]
QUICK: list[Callable[[Branch], object]] = [
    lambda branch: branch.fork(1),
    lambda branch: branch.rewind(1),
    lambda branch: branch.pin(),
    lambda branch: branch.share([]),
]


async def streamed(branch: Branch) -> object:
    return [delta async for delta in branch.stream(FREE)]


async def begun(branch: Branch) -> asyncio.Task[Any]:
    """A long decode, under way."""
    task = asyncio.ensure_future(branch.extend(LONG))
    await asyncio.sleep(0)
    return task


@needs("decode")
async def test_cancelling_keeps_what_was_drawn(engine: Engine) -> None:
    branch = await opened(engine)
    prompt, before = len(branch.tokens), branch.usage
    task = await begun(branch)
    await asyncio.sleep(0.02)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert branch.text == engine.spell(branch.tokens[prompt:])
    charged = branch.usage - before
    if engine.capabilities.token_ids:
        assert charged.decoded == len(branch.tokens) - prompt
    assert charged.decoded <= LONG.max_tokens
    if not engine.capabilities.prefix_continuation:
        branch.rewind(prompt)
    kept = tuple(branch.tokens)
    segment = await branch.extend(ONE)
    assert tuple(branch.tokens) == kept + segment.tokens


@needs("decode")
async def test_cancelling_twice_is_cancelling(engine: Engine) -> None:
    branch = await opened(engine)
    prompt = len(branch.tokens)
    task = await begun(branch)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with suppress(asyncio.CancelledError):
        await task
    branch.rewind(prompt)
    greedy = await branch.extend(GREEDY)
    assert greedy.text == (await (await opened(engine)).extend(GREEDY)).text


async def test_a_closed_branch_refuses_everything(engine: Engine) -> None:
    branch = await opened(engine)
    await used(engine, branch)
    text, charged = branch.text, branch.usage
    branch.close()
    branch.close()
    for call in QUICK:
        with pytest.raises(BranchClosed, match="laws"):
            call(branch)
    for work in CALLS:
        with pytest.raises(BranchClosed, match="laws"):
            await work(branch)
    assert (branch.text, branch.usage, branch.path) == (text, charged, PATH)


async def test_a_block_closes_its_branch(engine: Engine) -> None:
    async with await engine.open(TURNS, path=PATH) as branch:
        assert engine.stats().branches == 1
    assert engine.stats().branches == 0
    with pytest.raises(BranchClosed):
        branch.fork(1)


@needs("decode")
async def test_closing_under_way_ends_a_decode(engine: Engine) -> None:
    branch = await opened(engine)
    prompt = len(branch.tokens)
    task = await begun(branch)
    branch.close()
    segment = await task
    assert segment.finish is Finish.CANCELLED
    assert segment.text == branch.text == engine.spell(branch.tokens[prompt:])
    assert engine.stats().branches == 0
    assert branch.usage.decoded <= LONG.max_tokens


@needs("decode")
async def test_closing_under_way_ends_a_stream(engine: Engine) -> None:
    branch = await opened(engine)
    deltas = []
    async for delta in branch.stream(LONG):
        deltas.append(delta)
        branch.close()
    last = deltas[-1].segment
    assert last is not None
    if len(deltas) > 1:
        assert last.finish is Finish.CANCELLED
    assert "".join(delta.text for delta in deltas) == last.text == branch.text


@needs("decode")
async def test_a_second_call_on_a_branch_is_refused(engine: Engine) -> None:
    branch = await opened(engine)
    task = await begun(branch)
    for call in (branch.extend(FREE), branch.append("x"), streamed(branch)):
        with pytest.raises(InputError, match="another call"):
            await call
    for quick in QUICK[:2]:
        with pytest.raises(InputError, match="another call"):
            quick(branch)
    segment = await task
    assert segment.text == branch.text
    (child,) = branch.fork(1)
    assert child.text == branch.text


async def test_a_closed_engine_refuses_everything(engine: Engine, subject: Subject) -> None:
    if subject.shared:
        pytest.skip("it takes a minute to make another")
    branch = await opened(engine)
    await engine.close()
    await engine.close()
    with pytest.raises(ModelError, match="closed"):
        await used(engine, branch)
    with pytest.raises(ModelError, match="closed"):
        await engine.open(TURNS, path=PATH)
    branch.close()
    assert engine.stats().branches == 0


@needs("decode")
async def test_closing_an_engine_fails_calls_under_way(engine: Engine, subject: Subject) -> None:
    if subject.shared:
        pytest.skip("it takes a minute to make another")
    branches = [await opened(engine, i) for i in range(3)]
    before = [tuple(branch.tokens) for branch in branches]
    tasks = [asyncio.ensure_future(branch.extend(LONG)) for branch in branches]
    await asyncio.sleep(0)
    await engine.close()
    for task in tasks:
        with pytest.raises(ModelError, match="closed"):
            await task
    assert [tuple(branch.tokens) for branch in branches] == before
