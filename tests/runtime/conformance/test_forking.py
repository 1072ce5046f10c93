"""Forks: children that share a past, and nothing else."""

from __future__ import annotations

import asyncio

import pytest
from laws import FREE, GREEDY, PATH, TURNS, needs, opened

from ponder.runtime import Engine, InputError


async def test_children_have_paths_below_their_parents(engine: Engine) -> None:
    root = await opened(engine)
    first, second = root.fork(2), root.fork(3)
    assert [child.path for child in first] == [PATH.child(0, i) for i in range(2)]
    assert [child.path for child in second] == [PATH.child(1, i) for i in range(3)]
    assert second[2].fork(1)[0].path == PATH.child(1, 2, 0, 0)
    for child in (*first, *second):
        assert (child.tokens, child.text, list(child.tail)) == (root.tokens, root.text, [])


@needs("decode")
async def test_children_go_their_own_ways(engine: Engine) -> None:
    root = await opened(engine)
    prompt = tuple(root.tokens)
    one, other, idle = root.fork(3)
    segment = await one.extend(FREE)
    await other.append(" b")
    assert tuple(one.tokens) == prompt + tuple(one.tail)
    assert (one.text, other.text, idle.text, root.text) == (segment.text, " b", "", "")
    assert tuple(idle.tokens) == tuple(root.tokens) == prompt
    await root.append(" c")
    assert (one.text, other.text, idle.text) == (segment.text, " b", "")
    root.close()
    one.close()
    assert (await idle.extend(FREE)).text == idle.text


@needs("decode")
async def test_forks_of_one_branch_draw_differently(engine: Engine) -> None:
    root = await opened(engine)
    drawn = await asyncio.gather(*(fork.extend(FREE) for fork in root.fork(8)))
    assert len({segment.text for segment in drawn}) > 1


@needs("seed")
async def test_forks_of_a_prompt_equal_separate_opens(engine: Engine) -> None:
    root = await opened(engine)
    forked = await asyncio.gather(*(fork.extend(FREE) for fork in root.fork(4)))
    for i, segment in enumerate(forked):
        alone = await (await opened(engine, 0, i)).extend(FREE)
        assert alone.tokens == segment.tokens
        assert alone.logprobs == pytest.approx(segment.logprobs, abs=1e-4)


@needs("seed", "prefix_continuation")
async def test_forks_do_not_depend_on_how_they_came_about(engine: Engine) -> None:
    root = await opened(engine)
    await root.extend(GREEDY)
    drawn = [(await fork.extend(FREE)).tokens for fork in root.fork(3)]
    for i in range(3):
        again = await opened(engine)
        await again.extend(GREEDY)
        assert (await again.fork(3)[i].extend(FREE)).tokens == drawn[i]


async def test_there_is_at_least_one_fork(engine: Engine) -> None:
    branch = await engine.open(TURNS, path=PATH)
    for n in (0, -3):
        with pytest.raises(InputError, match=str(n)):
            branch.fork(n)
    assert branch.fork(1)[0].path == PATH.child(0, 0)


@needs("decode")
async def test_sixty_four_at_once(engine: Engine) -> None:
    """Nobody's draw depends on who else draws, where draws come from paths."""
    branches = [await opened(engine, i) for i in range(64)]
    segments = await asyncio.gather(*(branch.extend(FREE) for branch in branches))
    for branch, segment in zip(branches, segments, strict=True):
        assert branch.text == segment.text
        assert branch.usage.decoded == segment.usage.decoded > 0
    assert engine.stats().branches == 64
    if engine.capabilities.seed:
        alone = await (await opened(engine, 33)).extend(FREE)
        assert alone.tokens == segments[33].tokens
